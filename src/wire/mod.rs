//! Frames and codecs of the wire protocol, version 1. Pure: no I/O, no clocks, no state.
//!
//! A WebSocket message is one frame: a map with an `op`, perhaps an `s` (server frames), a `cid` (the
//! client's own mark) and a payload `d`. [`payload`] has the payloads, [`ClientFrame`] and [`ServerFrame`]
//! are the enums over them. The server reads with [`RawFrame`] and writes with [`encode_server`]; a client
//! writes with [`encode_client`] and reads with [`decode_server`].

mod client;
mod code;
mod codec;
mod fields;
mod frame;
pub mod payload;
#[cfg(test)]
mod schema;
mod value;

#[cfg(test)]
mod tests;

pub use client::{
    Limits, MAX_ARCHETYPE_CHARS, MAX_AUDIENCE, MAX_DESCRIPTION_CHARS, MAX_ID_CHARS, MAX_NAME_CHARS,
    MAX_STOP_CHARS, MAX_STOPS, MAX_TOKENS, MAX_TRAITS, NotAFrame, RawFrame,
};
pub use code::{CloseCode, ErrorCode};
pub use codec::{Burst, CodecError, ServerMessage, Subprotocol, decode_server, encode_client, encode_server};
pub use frame::{CLIENT_OPS, Cid, ClientFrame, SERVER_OPS, ServerFrame};
pub use payload::*;

/// Version of the protocol that this server speaks.
pub const PROTOCOL: u64 = 1;

/// Names of the tasks that an adapter may have; keys of `mix` and of `chain.tasks`.
pub const TASKS: [&str; 7] = [
    "personality",
    "dialogue_style",
    "action_policy",
    "emotional_response",
    "world_knowledge",
    "social_dynamics",
    "goal_prioritization",
];
