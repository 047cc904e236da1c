//! The wire protocol over a real socket, seen by a client that shares no code with the server: only
//! tokio-tungstenite, rmpv and serde_json.
//!
//! The tables of the protocol, and the tests that walk them:
//! - close codes: `closes.rs`. 4000 needs a fault of the server; 4004, 4006, 4503 and 4505 have no cause in
//!   this version.
//! - error codes: `errors.rs`. `rate_limited`, `storage_failed` and `forbidden` have no cause in this version;
//!   `engine_failed` needs a fault of the model.

mod audience;
mod chat;
mod client;
mod closes;
mod crowd;
mod errors;
mod focus;
mod handshake;
mod server;
mod turns;
mod upgrade;
mod warm;
