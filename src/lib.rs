//! A WebSocket gateway that gives game characters a voice.
//!
//! Each folder is a room; imports run downward only, in the order of the list below
//! (`tests/layers.rs` checks it).

pub mod app;
pub mod archetype;
pub mod chain;
pub mod cli;
pub mod config;
pub mod engine;
pub mod face;
pub mod history;
pub mod http;
pub mod metrics;
pub mod models;
pub mod npc;
pub mod planner;
pub mod provision;
pub mod pull;
pub mod session;
pub mod training;
pub mod turn;
pub mod wire;
