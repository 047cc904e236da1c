//! The command line.
//!
//! Results go to standard output, logs and progress to standard error. Exit codes: 0 done, 1 failed, 2 asked
//! for something that does not exist or cannot be.

mod adapters;
mod background;
mod bench;
mod chat;
mod clean;
mod import;
mod link;
mod logging;
mod migrate;
mod otel;
mod plan;
mod promote;
mod pull;
mod replay;
mod serve;
mod signal;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{ConfigError, Log};

/// A WebSocket gateway that gives game characters a voice.
#[derive(Debug, Parser)]
#[command(name = "npc-gateway", version, max_term_width = 100)]
struct Cli {
    /// Without one: `serve`.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves game clients; fetches the runtime and the default model first if they are missing.
    Serve(serve::ServeArgs),
    /// Talks to an NPC from the terminal.
    Chat(chat::ChatArgs),
    /// Fetches ONNX Runtime and the default model into the cache.
    Pull(pull::PullArgs),
    /// Makes a model folder of a checkpoint (a GGUF file or a safetensors folder).
    Import(import::ImportArgs),
    /// Lists, checks, trains and measures the adapters of the packs, and says which version a server uses.
    Adapters(adapters::AdaptersArgs),
    /// Runs another command as the server's child: at the lowest priority, until standard input ends.
    #[command(hide = true)]
    Background(background::BackgroundArgs),
    /// Measures the engine, or the whole gateway, on this machine.
    Bench(bench::BenchArgs),
    /// Plans servers and cost.
    Plan(plan::PlanArgs),
    /// Brings the databases up to date, while no server runs on them; serve does so by itself.
    Migrate(migrate::MigrateArgs),
    /// Writes an NPC and all that happened with it to a file, also while a server runs.
    Export(store::ExportArgs),
    /// Reads an NPC from a file that `export` wrote. No server may run on the same data meanwhile.
    Restore(store::RestoreArgs),
    /// Plays the log of a session (setting session.record) again, and compares what comes.
    Replay(replay::ReplayArgs),
}

/// The user asked for something that cannot be: exit code 2 instead of 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let usage = error.is::<Usage>() || error.is::<ConfigError>();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn run(command: Option<Command>) -> anyhow::Result<()> {
    match command.unwrap_or_else(|| Command::Serve(serve::ServeArgs::default())) {
        Command::Serve(args) => serve::run(args),
        Command::Chat(args) => runtime()?.block_on(chat::run(args)),
        Command::Pull(args) => tool(|| pull::run(&args)),
        Command::Import(args) => tool(|| import::run(&args)),
        Command::Adapters(args) => adapters::run(&args),
        Command::Background(args) => background::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Plan(args) => plan::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Export(args) => store::export(&args),
        Command::Restore(args) => store::restore(&args),
        Command::Replay(args) => replay::run(&args),
    }
}

/// Runs a command that has no settings: its logs are for people.
fn tool(run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    logging::start(&Log::plain("info"))?;
    run()
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_plan_that_cannot_be_is_the_callers_fault() {
        let cli = Cli::try_parse_from(["npc-gateway", "plan", "--npcs", "5", "--market", "black"]).unwrap();
        let error = run(cli.command).unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }
}
