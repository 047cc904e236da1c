//! Chores of the workspace, one command each: `cargo xtask test`, `cargo xtask lint`, `cargo xtask
//! measure`, `cargo xtask bench-peers`, `cargo xtask bench-history`, `cargo xtask soak`, `cargo xtask cut`, `cargo xtask llama`, `cargo xtask fuzz`, `cargo xtask hostile`.

mod clients;
mod cut;
mod fuzz;
mod history;
mod hostile;
mod lint;
mod llama;
mod measure;
mod peers;
mod server;
mod soak;
mod stores;
mod test;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the npc-gateway workspace")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Fetches what the tests need, then runs them all.
    Test(test::TestArgs),
    /// Format, clippy, unused dependencies, licences and sources.
    Lint(lint::LintArgs),
    /// Times the start and weighs sixteen conversations, on a release build.
    Measure(measure::MeasureArgs),
    /// Measures llama.cpp's server and the gateway one after the other, on the same workloads.
    BenchPeers(peers::PeersArgs),
    /// Measures interactions through all tiers, without an archive and with a Postgres of its own.
    BenchHistory(history::HistoryArgs),
    /// Fuzzes what reads bytes of strangers, guided by coverage.
    Fuzz(fuzz::FuzzArgs),
    /// Sends a live server millions of frames that no honest client sends.
    Hostile(hostile::HostileArgs),
    /// Offers the gateway twice what it can answer for minutes, and accounts for every line and its memory.
    Soak(soak::SoakArgs),
    /// Proves a real llama.cpp server as a model elsewhere: the tests that need one.
    Llama(llama::LlamaArgs),
    /// Has clients do many turns through a proxy that cuts their connections at random bytes.
    Cut(cut::CutArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::Test(args) => test::run(&args),
        Chore::Lint(args) => lint::run(&args),
        Chore::Measure(args) => measure::run(&args),
        Chore::BenchPeers(args) => peers::run(&args),
        Chore::BenchHistory(args) => history::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Hostile(args) => hostile::run(&args),
        Chore::Soak(args) => soak::run(&args),
        Chore::Llama(args) => llama::run(&args),
        Chore::Cut(args) => cut::run(&args),
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// The cargo that runs this program.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a step, showing the command before and its time after.
fn step(command: &mut Command) -> anyhow::Result<()> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_owned();
    let words: Vec<_> =
        std::iter::once(program.as_os_str()).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    let words = words.join(" ");
    eprintln!("==> {words}");
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot run `{words}`"))?;
    if !status.success() {
        bail!("`{words}` failed: {status}");
    }
    eprintln!("==> {words}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
