//! WebSocket by hand, over plain TCP and with blocking sockets.
//!
//! Nothing here knows the server's code or a WebSocket library, and every rule of RFC 6455 can be broken with it:
//! that is what it is for. [`Peer`] is one connection, [`Frame`] one frame; [`attack`] is a crowd of clients that
//! mean ill, and [`honest`] one that does not.

pub mod attack;
pub mod encoding;
pub mod frame;
pub mod honest;
pub mod http;
pub mod peer;
pub mod rng;

pub use encoding::Encoding;
pub use frame::{Frame, Opcode};
pub use peer::{Chop, Peer};
pub use rng::Rng;
