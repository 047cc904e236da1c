//! Frames: what an `op` may be, and the client frames as they come in.

use serde::{Deserialize, Serialize};

use super::payload::{
    ActionProposed, ActionResult, Auth, Authed, Cancel, DialogueDelta, Emotion, ErrorPayload, Event,
    EventRecorded, FaceKey, Goal, Heartbeat, HeartbeatAck, Hello, Identify, NpcAct, NpcActed, NpcFocus,
    NpcJoin, NpcJoined, NpcLeave, NpcLeft, NpcWarm, Playback, Ready, Resume, ResumeFailed, Resumed, SayFrame,
    Social, TurnCancelled, TurnDone, TurnStarted,
};

/// The client's own mark of a frame, repeated on the direct reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    Auth(Auth),
    ActionResult(ActionResult),
    Event(Event),
    NpcAct(NpcAct),
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
            Self::Auth(_) => "auth",
            Self::ActionResult(_) => "action.result",
            Self::Event(_) => "event",
            Self::NpcAct(_) => "npc.act",
        }
    }
}

/// The `op` of every client frame of the protocol.
pub const CLIENT_OPS: [&str; 13] = [
    "identify",
    "resume",
    "heartbeat",
    "auth",
    "npc.join",
    "npc.focus",
    "npc.leave",
    "say",
    "cancel",
    "playback",
    "action.result",
    "event",
    "npc.act",
];

/// The `op` of every server frame of the protocol.
pub const SERVER_OPS: [&str; 21] = [
    "hello",
    "ready",
    "resumed",
    "resume_failed",
    "heartbeat_ack",
    "authed",
    "npc.joined",
    "npc.warm",
    "npc.left",
    "turn.started",
    "dialogue.delta",
    "emotion",
    "face.key",
    "action.proposed",
    "social",
    "goal",
    "turn.done",
    "turn.cancelled",
    "event.recorded",
    "npc.acted",
    "error",
];

/// The `op` of most frames.
pub(super) const DELTA_OP: &str = "dialogue.delta";

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ServerFrame {
    Hello(Hello),
    Ready(Ready),
    HeartbeatAck(HeartbeatAck),
    Resumed(Resumed),
    ResumeFailed(ResumeFailed),
    Authed(Authed),
    NpcJoined(Box<NpcJoined>),
    NpcWarm(NpcWarm),
    NpcLeft(NpcLeft),
    TurnStarted(TurnStarted),
    DialogueDelta(DialogueDelta),
    Emotion(Emotion),
    FaceKey(FaceKey),
    ActionProposed(ActionProposed),
    Social(Social),
    Goal(Goal),
    TurnCancelled(TurnCancelled),
    TurnDone(TurnDone),
    EventRecorded(EventRecorded),
    NpcActed(NpcActed),
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
            Self::Authed(_) => "authed",
            Self::NpcJoined(_) => "npc.joined",
            Self::NpcWarm(_) => "npc.warm",
            Self::NpcLeft(_) => "npc.left",
            Self::TurnStarted(_) => "turn.started",
            Self::DialogueDelta(_) => DELTA_OP,
            Self::Emotion(_) => "emotion",
            Self::FaceKey(_) => "face.key",
            Self::ActionProposed(_) => "action.proposed",
            Self::Social(_) => "social",
            Self::Goal(_) => "goal",
            Self::TurnCancelled(_) => "turn.cancelled",
            Self::TurnDone(_) => "turn.done",
            Self::EventRecorded(_) => "event.recorded",
            Self::NpcActed(_) => "npc.acted",
            Self::Error(_) => "error",
        }
    }
}
