//! The wire protocol over a real socket, seen by a client that shares no code with the server: only
//! tokio-tungstenite, rmpv and serde_json.
//!
//! The tables of the protocol, and the tests that walk them:
//! - close codes: `closes.rs`, and `takeover.rs` for 4505. 4000 needs a fault of the server; 4004, 4006 and 4503
//!   have no cause in this version.
//! - error codes: `errors.rs`. `rate_limited`, `storage_failed` and `forbidden` have no cause in this version;
//!   `engine_failed` needs a fault of the model.
//! - reasons of `resume_failed`: `resume.rs`.

mod audience;
mod chat;
mod client;
mod closes;
mod crowd;
mod cut;
mod errors;
mod focus;
mod handshake;
mod proxy;
mod resume;
mod roamer;
mod server;
mod takeover;
mod turns;
mod upgrade;
mod waiting;
mod warm;
