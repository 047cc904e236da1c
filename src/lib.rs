//! A WebSocket gateway that gives game characters a voice.
//!
//! Each folder is a room; imports run downward only, in the order of the list below
//! (`tests/layers.rs` checks it).

pub mod cli;
pub mod app;
pub mod http;
pub mod session;
pub mod turn;
pub mod npc;
pub mod archetype;
pub mod history;
pub mod engine;
pub mod wire;
pub mod config;
pub mod pull;
