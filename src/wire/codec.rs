//! Bytes to frames and back, for both subprotocols.

use std::cell::Cell;

use bytes::Bytes;
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};

use super::frame::{Cid, ClientFrame, DELTA_OP, ServerFrame};
use super::payload::DeltaRef;
use super::value::{MAX_DEPTH, Tree, Value};

/// How frames are written. Both carry the same maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subprotocol {
    /// Binary messages, MessagePack with structs as maps. The default.
    Msgpack,
    /// Text messages, JSON.
    Json,
}

impl Subprotocol {
    /// Its name in `Sec-WebSocket-Protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Msgpack => "npc.v1.msgpack",
            Self::Json => "npc.v1.json",
        }
    }

    /// The subprotocol with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Msgpack, Self::Json].into_iter().find(|known| known.name() == name)
    }

    /// Whether its messages are binary; they are text otherwise.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Msgpack)
    }
}

/// A message could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("MessagePack: {0}")]
    MsgpackEncode(#[from] rmp_serde::encode::Error),
    #[error("MessagePack: {0}")]
    MsgpackDecode(#[from] rmp_serde::decode::Error),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("bytes after the end of the frame")]
    TrailingBytes,
}

/// Reads a whole message into a tree.
pub(super) fn decode_tree(subprotocol: Subprotocol, message: &[u8]) -> Result<Value<'_>, CodecError> {
    let tree = Tree { depth_left: MAX_DEPTH };
    match subprotocol {
        Subprotocol::Msgpack => {
            let mut rest = message;
            let value = tree.deserialize(&mut rmp_serde::Deserializer::new(&mut rest))?;
            if rest.is_empty() { Ok(value) } else { Err(CodecError::TrailingBytes) }
        }
        Subprotocol::Json => {
            let mut deserializer = serde_json::Deserializer::from_slice(message);
            let value = tree.deserialize(&mut deserializer)?;
            deserializer.end()?;
            Ok(value)
        }
    }
}

/// The keys of a frame, in the order in which they are written.
#[derive(Serialize)]
struct Envelope<'a, D> {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<&'a Cid>,
    d: &'a D,
}

/// Bytes of the buffer that each thread keeps to write frames in. Nearly all are shorter.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Frames are written into a buffer that is there already, and copied once to where they have no spare room: they may
/// be held for long, and a buffer that grows with each frame costs more than the copy.
fn encode<T: Serialize>(subprotocol: Subprotocol, frame: &T) -> Result<Bytes, CodecError> {
    let mut buffer = BUFFER.take();
    let written = write(subprotocol, &mut buffer, frame);
    let message = Bytes::copy_from_slice(&buffer);
    keep(buffer);
    written.map(|()| message)
}

/// Adds a frame to what is in the buffer.
fn write<T: Serialize>(subprotocol: Subprotocol, buffer: &mut Vec<u8>, frame: &T) -> Result<(), CodecError> {
    match subprotocol {
        Subprotocol::Msgpack => rmp_serde::encode::write_named(buffer, frame)?,
        Subprotocol::Json => serde_json::to_writer(buffer, frame)?,
    }
    Ok(())
}

/// Gives the thread its buffer back.
fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() <= SCRATCH {
        buffer.clear();
        BUFFER.set(buffer);
    }
}

/// Bytes of frames that share a piece of memory; the last one of a piece may go beyond.
const PIECE: usize = 4096;

/// Writes frames that follow one another. They share memory, piece by piece, which costs less than memory for each; a
/// piece is there for as long as one of its frames is.
#[derive(Debug)]
pub struct Burst {
    subprotocol: Subprotocol,
    /// The piece that is being filled, and where each of its frames ends.
    buffer: Vec<u8>,
    ends: Vec<usize>,
    messages: Vec<Bytes>,
}

impl Burst {
    /// For about so many frames.
    pub fn new(subprotocol: Subprotocol, frames: usize) -> Self {
        let (ends, messages) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
        Self { subprotocol, buffer: BUFFER.take(), ends, messages }
    }

    /// Writes a frame. After an error it is as if nothing had been asked.
    pub fn frame(&mut self, frame: &ServerFrame, s: u64, cid: Option<&Cid>) -> Result<(), CodecError> {
        self.write(&Envelope { op: frame.op(), s: Some(s), cid, d: frame })
    }

    /// Writes a `dialogue.delta`.
    pub fn delta(&mut self, delta: &DeltaRef, s: u64) -> Result<(), CodecError> {
        self.write(&Envelope { op: DELTA_OP, s: Some(s), cid: None, d: delta })
    }

