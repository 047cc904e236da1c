//! The command line as scripts meet it: exit codes, messages, and the line that says the server is ready.

mod adapters;
mod background;
mod logs;
mod measures;
mod npcs;
mod refusals;
mod serving;
mod support;
