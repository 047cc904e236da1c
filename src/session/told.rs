//! A session as those who run the server see it.

use uuid::Uuid;

use crate::wire::Subprotocol;

/// How a session is at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTold {
    pub id: Uuid,
    pub player: String,
    pub scopes: Vec<String>,
    pub subprotocol: Subprotocol,
    /// It waits for its client.
    pub lost: bool,
    /// When it began, in milliseconds since 1970, UTC.
    pub began_ms: u64,
    /// Those that it has joined, in alphabetical order.
    pub npcs: Vec<String>,
    /// Turns that run or wait.
    pub turns: usize,
    /// Frames that its client has not acknowledged, and what they take.
    pub held_frames: usize,
    pub held_bytes: usize,
}
