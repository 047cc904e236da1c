//! Tokens of the players that cases name.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::stop::{Step, Stop};

/// How long a token lives if a case does not say.
const LIFE_S: i64 = 3600;
/// `{"alg":"none","typ":"JWT"}`.
const NONE_HEADER: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
const OTHER_SECRET: &[u8] = b"a secret that no server was told of";

/// Where tokens come from.
pub enum Tokens {
    /// `auth.mode = "dev"`: the token is the player's name.
    Dev,
    /// The run can sign for any player.
    Signed(Signer),
    /// Only these are there.
    Given { token: String, director: Option<String>, player: String },
}

/// Signs as the studio's own login server does.
pub struct Signer {
    pub key: EncodingKey,
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
}

/// `$token` of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    player: String,
    #[serde(default)]
    scope: Option<String>,
    /// `exp`, seconds from now.
    #[serde(default)]
    exp_s: Option<i64>,
    /// `nbf`, seconds from now.
    #[serde(default)]
    nbf_s: Option<i64>,
    /// Claims to leave out.
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    fault: Option<Fault>,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    /// `alg` is `none`, and there is no signature.
    Unsigned,
    /// Another algorithm than the key's.
    Algorithm,
    /// A signature that is not over this token.
    Signature,
    /// A key that the server does not know.
    Kid,
}

impl Tokens {
    /// Makes a token.
    ///
    /// # Errors
    /// Skips the case if this run cannot make it.
    pub fn make(&self, wish: &Wish) -> Step<String> {
        match self {
            Self::Dev => Ok(wish.player.clone()),
            Self::Signed(signer) => signer
                .sign(wish)
                .map_err(|error| Stop::Failed(format!("the case is wrong: no token can be made: {error}"))),
            Self::Given { token, director, player } => {
                let plain = wish.exp_s.is_none()
                    && wish.nbf_s.is_none()
                    && wish.without.is_empty()
                    && wish.fault.is_none();
                if wish.player != *player || !plain {
                    return Err(Stop::Skipped(
                        "tokens of other players are needed (--jwt-secret or --jwt-key)".into(),
                    ));
                }
                let play = wish.scope.as_deref() == Some("play");
                Ok(if play { token } else { director.as_ref().unwrap_or(token) }.clone())
            }
        }
    }
}

impl Signer {
    fn sign(&self, wish: &Wish) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        let mut claims = Map::new();
        claims.insert("sub".into(), wish.player.clone().into());
        claims.insert("scope".into(), wish.scope.clone().unwrap_or_else(|| "play director".into()).into());
        claims.insert("exp".into(), (now + wish.exp_s.unwrap_or(LIFE_S)).into());
        for (name, value) in [("iss", &self.issuer), ("aud", &self.audience)] {
            if let Some(value) = value {
                claims.insert(name.into(), value.clone().into());
            }
        }
        if let Some(nbf) = wish.nbf_s {
            claims.insert("nbf".into(), (now + nbf).into());
        }
        for name in &wish.without {
            claims.remove(name).with_context(|| format!("there is no claim {name} to leave out"))?;
        }
        let claims = Value::Object(claims);
        let header = |algorithm| Header { kid: self.kid.clone(), ..Header::new(algorithm) };
        let signed = encode(&header(self.algorithm), &claims, &self.key)?;
        let parts: Vec<&str> = signed.split('.').collect();
        Ok(match wish.fault {
            None => signed,
            Some(Fault::Unsigned) => format!("{NONE_HEADER}.{}.", parts[1]),
            Some(Fault::Signature) => {
                let other = Wish { player: format!("{}x", wish.player), ..Wish::default() };
                let other = self.sign(&other)?;
                format!("{}.{}.{}", parts[0], parts[1], other.rsplit('.').next().unwrap_or_default())
            }
            Some(Fault::Algorithm) => {
                let algorithm =
                    if self.algorithm == Algorithm::HS256 { Algorithm::HS512 } else { Algorithm::HS256 };
                let own = self.algorithm == Algorithm::HS256;
                let other = EncodingKey::from_secret(OTHER_SECRET);
                encode(&header(algorithm), &claims, if own { &self.key } else { &other })?
            }
            Some(Fault::Kid) => {
                let header = Header { kid: Some("nobody".into()), ..Header::new(self.algorithm) };
                encode(&header, &claims, &self.key)?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    fn signer() -> Signer {
        let key = EncodingKey::from_secret(b"secret");
        Signer { key, algorithm: Algorithm::HS256, kid: Some("k".into()), issuer: None, audience: None }
    }

    fn is_good(token: &str) -> bool {
        let key = DecodingKey::from_secret(b"secret");
        decode::<Value>(token, &key, &Validation::new(Algorithm::HS256)).is_ok()
    }

    #[test]
    fn a_token_is_good_unless_the_case_wants_a_bad_one() {
        let wish = |fault| Wish { player: "mina".into(), fault, ..Wish::default() };
        let tokens = Tokens::Signed(signer());
        assert!(is_good(&tokens.make(&wish(None)).unwrap()));
        for fault in [Fault::Unsigned, Fault::Algorithm, Fault::Signature] {
            assert!(!is_good(&tokens.make(&wish(Some(fault))).unwrap()), "{fault:?}");
        }
        let old = Wish { exp_s: Some(-1000), ..wish(None) };
        assert!(!is_good(&tokens.make(&old).unwrap()));
        let without = Wish { without: vec!["exp".into()], ..wish(None) };
        assert!(!is_good(&tokens.make(&without).unwrap()));
    }

    #[test]
    fn given_tokens_are_of_one_player() {
        let tokens = Tokens::Given { token: "p".into(), director: Some("d".into()), player: "mina".into() };
        let wish = |player: &str, scope: &str| Wish {
            player: player.into(),
            scope: Some(scope.into()),
            ..Wish::default()
        };
        assert_eq!(tokens.make(&wish("mina", "play")), Ok("p".into()));
        assert_eq!(tokens.make(&wish("mina", "play director")), Ok("d".into()));
        assert!(matches!(tokens.make(&wish("lucy", "play")), Err(Stop::Skipped(_))));
    }
}
