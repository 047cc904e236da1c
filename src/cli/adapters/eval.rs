//! `adapters eval`: how good the adapters of packs are.

use std::path::{Path, PathBuf};

use clap::Args;
use npc_onnx::Precision;
use npc_trainer::{Base, Device};

use super::super::{Usage, logging, runtime};
use super::{default_model, env_vars};
use crate::archetype::Packs;
use crate::config::{Config, Log, LogFormat};
use crate::engine::{Engine, Tokenizer};
use crate::pull::{Cache, PullOptions, Reporter, ensure, model_folder};
use crate::training::{Evaluator, page};

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// Where the page is written [default: EVAL.md in the folder of packs].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Parts of the lines for cross-validating what is chosen, each answered by an adapter that is trained on the others;
    /// 0: not. It takes as long as training those adapters so many times.
    #[arg(long, default_value_t = 5)]
    folds: u64,
    /// The model folder or checkpoint [default: setting model.path, else the default model].
    #[arg(long)]
    model: Option<PathBuf>,
}

pub(super) fn run(args: &EvalArgs, packs: Option<&Path>) -> anyhow::Result<()> {
    logging::start(&Log { level: "warn".into(), format: LogFormat::Pretty })?;
    let folder = packs.unwrap_or(Path::new("adapters"));
    let all = Packs::load(Some(folder)).map_err(|error| Usage(error.to_string()))?;
    if all.iter().all(|pack| pack.adapters().is_empty()) {
        let path = folder.display();
        return Err(Usage(format!("{path}: no pack has an adapter; `adapters train` makes them")).into());
    }
    let (cache, report) = (Cache::from_env()?, Reporter::new());
    let source = default_model(args.model.as_deref(), &cache, report)?;
    let model = model_folder(&cache, &source, Precision::Int8, report)?;
    let library = ensure(&cache, &PullOptions::from_env(false), report)?.runtime_lib;
    let config = Config::load(None, env_vars(), &[])?;
    let base = Base::load(&model, &Device::Cpu)?;
    let tokenizer = Tokenizer::load(&model, base.config())?;
    let engine = Engine::start(&model, &library, &config.engine)?;
    let evaluator = Evaluator {
        base: &base,
        tokenizer: &tokenizer,
        folder,
        packs: &all,
        engine: &engine,
        folds: args.folds,
    };
    let evaluation = runtime()?.block_on(evaluator.run(&|what| eprintln!("==> {what}")))?;
    engine.stop();
    let out = args.out.clone().unwrap_or_else(|| folder.join("EVAL.md"));
    let text = page(&evaluation, &format!("npc-gateway adapters eval --folds {}", args.folds));
    std::fs::write(&out, &text)?;
    println!("{text}");
    Ok(())
}
