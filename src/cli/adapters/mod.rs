//! `adapters`: what adapters the packs have, whether a PEFT folder fits the model, training and measuring.

mod eval;
mod train;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use npc_onnx::{ModelFile, Precision};

use crate::archetype::Packs;
use crate::config::Config;
use crate::engine::Adapter;
use crate::pull::{Cache, PullOptions, Reporter, ensure, model_folder};

#[derive(Debug, Args)]
pub(super) struct AdaptersArgs {
    #[command(subcommand)]
    command: Command,
    /// The folder of packs [default: `adapters`, or the built-in packs if there is no such folder].
    #[arg(long, global = true)]
    packs: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the adapters of the packs, one a line.
    List,
    /// Checks that a PEFT adapter can be loaded on the model.
    Check {
        /// The folder with adapter_config.json and adapter_model.safetensors.
        dir: PathBuf,
        /// The model to check against [default: setting model.path, else the default model].
        #[arg(long)]
        model: Option<PathBuf>,
    },
    /// Trains adapters on the lines of packs.
    Train(train::TrainArgs),
    /// Measures the adapters of packs on lines that they were not trained on, and writes a page about it.
    Eval(eval::EvalArgs),
    /// Makes a version of an adapter the one that a running server uses; turns that run end with theirs.
    Promote(super::promote::PromoteArgs),
    /// Ends the trial of a version on a running server, or goes back to the version before.
    Rollback(super::promote::RollbackArgs),
}

pub(super) fn run(args: &AdaptersArgs) -> anyhow::Result<()> {
    let packs = args.packs.as_deref();
    if matches!(args.command, Command::Train(_) | Command::Eval(_)) {
        spare_threads();
    }
    match &args.command {
        Command::List => list(packs),
        Command::Check { dir, model } => super::tool(|| check(dir, model.as_deref())),
        Command::Train(args) => train::run(args, packs),
        Command::Eval(args) => eval::run(args, packs),
        Command::Promote(args) => super::runtime()?.block_on(super::promote::promote(args)),
        Command::Rollback(args) => super::runtime()?.block_on(super::promote::rollback(args)),
    }
}

/// Has candle compute what is no product of matrices on the thread that asks for it. Its helpers wait for each other by
/// spinning, which takes more than it gives where other work runs beside: half the speed was seen on two busy cores.
fn spare_threads() {
    const NAME: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: the command line is all that has run so far, and it starts no thread. `background` does, and whoever calls
        // that sets the variable for it.
        unsafe { std::env::set_var(NAME, "1") };
    }
}

fn list(packs: Option<&Path>) -> anyhow::Result<()> {
    let default = Path::new(super::serve::PACKS);
    let packs = Packs::load(packs.or_else(|| default.is_dir().then_some(default)))?;
    for pack in packs.iter() {
        if pack.versions.is_empty() {
            println!("{:<12} no adapters: runs on the base model alone", pack.name);
        }
        for adapter in pack.versions.values().flat_map(BTreeMap::values) {
            println!("{:<12} {:<32} {:<4} {}", pack.name, adapter.id, adapter.version, adapter.dir.display());
        }
    }
    Ok(())
}

fn check(dir: &Path, model: Option<&Path>) -> anyhow::Result<()> {
    let (cache, report) = (Cache::from_env()?, Reporter::new());
    let source = default_model(model, &cache, report)?;
    let model = ModelFile::read(&model_folder(&cache, &source, Precision::Int8, report)?)?;
    let adapter = Adapter::load("check", dir, &model.graph, model.model.layers)?;
    println!(
        "fits {}: rank {}, {}, {:.1} MiB in memory",
        model.name,
        adapter.info.rank,
        adapter.info.targets.join(" "),
        adapter.info.bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// The model that was named, else that of the settings, else the default model, fetched if need be.
fn default_model(named: Option<&Path>, cache: &Cache, report: Reporter) -> anyhow::Result<PathBuf> {
    let config = Config::load(None, env_vars(), &[])?;
    Ok(match named {
        Some(model) => model.to_owned(),
        None if !config.model.path.as_os_str().is_empty() => config.model.path,
        None => ensure(cache, &PullOptions::from_env(false), report)?.model_gguf,
    })
}

/// The environment's variables that are text; a setting can be no other.
pub(super) fn env_vars() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
