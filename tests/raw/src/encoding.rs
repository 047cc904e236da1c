//! The two subprotocols.

use serde_json::{Value, json};

use crate::frame::{Frame, Opcode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Msgpack,
    Json,
}

impl Encoding {
    pub const BOTH: [Self; 2] = [Self::Msgpack, Self::Json];

    pub fn name(self) -> &'static str {
        match self {
            Self::Msgpack => "npc.v1.msgpack",
            Self::Json => "npc.v1.json",
        }
    }

    /// The kind of message that this subprotocol has.
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Msgpack => Opcode::BINARY,
            Self::Json => Opcode::TEXT,
        }
    }

    pub fn encode(self, frame: &Value) -> Vec<u8> {
        match self {
            Self::Json => frame.to_string().into_bytes(),
            // A JSON value has a MessagePack form in any case.
            Self::Msgpack => rmp_serde::to_vec(frame).unwrap_or_default(),
        }
    }

    /// A frame of the wire protocol as one WebSocket frame.
    pub fn frame(self, frame: &Value) -> Frame {
        Frame::new(self.opcode(), self.encode(frame))
    }

    /// What a server's message says; `None` if it is not of this subprotocol.
    pub fn decode(self, frame: &Frame) -> Option<Value> {
        if frame.opcode != self.opcode() || !frame.fin {
            return None;
        }
        match self {
            Self::Json => serde_json::from_slice(&frame.payload).ok(),
            Self::Msgpack => rmp_serde::from_slice(&frame.payload).ok(),
        }
    }
}

/// C `identify` in `dev` mode.
pub fn identify(player: &str) -> Value {
    json!({"op": "identify", "d": {"token": player, "client": {"name": "raw", "version": "1"}}})
}

/// C `heartbeat` that carries something for the server to send back.
pub fn heartbeat(cid: &str) -> Value {
    json!({"op": "heartbeat", "cid": cid, "d": {"seq": 0}})
}
