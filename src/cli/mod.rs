//! The command line.

pub mod chat;
