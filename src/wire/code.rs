//! Error codes and close codes.

use serde::{Deserialize, Serialize};

/// The `code` of an `error` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No frame of the protocol has this `op`.
    UnknownOp,
    /// A payload lacks a key, or a value has the wrong type or lies outside its range; `field` names it.
    BadPayload,
    /// There is no such NPC, or this session has not joined it.
    UnknownNpc,
    /// No pack has this name.
    UnknownArchetype,
    /// No turn of this player has this id, or it ended too long ago.
    UnknownTurn,
    /// The turn with this id is still running.
    DuplicateTurn,
    /// A text is longer than the server takes; `limit` says how many characters it may have.
    TextTooLong,
    /// The session has joined as many NPCs as it may.
    TooManyNpcs,
    /// Too many frames or turns in a time.
    RateLimited,
    /// No room for the turn now; `retry_after_ms` says when to try again.
    Overloaded,
    /// The model failed.
    EngineFailed,
    /// The store failed.
    StorageFailed,
    /// The player's scopes do not allow it.
    Forbidden,
    /// A frame that the protocol knows and this server does not have.
    NotAvailable,
}

/// Why the server closes a socket. The close reason is [`CloseCode::name`].
///
/// 4000–4499 say "come back", 4500–4999 "not with the same input".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// A fault of the server.
    Internal = 4000,
    /// The server is going down.
    Draining = 4001,
    /// The client does not read what it is sent.
    SlowConsumer = 4002,
    /// No heartbeat for two intervals.
    HeartbeatTimeout = 4003,
    /// The client sends too much.
    RateLimited = 4004,
    /// As many sessions as there may be, in all or for this player.
    SessionLimit = 4005,
    /// Nothing happened on the session for too long.
    Idle = 4006,
    /// Not a frame, the wrong kind of message, or an `op` before `identify`.
    BadFrame = 4500,
    /// The client asked for another version of the protocol.
    UnsupportedProtocol = 4501,
    /// The token is bad or has expired.
    Unauthenticated = 4502,
    /// The player may not connect at all.
    Forbidden = 4503,
    /// A message larger than `max_frame_bytes` of `hello`.
    FrameTooLarge = 4504,
    /// Another socket has taken the session over.
    SessionReplaced = 4505,
    /// No `identify` in time.
    IdentifyTimeout = 4506,
}

impl CloseCode {
    /// The number in the close frame.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether the client should come back and resume its session.
    pub const fn may_resume(self) -> bool {
        matches!(
            self,
            Self::Internal | Self::SlowConsumer | Self::HeartbeatTimeout | Self::RateLimited | Self::Idle
        )
    }

    /// The reason in the close frame.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Draining => "draining",
            Self::SlowConsumer => "slow_consumer",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::RateLimited => "rate_limited",
            Self::SessionLimit => "session_limit",
            Self::Idle => "idle",
            Self::BadFrame => "bad_frame",
            Self::UnsupportedProtocol => "unsupported_protocol",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::FrameTooLarge => "frame_too_large",
            Self::SessionReplaced => "session_replaced",
            Self::IdentifyTimeout => "identify_timeout",
        }
    }
}
