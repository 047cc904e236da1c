//! One socket's life: the handshake, the frames of a client, the turns that answer them, and the end.
//!
//! - [`Gateway`] is what all sockets share.
//! - `socket` runs one WebSocket: a reader, a writer with a bounded queue ([`outbox`]), the timeouts, the
//!   close handshake. It logs every socket's end, once.
//! - `connection` takes frames: before `ready` only the handshake, after it `handle`.
//! - [`state::Session`] is what outlives a socket in principle: `s` is given there and nowhere else.
//! - `auth` tells who a token stands for, `renew` takes a new one, `rate` counts what a player sends.
//! - `relay` carries the events of one turn to every session that hears it.

mod auth;
mod connection;
mod gateway;
mod handle;
mod outbox;
mod rate;
mod registry;
mod relay;
mod renew;
mod socket;
mod state;

pub use auth::{Authenticator, KeyError};
pub use gateway::Gateway;
pub use socket::run;
