//! `background`: another command, run as the server's own child process.

use std::ffi::OsString;

use anyhow::Context;
use clap::{Args, Parser};

use super::Cli;
use crate::provision;

#[derive(Debug, Args)]
pub(super) struct BackgroundArgs {
    /// MiB of memory that it may take [default: any].
    #[arg(long)]
    max_memory_mb: Option<u64>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// Runs it at the lowest priority, until this process's standard input ends, as it does when the server has ended.
pub(super) fn run(args: BackgroundArgs) -> anyhow::Result<()> {
    provision::settle(args.max_memory_mb.map(|mb| mb.saturating_mul(1 << 20))).context("beside a server")?;
    let words = std::iter::once("npc-gateway".into()).chain(args.words);
    // A wrong command line ends the process with 2, as every other does.
    super::run(Cli::parse_from::<_, OsString>(words).command)
}
