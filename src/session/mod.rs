//! Sockets and sessions: the handshake, the frames of a client, the turns that answer them, and the end.
//!
//! - [`Gateway`] is what all sockets share.
//! - `socket` runs one WebSocket: a reader, a writer with a bounded queue ([`outbox`]), the timeouts, the
//!   close handshake. It logs every socket's end, once.
//! - `connection` takes frames: before `ready` or `resumed` only the handshake, after it `handle`.
//! - `auth` tells who a token stands for, `renew` takes a new one, `rate` counts what a player sends.
//! - [`state::Session`] is what outlives a socket: it numbers frames (`s`), and keeps them ([`replay`]) for a client
//!   that comes back with one of its tokens ([`keys`]).
//! - `lifecycle` is how sessions begin, lose their socket, come back, and end; `ended` remembers those whose client
//!   did not come back.
//! - `erase` takes a player out of everything.
//! - [`Offline`] is a connection without a socket, for tests and fuzzers.
//! - `world` takes what happens to NPCs besides lines.
//! - `relay` carries the events of one turn to every session that hears it.

mod auth;
mod connection;
mod ended;
mod erase;
mod gateway;
mod handle;
mod keys;
mod lifecycle;
mod offline;
mod outbox;
mod rate;
mod record;
mod registry;
mod relay;
mod renew;
mod replay;
mod socket;
mod state;
mod told;
mod world;

pub use self::record::{From, Logged};
pub use auth::{Authenticator, KeyError};
pub use gateway::Gateway;
pub use offline::Offline;
pub use socket::run;
pub use told::SessionTold;
