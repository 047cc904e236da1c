//! Who a token stands for, and what they may do.
//!
//! - [`Authenticator`] makes a [`Grant`] of a token, as `auth.mode` says.
//! - `keys` and `jwt` check tokens that are signed.
//! - [`Pass`] is what a session holds of its grant; a new token renews it.
//! - [`Rights`] tells what a frame needs.

mod jwt;
mod keys;
mod pass;
mod rights;
#[cfg(test)]
mod tests;

use tokio::time::Instant;

pub use self::jwt::Cause;
pub use self::keys::KeyError;
pub use self::pass::Pass;
pub use self::rights::Rights;

use self::jwt::Jwt;
use crate::config::{Auth, AuthMode};
use crate::metrics::{AuthMetrics, TokenFault};
use crate::wire::{CloseCode, MAX_ID_CHARS};

/// The scopes that there are, in the order in which `ready` lists them.
const SCOPES: [&str; 3] = [PLAY, DIRECTOR, ADMIN];
const PLAY: &str = "play";
const DIRECTOR: &str = "director";
const ADMIN: &str = "admin";

/// A player who may have a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    pub name: String,
    /// The known ones of the token.
    pub scopes: Vec<String>,
}

/// What a token gives its bearer.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub player: Player,
    pub rights: Rights,
    /// `None`: it does not expire.
    pub expiry: Option<Expiry>,
}

/// The end of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expiry {
    /// Milliseconds that were left when it was checked.
    pub left_ms: u64,
    /// When it counts as expired: its `exp` and `auth.leeway_s` after it.
    pub at: Instant,
}

impl Grant {
    /// Whether the bearer may have a session.
    fn may_play(&self) -> bool {
        [PLAY, DIRECTOR].iter().any(|scope| self.has(scope))
    }

    /// Whether the bearer may use the HTTP API.
    pub fn is_admin(&self) -> bool {
        self.has(ADMIN)
    }

    fn has(&self, scope: &str) -> bool {
        self.player.scopes.iter().any(|own| own == scope)
    }
}

/// Checks tokens.
#[derive(Debug)]
pub struct Authenticator {
    mode: Mode,
    /// What the scope `play` may do.
    play: Rights,
    metrics: AuthMetrics,
}

#[derive(Debug)]
enum Mode {
    Dev,
    Jwt(Jwt),
}

impl Authenticator {
    /// Reads the keys, if there are to be any.
    ///
    /// # Errors
    /// A key that cannot be used, or no key.
    pub fn new(config: &Auth) -> Result<Self, KeyError> {
        let mode = match config.mode {
            AuthMode::Dev => Mode::Dev,
            AuthMode::Jwt => Mode::Jwt(Jwt::new(config)?),
        };
        Ok(Self { mode, play: Rights::granted(&config.play_grants), metrics: AuthMetrics::default() })
    }

    /// What a token gives; the error says why it gives nothing.
    ///
    /// In `dev` mode the token is the player's name: 1 to 64 characters, none of them a control character. Every
    /// scope is granted.
    pub fn check(&self, token: &str) -> Result<Grant, Cause> {
        self.grant(token).inspect_err(|cause| self.metrics.failures.of(cause.counted()).inc())
    }

    fn grant(&self, token: &str) -> Result<Grant, Cause> {
        let (name, scopes, expiry) = match &self.mode {
            Mode::Dev => (token.to_owned(), SCOPES.join(" "), None),
            Mode::Jwt(jwt) => {
                let token = jwt.check(token)?;
                (token.player, token.scope, Some(token.expiry))
            }
        };
        if !is_name(&name) {
            return Err(Cause::Name);
        }
        let named = |scope: &&str| scopes.split(' ').any(|own| own == *scope);
        let scopes = SCOPES.iter().filter(|scope| named(scope)).map(|&scope| scope.to_owned()).collect();
        let player = Player { name, scopes };
        let rights =
            if player.scopes.iter().any(|scope| scope == DIRECTOR) { Rights::ALL } else { self.play };
        Ok(Grant { player, rights, expiry })
    }

    /// The grant of a token that is to have a session. The cause of a refusal is logged, the token is not.
    ///
    /// # Errors
    /// `unauthenticated` for a token that is no good, `forbidden` for one without the scope of a session.
    pub fn admit(&self, token: &str) -> Result<Grant, CloseCode> {
        let grant = self.check(token).map_err(|cause| {
            tracing::debug!(%cause, "a token was refused");
            CloseCode::Unauthenticated
        })?;
        if grant.may_play() {
            return Ok(grant);
        }
        self.metrics.failures.of(TokenFault::Scope).inc();
        tracing::debug!(player = grant.player.name, "a token has neither the scope play nor director");
        Err(CloseCode::Forbidden)
    }

    /// Tokens that were refused; whoever refuses a good one says so here.
    pub fn metrics(&self) -> &AuthMetrics {
        &self.metrics
    }

    /// The `kid` of every key.
    pub fn key_names(&self) -> Vec<String> {
        match &self.mode {
            Mode::Dev => Vec::new(),
            Mode::Jwt(jwt) => jwt.key_names(),
        }
    }

    /// Reads the keys again. What cannot be used is logged, and the keys stay as they were. Blocks on files.
    pub fn reread(&self) {
        if let Mode::Jwt(jwt) = &self.mode {
            jwt.reread();
        }
    }
}

fn is_name(name: &str) -> bool {
    let length = name.chars().take(MAX_ID_CHARS + 1).count();
    (1..=MAX_ID_CHARS).contains(&length) && !name.chars().any(char::is_control)
}
