//! The wire protocol over a real socket, seen by a client that shares no code with the server: only
//! tokio-tungstenite, rmpv and serde_json.
//!
//! The tables of the protocol, and the tests that walk them:
//! - close codes: `closes.rs`; 4004 and 4006 in `limits.rs`, 4502 and 4503 of signed tokens in `jwt.rs`, 4505 in
//!   `takeover.rs`. 4000 needs a fault of the server.
//! - error codes: `errors.rs`; `rate_limited` in `limits.rs`, `forbidden` in `rights.rs`, `duplicate_turn` in both of
//!   `turns.rs` and `rights.rs`. `storage_failed` has no cause in this version; `engine_failed` needs a fault of the
//!   model.
//! - reasons of `resume_failed`: `resume.rs`.

mod audience;
mod chat;
mod client;
mod closes;
mod console;
mod crowd;
mod cut;
mod errors;
mod focus;
mod handshake;
mod http;
mod jwt;
mod limits;
mod metrics;
mod moderation;
mod openapi;
mod provisioning;
mod proxy;
mod remote;
mod replay;
mod resume;
mod rights;
mod roamer;
mod server;
mod shared_npc;
mod stats;
mod takeover;
mod tls;
mod tokens;
mod tracks;
mod turns;
mod upgrade;
mod versions;
mod waiting;
mod warm;