    fn write<T: Serialize>(&mut self, frame: &T) -> Result<(), CodecError> {
        let start = self.buffer.len();
        let written = write(self.subprotocol, &mut self.buffer, frame);
        if written.is_err() {
            self.buffer.truncate(start);
            return written;
        }
        self.ends.push(self.buffer.len());
        if self.buffer.len() >= PIECE {
            self.cut();
        }
        Ok(())
    }

    /// Makes messages of what is in the buffer.
    fn cut(&mut self) {
        let mut piece = Bytes::copy_from_slice(&self.buffer);
        let mut start = 0;
        for end in self.ends.drain(..) {
            self.messages.push(piece.split_to(end - start));
            start = end;
        }
        self.buffer.clear();
    }

    /// The frames as messages, in their order.
    pub fn messages(mut self) -> Vec<Bytes> {
        self.cut();
        keep(self.buffer);
        self.messages
    }
}

/// Writes a server frame as one message.
pub fn encode_server(
    subprotocol: Subprotocol,
    frame: &ServerFrame,
    s: Option<u64>,
    cid: Option<&Cid>,
) -> Result<Bytes, CodecError> {
    encode(subprotocol, &Envelope { op: frame.op(), s, cid, d: frame })
}

/// Writes a client frame as one message.
pub fn encode_client(
    subprotocol: Subprotocol,
    frame: &ClientFrame,
    cid: Option<&Cid>,
) -> Result<Bytes, CodecError> {
    encode(subprotocol, &Envelope { op: frame.op(), s: None, cid, d: frame })
}

/// A server frame as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerMessage {
    pub op: String,
    pub s: Option<u64>,
    pub cid: Option<Cid>,
    /// `None`: an `op` that this version does not have, to be passed over.
    pub frame: Option<ServerFrame>,
}

/// Reads a server frame: the client's side of the codec.
pub fn decode_server(subprotocol: Subprotocol, message: &[u8]) -> Result<ServerMessage, CodecError> {
    #[derive(Deserialize)]
    struct Head {
        op: String,
        s: Option<u64>,
        cid: Option<Cid>,
    }
    #[derive(Deserialize)]
    struct Body<D> {
        d: D,
    }
    fn read<'m, T: Deserialize<'m>>(subprotocol: Subprotocol, message: &'m [u8]) -> Result<T, CodecError> {
        Ok(match subprotocol {
            Subprotocol::Msgpack => rmp_serde::from_slice(message)?,
            Subprotocol::Json => serde_json::from_slice(message)?,
        })
    }
    fn body<'m, D: Deserialize<'m>>(subprotocol: Subprotocol, message: &'m [u8]) -> Result<D, CodecError> {
        Ok(read::<Body<D>>(subprotocol, message)?.d)
    }

    let Head { op, s, cid } = read(subprotocol, message)?;
    let frame = match op.as_str() {
        "hello" => Some(ServerFrame::Hello(body(subprotocol, message)?)),
        "ready" => Some(ServerFrame::Ready(body(subprotocol, message)?)),
        "heartbeat_ack" => Some(ServerFrame::HeartbeatAck(body(subprotocol, message)?)),
        "resumed" => Some(ServerFrame::Resumed(body(subprotocol, message)?)),
        "resume_failed" => Some(ServerFrame::ResumeFailed(body(subprotocol, message)?)),
        "authed" => Some(ServerFrame::Authed(body(subprotocol, message)?)),
        "npc.joined" => Some(ServerFrame::NpcJoined(body(subprotocol, message)?)),
        "npc.warm" => Some(ServerFrame::NpcWarm(body(subprotocol, message)?)),
        "npc.left" => Some(ServerFrame::NpcLeft(body(subprotocol, message)?)),
        "turn.started" => Some(ServerFrame::TurnStarted(body(subprotocol, message)?)),
        "dialogue.delta" => Some(ServerFrame::DialogueDelta(body(subprotocol, message)?)),
        "emotion" => Some(ServerFrame::Emotion(body(subprotocol, message)?)),
        "face.key" => Some(ServerFrame::FaceKey(body(subprotocol, message)?)),
        "action.proposed" => Some(ServerFrame::ActionProposed(body(subprotocol, message)?)),
        "social" => Some(ServerFrame::Social(body(subprotocol, message)?)),
        "goal" => Some(ServerFrame::Goal(body(subprotocol, message)?)),
        "turn.cancelled" => Some(ServerFrame::TurnCancelled(body(subprotocol, message)?)),
        "turn.done" => Some(ServerFrame::TurnDone(body(subprotocol, message)?)),
        "event.recorded" => Some(ServerFrame::EventRecorded(body(subprotocol, message)?)),
        "npc.acted" => Some(ServerFrame::NpcActed(body(subprotocol, message)?)),
        "error" => Some(ServerFrame::Error(body(subprotocol, message)?)),
        _ => None,
    };
    Ok(ServerMessage { op, s, cid, frame })
}
