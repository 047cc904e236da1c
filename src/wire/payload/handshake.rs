use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::wire::schema;

/// S `hello`: the first frame of every socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hello {
    /// Version of the protocol: 1.
    #[cfg_attr(test, schemars(schema_with = "schema::protocol"))]
    pub protocol: u64,
    /// Name and version of the server: `npc-gateway/0.1.0`.
    pub server: String,
    pub engine: EngineKind,
    pub heartbeat_ms: u64,
    pub identify_timeout_ms: u64,
    pub max_frame_bytes: u64,
}

/// What makes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// A language model.
    Model,
    /// A load-test tool that plays given text.
    Scripted,
}

/// C `identify`: who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Identify {
    pub token: String,
    pub client: ClientInfo,
    /// The version that the client speaks, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::protocol"))]
    pub protocol: Option<u64>,
}

/// Name and version of the client program, each 1–64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientInfo {
    #[cfg_attr(test, schemars(schema_with = "schema::client_text"))]
    pub name: String,
    #[cfg_attr(test, schemars(schema_with = "schema::client_text"))]
    pub version: String,
}

/// S `ready`: the session exists. Its `s` is 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ready {
    pub session: String,
    pub resume_token: String,
    /// Changes at every start of the server.
    pub epoch: String,
    pub player: String,
    pub scopes: Vec<String>,
    /// How long a session waits for a lost client; 0: it does not.
    pub resume_window_ms: u64,
    pub limits: BTreeMap<String, u64>,
}

/// C `heartbeat`; `seq` is the last `s` received (0: none yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Heartbeat {
    pub seq: u64,
}

/// S `heartbeat_ack`, with the `seq` of the heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeartbeatAck {
    pub seq: u64,
}

/// C `resume`: takes up a session whose socket is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Resume {
    pub session: String,
    pub resume_token: String,
    pub epoch: String,
    /// The last `s` received.
    pub seq: u64,
}

/// S `resumed`: everything that the client had missed was sent before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Resumed {
    /// The last `s` sent.
    pub seq: u64,
    /// How many frames were sent again.
    pub replayed: u64,
    /// Takes the place of the one that was used.
    pub resume_token: String,
}

/// S `resume_failed`: nothing was replayed; the client may `identify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResumeFailed {
    pub reason: ResumeFailReason,
    /// Always false.
    #[cfg_attr(test, schemars(schema_with = "schema::always_false"))]
    pub recovered: bool,
}

/// Why a session could not be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResumeFailReason {
    UnknownSession,
    BadToken,
    EpochChanged,
    Expired,
    Gap,
    BadSubprotocol,
}

/// C `auth`: renews a token that is about to expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Auth {
    pub token: String,
}

/// S `authed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Authed {
    /// How long the new token is good for; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}
