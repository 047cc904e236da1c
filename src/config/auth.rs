use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who may connect, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub mode: AuthMode,
    /// Folder of the keys of tokens; not empty in `jwt` mode.
    pub keys: PathBuf,
    /// Accepted values of `iss`; empty: any, or none.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`; empty: any, or none.
    pub audiences: Vec<String>,
    /// Seconds by which clocks may differ.
    pub leeway_s: u64,
    /// What the scope `play` may do besides talking to NPCs that exist.
    pub play_grants: Vec<PlayGrant>,
}

/// How a token is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Any non-empty token is the name of the player; loopback only.
    Dev,
    /// A signed JSON Web Token.
    Jwt,
}

/// Something that the scope `director` may do and `play` only if it is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlayGrant {
    /// `npc.join` with an NPC that does not exist yet.
    Create,
    /// `mix` of a `say`.
    Mix,
    /// `context` of a `say`.
    Context,
    /// `audience` of a `say`.
    Audience,
    /// `event`.
    Event,
    /// `action.result`.
    Action,
    /// `npc.act`.
    Act,
}
