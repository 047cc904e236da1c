//! `background`: another command, run as the server's own child process.

use std::ffi::OsString;

use anyhow::Context;
use clap::{Args, Parser};

use super::Cli;
use crate::provision;

#[derive(Debug, Args)]
pub(super) struct BackgroundArgs {
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// Runs it at the lowest priority, until this process's standard input ends, as it does when the server has ended.
pub(super) fn run(args: BackgroundArgs) -> anyhow::Result<()> {
    provision::settle().context("beside a server")?;
    let words = std::iter::once("npc-gateway".into()).chain(args.words);
    // A wrong command line ends the process with 2, as every other does.
    super::run(Cli::parse_from::<_, OsString>(words).command)
}
