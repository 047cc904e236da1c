use serde::{Deserialize, Serialize};

/// A studio's own service that looks at what is said.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Moderation {
    /// Empty: none is asked.
    pub url: String,
    /// Sent as `Authorization: Bearer …`; empty: nothing is sent.
    pub token: String,
    /// Milliseconds that an answer may take.
    pub timeout_ms: u64,
    pub checks: Vec<Direction>,
    pub on_failure: OnFailure,
}

/// Which way a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From a player.
    Input,
    /// To the players.
    Output,
}

/// What holds when the service does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// What it was asked about is allowed.
    Open,
    /// It is blocked.
    Closed,
}
