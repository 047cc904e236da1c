//! One socket's life: the handshake, the frames of a client, the turns that answer them, and the end.
//!
//! - [`Gateway`] is what all sockets share.
//! - `socket` runs one WebSocket: a reader, a writer with a bounded queue ([`outbox`]), the timeouts, the
//!   close handshake. It logs every socket's end, once.
//! - `connection` takes frames: before `ready` only the handshake, after it `handle`.
//! - [`state::Session`] is what outlives a socket in principle: `s` is given there and nowhere else.
//! - [`Offline`] is a connection without a socket, for tests and fuzzers.
//! - `relay` carries the events of one turn to every session that hears it.

mod auth;
mod connection;
mod gateway;
mod handle;
mod offline;
mod outbox;
mod registry;
mod relay;
mod socket;
mod state;

pub use gateway::Gateway;
pub use offline::Offline;
pub use socket::run;
