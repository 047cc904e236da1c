//! Everything that reads what strangers wrote, as functions of bytes. They say whether the
//! bytes were accepted, and panic when something is wrong.

mod codec;
mod files;
mod handshake;
mod support;

pub use codec::{json, msgpack};
pub use files::{adapter, checkpoint, model, pack};
pub use handshake::handshake;

/// Says whether the bytes were accepted.
pub type Target = fn(&[u8]) -> bool;

/// All of them, by name.
pub const ALL: [(&str, Target); 7] = [
    ("msgpack", msgpack),
    ("json", json),
    ("handshake", handshake),
    ("pack", pack),
    ("model", model),
    ("adapter", adapter),
    ("checkpoint", checkpoint),
];

/// Longest text that a refusal may have, in bytes, whatever was refused.
const MAX_REFUSAL: usize = 4096;
