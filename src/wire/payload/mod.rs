//! The payload (`d`) of every frame that this server sends or takes.
//!
//! Keys are exactly those of the protocol. An optional key that is `None` is left out. Numbers that the
//! protocol calls uint are unsigned integers here; weights and probabilities are `f32`.

mod error;
mod handshake;
mod npc;
mod turn;

pub use error::{ErrorPayload, Limit};
pub use handshake::{
    ClientInfo, EngineKind, Heartbeat, HeartbeatAck, Hello, Identify, Ready, Resume, ResumeFailReason,
    ResumeFailed, Resumed,
};
pub use npc::{ChainInfo, ChainTask, NpcFocus, NpcInfo, NpcJoin, NpcJoined, NpcLeave, NpcLeft, NpcWarm};
pub use turn::{
    Action, AdapterUse, Cancel, DialogueDelta, DoneReason, GenerationOptions, Playback, SayFrame, TimingInfo,
    TurnCancelled, TurnDone, TurnStarted, UsageInfo, ValidThrough,
};
