use serde::{Deserialize, Serialize};

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub mode: AuthMode,
}

/// How a token is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Any non-empty token is the name of the player; loopback only.
    Dev,
}
