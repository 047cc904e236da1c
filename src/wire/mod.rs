//! Frames and codecs of the wire protocol, version 1. Pure: no I/O, no clocks, no state.
//!
//! A WebSocket message is one frame: a map with an `op`, perhaps an `s` (server frames), a `cid` (the
//! client's own mark) and a payload `d`. The payload types are in [`payload`], the two enums over them in
//! [`frame`].

mod code;
pub mod payload;

pub use code::{CloseCode, ErrorCode};
pub use payload::*;

/// Version of the protocol that this server speaks.
pub const PROTOCOL: u64 = 1;
