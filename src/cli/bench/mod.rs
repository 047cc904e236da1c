//! `bench`: what this machine does, measured. The planner and the README read its JSON.

mod adapters;
mod engine;
mod report;
mod stats;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::serve::ServeArgs;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Loads the engine in this process and measures it directly.
    Engine(EngineArgs),
    /// Measures over the socket (not in this version).
    #[command(hide = true)]
    Socket(super::Later),
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// Conversations at the same time, one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,32", value_parser = clap::value_parser!(u16).range(1..=256))]
    rows: Vec<u16>,
    /// Which adapters the requests name.
    #[arg(long, value_delimiter = ',', default_value = "none,one,different")]
    adapters: Vec<Workload>,
    /// Tokens of every prompt.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    prompt_tokens: u32,
    /// Tokens of every answer.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=4096))]
    tokens: u32,
    /// Requests that each conversation sends, one after another.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    requests: u32,
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Writes the figures here too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    settings: ServeArgs,
}

/// Which adapters the requests name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Workload {
    /// None.
    None,
    /// The same one.
    One,
    /// Every request its own mix of four of 35.
    Different,
}

pub(super) fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        What::Engine(args) => engine::run(&args),
        What::Socket(_) => Err(super::Usage::later("bench socket")),
    }
}
