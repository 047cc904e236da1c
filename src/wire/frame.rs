//! Frames: what an `op` may be, and the client frames as they come in.

use serde::{Deserialize, Serialize};

use super::payload::{
    Cancel, DialogueDelta, ErrorPayload, Heartbeat, HeartbeatAck, Hello, Identify, NpcFocus, NpcJoin,
    NpcJoined, NpcLeave, NpcLeft, NpcWarm, Playback, Ready, Resume, ResumeFailed, Resumed, SayFrame,
    TurnCancelled, TurnDone, TurnStarted,
};

/// The client's own mark of a frame, repeated on the direct reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cid {
    Uint(u64),
    Str(String),
}

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClientFrame {
    Identify(Identify),
    Resume(Resume),
    Heartbeat(Heartbeat),
    NpcJoin(NpcJoin),
    NpcFocus(NpcFocus),
    NpcLeave(NpcLeave),
    Say(Box<SayFrame>),
    Cancel(Cancel),
    Playback(Playback),
}

impl ClientFrame {
    /// The `op` of the frame.
    pub fn op(&self) -> &'static str {
        match self {
            Self::Identify(_) => "identify",
            Self::Resume(_) => "resume",
            Self::Heartbeat(_) => "heartbeat",
            Self::NpcJoin(_) => "npc.join",
            Self::NpcFocus(_) => "npc.focus",
            Self::NpcLeave(_) => "npc.leave",
            Self::Say(_) => "say",
            Self::Cancel(_) => "cancel",
            Self::Playback(_) => "playback",
        }
    }
}

/// Ops of clients that the protocol has and this server does not.
pub const NOT_AVAILABLE: [&str; 4] = ["auth", "action.result", "event", "npc.act"];

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ServerFrame {
    Hello(Hello),
    Ready(Ready),
    HeartbeatAck(HeartbeatAck),
    Resumed(Resumed),
    ResumeFailed(ResumeFailed),
    NpcJoined(NpcJoined),
    NpcWarm(NpcWarm),
    NpcLeft(NpcLeft),
    TurnStarted(TurnStarted),
    DialogueDelta(DialogueDelta),
    TurnCancelled(TurnCancelled),
    TurnDone(TurnDone),
    Error(ErrorPayload),
}

impl ServerFrame {
    /// The `op` of the frame.
    pub fn op(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Ready(_) => "ready",
            Self::HeartbeatAck(_) => "heartbeat_ack",
            Self::Resumed(_) => "resumed",
            Self::ResumeFailed(_) => "resume_failed",
            Self::NpcJoined(_) => "npc.joined",
            Self::NpcWarm(_) => "npc.warm",
            Self::NpcLeft(_) => "npc.left",
            Self::TurnStarted(_) => "turn.started",
            Self::DialogueDelta(_) => "dialogue.delta",
            Self::TurnCancelled(_) => "turn.cancelled",
            Self::TurnDone(_) => "turn.done",
            Self::Error(_) => "error",
        }
    }
}
