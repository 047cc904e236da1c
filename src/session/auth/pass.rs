//! What a session holds of the token that it was opened with.

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Grant, Rights};

/// The rights of a session and their end. It belongs to the session, not to its socket: who takes a session up
/// again has no more than before, and no longer.
#[derive(Debug, Default)]
pub struct Pass {
    held: Mutex<Held>,
}

/// Without a grant: no rights.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    rights: Rights,
    expires: Option<Instant>,
}

impl Pass {
    /// Puts a grant in the place of what was held.
    pub fn renew(&self, grant: &Grant) {
        let expires = grant.expiry.map(|expiry| expiry.at);
        *self.held.lock() = Held { rights: grant.rights, expires };
    }

    pub fn rights(&self) -> Rights {
        self.held.lock().rights
    }

    /// When the token counts as expired; `None`: never.
    pub fn expires(&self) -> Option<Instant> {
        self.held.lock().expires
    }
}
