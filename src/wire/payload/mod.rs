//! The payload (`d`) of every frame of the protocol.
//!
//! Keys are exactly those of the protocol. An optional key that is `None` is left out. Numbers that the
//! protocol calls uint are unsigned integers here; weights and probabilities are `f32`.

mod error;
mod event;
mod handshake;
mod npc;
mod track;
mod turn;

pub use error::{ErrorPayload, Limit};
pub use event::{ActionResult, Choice, Event, EventKind, EventRecorded, NpcAct, NpcActed};
pub use handshake::{
    Auth, Authed, ClientInfo, EngineKind, Heartbeat, HeartbeatAck, Hello, Identify, Ready, Resume,
    ResumeFailReason, ResumeFailed, Resumed,
};
pub use npc::{
    ChainInfo, ChainServices, ChainTask, FaceInfo, GoalInfo, NpcFocus, NpcInfo, NpcJoin, NpcJoined, NpcLeave,
    NpcLeft, NpcWarm, ServiceInfo,
};
pub use track::{
    ActionProposed, Axis, Emotion, EmotionLabel, FACE_SHAPES, FaceKey, Goal, RankedGoal, Relationship, Social,
};
pub use turn::{
    Action, AdapterUse, Cancel, DeltaRef, DialogueDelta, DoneReason, GenerationOptions, Playback,
    RouteReason, SayFrame, TimingInfo, TurnCancelled, TurnDone, TurnStarted, UsageInfo, ValidThrough,
};
