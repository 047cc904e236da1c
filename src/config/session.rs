use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One socket's life and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Folder for logs of all frames; empty: none are written.
    pub record: PathBuf,
    pub heartbeat_ms: u64,
    pub identify_timeout_ms: u64,
    /// Without a frame but heartbeats; 0: never.
    pub idle_timeout_ms: u64,
    /// Of one player; 0: no limit.
    pub frames_per_second: u32,
    pub frames_burst: u32,
    /// Of one player; 0: no limit.
    pub turns_per_minute: u32,
    pub turns_burst: u32,
    pub max_frame_bytes: usize,
    pub send_queue_bytes: usize,
    /// How long a session waits for its client after its socket was lost; 0: it does not.
    pub resume_window_ms: u64,
    /// Frames held for a client that may come back.
    pub replay_bytes: usize,
    /// The same, of all sessions together.
    pub replay_total_mb: usize,
    pub max_sessions: usize,
    pub max_sessions_per_player: usize,
    /// NPCs joined by one session.
    pub max_npcs: usize,
    /// Turns of one session that are running or waiting.
    pub max_turns: usize,
    pub max_text_chars: usize,
    pub max_context_chars: usize,
    pub max_actions: usize,
}
