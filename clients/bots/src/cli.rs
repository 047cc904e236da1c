//! The command line.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::bare::{self, BareArgs};
use crate::report::Report;
use crate::scenario::{chat, flood, idle, push, slow, storm, tavern};

/// A promise of the protocol broke.
const BROKEN: u8 = 1;
/// The run could not be carried out, so that nothing is known of the gateway.
const NOT_RUN: u8 = 3;

const EXIT_CODES: &str = "\
Exit codes:
  0  the run came to its end, and every promise of the protocol was kept
  1  at least one promise broke; the report names the first 20
  2  an argument is wrong (it is named), and nothing was run
  3  the run could not be carried out: nobody listens there, or this machine does not have what it takes";

/// Crowds of players that load a gateway and check every promise of its wire protocol.
///
/// Each scenario ends with a report on standard output: what was counted, percentiles of every time in milliseconds,
/// and the promises that broke.
#[derive(Debug, Parser)]
#[command(name = "npc-bots", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Players walk up to an NPC of their own, talk, and leave.
    Chat(chat::ChatArgs),
    /// Players and NPCs in one room: others hear what is said.
    Tavern(tavern::TavernArgs),
    /// Players who open a session and stay, with nothing but heartbeats.
    Idle(idle::IdleArgs),
    /// All players lose the network at once, in the middle of an answer, and come back.
    Storm(storm::StormArgs),
    /// Players who do not read what they are told, and others beside them who do.
    Slow(slow::SlowArgs),
    /// Players who send as much as they can, and others beside them who must not suffer.
    Flood(flood::FloodArgs),
    /// Frames a second of a gateway, beside a bare server that pushes the same frames.
    Push(push::PushArgs),
    /// That bare server.
    #[command(hide = true)]
    Bare(BareArgs),
}

/// Runs the scenario that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(NOT_RUN);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(report) => {
            println!("{}", report.table());
            if report.broken() == 0 { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Runs a scenario to its end; writes the JSON if that is wanted.
///
/// # Errors
/// It could not begin, or nothing could be measured. Broken promises are no errors: they stand in the report.
pub async fn run(cli: Cli) -> anyhow::Result<Arc<Report>> {
    let (report, json) = match &cli.scenario {
        Scenario::Chat(args) => (chat::run(args).await?, &args.common.json),
        Scenario::Tavern(args) => (tavern::run(args).await?, &args.common.json),
        Scenario::Idle(args) => (idle::run(args).await?, &args.common.json),
        Scenario::Storm(args) => (storm::run(args).await?, &args.common.json),
        Scenario::Slow(args) => (slow::run(args).await?, &args.common.json),
        Scenario::Flood(args) => (flood::run(args).await?, &args.common.json),
        Scenario::Push(args) => (push::run(args).await?, &args.json),
        Scenario::Bare(_) => (Arc::default(), &None),
    };
    if let Scenario::Bare(args) = cli.scenario {
        bare::run(args).await?;
        return Ok(report);
    }
    save(&report, json.as_deref())?;
    Ok(report)
}

fn save(report: &Report, file: Option<&Path>) -> anyhow::Result<()> {
    file.map_or(Ok(()), |file| report.save(file))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
