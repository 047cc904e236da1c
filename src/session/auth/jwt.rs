//! Checks signed tokens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Validation, decode, decode_header};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::Expiry;
use super::keys::{KeyError, Keys};
use crate::config::Auth;
use crate::metrics::TokenFault;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8192;
/// Longest `kid` that is repeated in a log line.
const SHOWN_KID_CHARS: usize = 64;
/// The key of tokens that name none.
const DEFAULT_KID: &str = "default";
/// A token that lives longer counts as if it lived so long: clocks cannot be set further ahead.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 10);

/// Why a token is no good. For the log: none of these repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    #[error("it is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    #[error("it is no JWT with an algorithm that is known")]
    NoJwt,
    #[error("its header says that it can only be understood with extensions (crit)")]
    Critical,
    #[error("auth.keys has no key {0:?}")]
    UnknownKey(String),
    #[error("it names another algorithm than its key's")]
    WrongAlgorithm,
    #[error("the signature is not of this key")]
    WrongSignature,
    #[error("it has expired")]
    Expired,
    #[error("its time has not come (nbf)")]
    TooEarly,
    #[error("iss is not among auth.issuers")]
    Issuer,
    #[error("aud is not among auth.audiences")]
    Audience,
    #[error("the claim {0} is missing")]
    Missing(String),
    #[error("exp, nbf, sub or scope is missing or of the wrong type")]
    Claims,
    #[error("the player's name must have 1 to 64 characters, none of them a control character")]
    Name,
}

impl Cause {
    /// What it is counted as.
    pub(super) fn counted(&self) -> TokenFault {
        match self {
            Self::TooLong => TokenFault::TooLong,
            Self::NoJwt => TokenFault::NoJwt,
            Self::Critical => TokenFault::Critical,
            Self::UnknownKey(_) => TokenFault::UnknownKey,
            Self::WrongAlgorithm => TokenFault::WrongAlgorithm,
            Self::WrongSignature => TokenFault::WrongSignature,
            Self::Expired => TokenFault::Expired,
            Self::TooEarly => TokenFault::TooEarly,
            Self::Issuer => TokenFault::Issuer,
            Self::Audience => TokenFault::Audience,
            Self::Missing(_) => TokenFault::MissingClaim,
            Self::Claims => TokenFault::Claims,
            Self::Name => TokenFault::Name,
        }
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        match error.into_kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => Self::WrongAlgorithm,
            ErrorKind::InvalidSignature => Self::WrongSignature,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::TooEarly,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) => Self::Missing(claim),
            // Behind the signature only the claims are left to be wrong.
            ErrorKind::Json(_) | ErrorKind::InvalidClaimFormat(_) => Self::Claims,
            _ => Self::NoJwt,
        }
    }
}

/// What is read of a token that is good.
#[derive(Debug, PartialEq)]
pub(super) struct Token {
    pub player: String,
    /// Words, parted by spaces.
    pub scope: String,
    pub expiry: Expiry,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970.
    exp: f64,
    scope: String,
}

/// Tokens with `kid`, checked with the keys of a folder.
#[derive(Debug)]
pub(super) struct Jwt {
    folder: PathBuf,
    keys: Mutex<Arc<Keys>>,
    /// What the last reading failed with, so that it is said once.
    failed: Mutex<Option<String>>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    leeway_s: u64,
}

impl Jwt {
    pub fn new(config: &Auth) -> Result<Self, KeyError> {
        let keys = Keys::read(&config.keys)?;
        Ok(Self {
            folder: config.keys.clone(),
            keys: Mutex::new(Arc::new(keys)),
            failed: Mutex::default(),
            issuers: config.issuers.clone(),
            audiences: config.audiences.clone(),
            leeway_s: config.leeway_s,
        })
    }

    pub fn key_names(&self) -> Vec<String> {
        self.keys.lock().names().into_iter().map(str::to_owned).collect()
    }

    pub fn reread(&self) {
        match Keys::read(&self.folder) {
            Ok(keys) => {
                *self.failed.lock() = None;
                let mut held = self.keys.lock();
                if **held != keys {
                    tracing::info!(keys = ?keys.names(), "the keys of tokens have changed");
                    *held = Arc::new(keys);
                }
            }
            Err(error) => {
                let message = error.to_string();
                let mut failed = self.failed.lock();
                if failed.as_ref() != Some(&message) {
                    tracing::error!(%error, "the keys of tokens stay as they were");
                    *failed = Some(message);
                }
            }
        }
    }

    pub fn check(&self, token: &str) -> Result<Token, Cause> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Cause::TooLong);
        }
        let header = decode_header(token).map_err(|_| Cause::NoJwt)?;
        if header.crit.is_some() {
            return Err(Cause::Critical);
        }
        let keys = Arc::clone(&self.keys.lock());
        let kid = header.kid.as_deref().unwrap_or(DEFAULT_KID);
        let key =
            keys.get(kid).ok_or_else(|| Cause::UnknownKey(kid.chars().take(SHOWN_KID_CHARS).collect()))?;
        let claims: Claims = decode(token, key.decoding(), &self.validation(key.algorithm()))?.claims;
        Ok(Token { expiry: self.expiry(claims.exp), player: claims.sub, scope: claims.scope })
    }

    /// What is wanted of a token whose key has this algorithm.
    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway_s;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        validation.validate_aud = !self.audiences.is_empty();
        if validation.validate_aud {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn expiry(&self, exp: f64) -> Expiry {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let left = |until: f64| {
            // Not a number only if `exp` is none, which the check has ruled out.
            Duration::try_from_secs_f64((until - now).max(0.0)).unwrap_or(LONGEST).min(LONGEST)
        };
        Expiry {
            left_ms: left(exp).as_millis() as u64,
            at: Instant::now() + left(exp + self.leeway_s as f64),
        }
    }
}
