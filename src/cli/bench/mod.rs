//! `bench`: what this machine does, measured. The planner and the README read its JSON.

mod adapters;
mod ask;
mod conversation;
mod engine;
mod figures;
mod history;
mod host;
mod journal;
mod load;
mod loading;
mod memory;
mod plan;
mod recall;
mod registered;
mod report;
mod socket;
mod stats;
mod steps;
mod swap;
mod switching;
mod talker;
mod traces;
mod training;
mod turn;
mod words;

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
    /// Measures over the WebSocket: starts a gateway of its own in this process, or takes one that runs.
    Socket(SocketArgs),
    /// Stores turns as they end, and measures what the disk takes.
    Journal(journal::JournalArgs),
    /// Stores interactions as they end, and measures how many a second arrive in the archive.
    History(history::HistoryArgs),
    /// Lets NPCs remember a million interactions, and measures how long that takes for a line.
    Recall(recall::RecallArgs),
    /// Offers loads to a gateway of its own, and compares what is seen with what the planner predicts.
    Plan(plan::PlanArgs),
    /// Offers lines to a gateway that runs, and accounts for every one: what `cargo xtask soak` is made of.
    #[command(hide = true)]
    Load(load::LoadArgs),
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// What is measured.
    #[arg(long, value_delimiter = ',', default_value = "rows")]
    what: Vec<Part>,
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

#[derive(Debug, Args)]
struct SocketArgs {
    /// A gateway that runs, as ws://HOST:PORT/ws. Without it: one of its own, which the settings below are for
    /// (but server.listen, server.data, auth.mode and packs.path, which are its own).
    #[arg(long)]
    url: Option<String>,
    /// Clients at the same time, one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,32", value_parser = clap::value_parser!(u16).range(1..=256))]
    rows: Vec<u16>,
    /// Which adapters the lines name. Of a gateway that runs elsewhere those of its own packs.
    #[arg(long, value_delimiter = ',', default_value = "none,one,different")]
    adapters: Vec<Workload>,
    /// Tokens of every prompt, nearly.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    prompt_tokens: u32,
    /// Tokens of every answer.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=4096))]
    tokens: u32,
    /// Lines that each client sends, one after another, each to an NPC that is new.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    requests: u32,
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Lets turns tell what `turn.tracks` says besides their lines; without it lines are measured alone.
    #[arg(long)]
    tracks: bool,
    /// Also measures one conversation of so many lines, with the packs of the settings.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(2..=1000))]
    conversation: Option<u32>,
    /// Writes the figures here too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    settings: ServeArgs,
}

/// What `bench engine` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// A closed loop of conversations, for each number of rows and each kind of adapters.
    Rows,
    /// The five tasks of a turn together, against its line alone.
    Turn,
    /// Rows whose mixes change with every request, against rows whose mixes stay.
    Switching,
    /// Streams while adapters are read from disk, against streams alone.
    Loading,
    /// Streams while versions of adapters are promoted, against streams alone.
    Swap,
    /// Streams beside a trainer, as the server runs it, against streams alone.
    Training,
    /// A thousand adapters in the memory of some 270, named by Zipf's law.
    Registered,
    /// Single steps of the decoder, by what they compute: what `plan` simulates servers with.
    Steps,
    /// Memory that the process takes, against what the planner says.
    Memory,
    /// Streams with logs and spans as the settings say, against streams with them off.
    Tracing,
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
        What::Socket(args) => socket::run(&args),
        What::Journal(args) => journal::run(&args),
        What::History(args) => history::run(&args),
        What::Recall(args) => recall::run(&args),
        What::Plan(args) => plan::run(&args),
        What::Load(args) => load::run(&args),
    }
}

/// Every number of rows with every kind of adapters.
fn cases(rows: &[u16], adapters: &[Workload]) -> Vec<(usize, Workload)> {
    rows.iter().flat_map(|rows| adapters.iter().map(|workload| (usize::from(*rows), *workload))).collect()
}
