//! Crowds of players that load a gateway and check every promise of its wire protocol.
//!
//! Nothing here comes from the server: frames are written from the protocol's page alone.

mod bare;
mod book;
mod bot;
mod cli;
mod fault;
mod limits;
mod link;
mod report;
mod scenario;
mod target;
mod wire;

pub use cli::{Cli, main, run};
pub use report::Report;
