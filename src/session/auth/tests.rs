use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::{Config, PlayGrant};

const SECRET: &[u8] = b"a secret that has at least 32 bytes";

fn config(sets: &[String]) -> Auth {
    Config::load(None, std::iter::empty(), sets).unwrap().auth
}

fn dev() -> Authenticator {
    Authenticator::new(&config(&[])).unwrap()
}

#[test]
fn a_dev_token_is_the_name_of_the_player() {
    let grant = dev().admit("Mina Härker").unwrap();
    assert_eq!(grant.player.name, "Mina Härker");
    assert_eq!(grant.player.scopes, ["play", "director", "admin"]);
    assert_eq!((grant.rights, grant.expiry), (Rights::ALL, None));
    assert!(dev().admit(&"ß".repeat(64)).is_ok());
}

#[test]
fn names_that_cannot_be_names_are_refused() {
    for token in ["", "a\nb", "\u{0}", "\u{7f}", "\u{9f}", &"x".repeat(65)] {
        assert_eq!(dev().admit(token), Err(CloseCode::Unauthenticated), "{token:?}");
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An authenticator with the keys `ed` (EdDSA) and `default` (HS256), and what signs for them.
struct Signed {
    folder: TempDir,
    private: rcgen::KeyPair,
    check: Authenticator,
}

fn signed(sets: &[&str]) -> Signed {
    let folder = tempfile::tempdir().unwrap();
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    fs::write(folder.path().join("ed.pem"), private.public_key_pem()).unwrap();
    fs::write(folder.path().join("default.secret"), SECRET).unwrap();
    let keys = format!("auth.keys={}", folder.path().display());
    let sets: Vec<String> =
        sets.iter().map(|&set| set.to_owned()).chain(["auth.mode=jwt".into(), keys]).collect();
    let check = Authenticator::new(&config(&sets)).unwrap();
    Signed { folder, private, check }
}

impl Signed {
    fn ed(&self, claims: &Value) -> String {
        let header = Header { kid: Some("ed".into()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &EncodingKey::from_ed_der(&self.private.serialize_der())).unwrap()
    }
}

fn hs(header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({"sub": "mina", "exp": now() + 100, "scope": "play"});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn both_algorithms_give_the_player_of_the_token() {
    let signed = signed(&["auth.leeway_s=7"]);
    let claims = claims(&json!({"scope": "play something admin", "aud": "whoever", "iss": 7}));
    let before = Instant::now();
    for token in [signed.ed(&claims), hs(&Header::default(), &claims)] {
        let grant = signed.check.admit(&token).unwrap();
        assert_eq!((grant.player.name.as_str(), grant.player.scopes.len()), ("mina", 2));
        assert_eq!((grant.is_admin(), grant.rights), (true, Rights::default()));
        let expiry = grant.expiry.unwrap();
        assert!((90_000..=100_000).contains(&expiry.left_ms), "{expiry:?}");
        let seconds = (expiry.at - before).as_secs();
        assert!((100..=108).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_told() {
    let signed = signed(&[]);
    let none = |token: String| {
        let (_, rest) = token.split_once('.').unwrap();
        let header = "eyJhbGciOiJub25lIn0";
        format!("{header}.{}", &rest[..=rest.find('.').unwrap()])
    };
    let good = claims(&json!({}));
    let of = |changes: Value| hs(&Header::default(), &claims(&changes));
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        hs(&Header::default(), &claims)
    };
    let kid = |kid: &str, algorithm| Header { kid: Some(kid.into()), ..Header::new(algorithm) };
    let crit = Header { crit: Some(vec!["x".into()]), ..Header::default() };
    let cases = [
        (String::new(), Cause::NoJwt),
        ("a.b.c".into(), Cause::NoJwt),
        ("x".repeat(9000), Cause::TooLong),
        (none(of(json!({}))), Cause::NoJwt),
        (of(json!({"exp": now() - 100})), Cause::Expired),
        (of(json!({"nbf": now() + 100})), Cause::TooEarly),
        (hs(&kid("other", Algorithm::HS256), &good), Cause::UnknownKey("other".into())),
        // Signed with the public key's own text as a secret: the classic confusion.
        (
            encode(
                &kid("ed", Algorithm::HS256),
                &good,
                &EncodingKey::from_secret(signed.private.public_key_pem().as_bytes()),
            )
            .unwrap(),
            Cause::WrongAlgorithm,
        ),
        (hs(&Header::new(Algorithm::HS512), &good), Cause::WrongAlgorithm),
        (
            encode(&Header::default(), &good, &EncodingKey::from_secret(&[1; 32])).unwrap(),
            Cause::WrongSignature,
        ),
        (format!("{}x", of(json!({}))), Cause::WrongSignature),
        (hs(&crit, &good), Cause::Critical),
        (without("exp"), Cause::Claims),
        (without("sub"), Cause::Claims),
        (without("scope"), Cause::Claims),
        (of(json!({"sub": 5})), Cause::Claims),
        (of(json!({"exp": "never"})), Cause::Claims),
        (of(json!({"sub": ""})), Cause::Name),
        (of(json!({"sub": "x".repeat(65)})), Cause::Name),
        (of(json!({"sub": "a\u{7}"})), Cause::Name),
    ];
    for (token, cause) in cases {
        assert_eq!(signed.check.check(&token), Err(cause), "{token}");
        assert_eq!(signed.check.admit(&token), Err(CloseCode::Unauthenticated));
    }
    // Within the leeway.
    for good in [json!({"exp": now() - 20}), json!({"nbf": now() + 20}), json!({"exp": 1e15})] {
        assert!(signed.check.check(&of(good)).is_ok());
    }
    for scope in ["", "admin", "playing", "Play"] {
        assert_eq!(signed.check.admit(&of(json!({ "scope": scope }))), Err(CloseCode::Forbidden), "{scope}");
    }
}

#[tokio::test]
async fn issuer_and_audience_count_when_they_are_configured() {
    let signed = signed(&["auth.issuers=studio,other", "auth.audiences=npc"]);
    let check = |changes: Value| signed.check.check(&signed.ed(&claims(&changes))).map(drop);
    assert_eq!(check(json!({"iss": "studio", "aud": ["x", "npc"]})), Ok(()));
    assert_eq!(check(json!({"iss": "other", "aud": "npc"})), Ok(()));
    assert_eq!(check(json!({"iss": "who", "aud": "npc"})), Err(Cause::Issuer));
    assert_eq!(check(json!({"iss": "studio", "aud": "x"})), Err(Cause::Audience));
    assert_eq!(check(json!({"aud": "npc"})), Err(Cause::Missing("iss".into())));
    assert_eq!(check(json!({"iss": "studio"})), Err(Cause::Missing("aud".into())));
}

#[tokio::test]
async fn keys_come_and_go_while_the_server_runs() {
    let signed = signed(&[]);
    let kid = Header { kid: Some("new".into()), ..Header::default() };
    let (old, new) = (signed.ed(&claims(&json!({}))), hs(&kid, &claims(&json!({}))));
    assert!(signed.check.check(&old).is_ok());
    assert_eq!(signed.check.check(&new), Err(Cause::UnknownKey("new".into())));
    fs::write(signed.folder.path().join("new.secret"), SECRET).unwrap();
    signed.check.reread();
    assert!(signed.check.check(&old).is_ok() && signed.check.check(&new).is_ok());
    // A file that cannot be used changes nothing.
    fs::remove_file(signed.folder.path().join("ed.pem")).unwrap();
    fs::write(signed.folder.path().join("bad.secret"), "short").unwrap();
    signed.check.reread();
    assert!(signed.check.check(&old).is_ok() && signed.check.check(&new).is_ok());
    fs::remove_file(signed.folder.path().join("bad.secret")).unwrap();
    signed.check.reread();
    assert_eq!(signed.check.check(&old), Err(Cause::UnknownKey("ed".into())));
    assert!(signed.check.check(&new).is_ok());
}

#[tokio::test]
async fn a_director_may_do_what_play_is_granted_and_all_else() {
    let signed = signed(&["auth.play_grants=create"]);
    let rights =
        |scope: &str| signed.check.admit(&signed.ed(&claims(&json!({ "scope": scope })))).unwrap().rights;
    assert_eq!(rights("play"), Rights::granted(&[PlayGrant::Create]));
    assert_eq!(rights("director"), Rights::ALL);
    assert_eq!(rights("play director"), Rights::ALL);
}
