//! `adapters eval`: how good the adapters of packs are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use npc_onnx::Precision;
use npc_trainer::Base;

use super::super::{Usage, logging, runtime};
use super::train::{On, device};
use super::{default_model, env_vars};
use crate::archetype::{Pack, Packs, Task};
use crate::config::{Config, Log};
use crate::engine::{Engine, Tokenizer};
use crate::pull::{Cache, PullOptions, Reporter, ensure, model_folder};
use crate::training::{Evaluator, Folds, Part, Plan, TrainingError, each, lora_config, page};

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// Where the page is written [default: EVAL.md in the folder of packs].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "spoken,mixes,chosen")]
    what: Vec<What>,
    /// Parts of the lines for cross-validating what is chosen, each answered by an adapter that is trained on the others;
    /// 2 to 20; 0: not. It takes as long as training those adapters so many times.
    #[arg(long, default_value_t = 5, value_parser = parts)]
    folds: u64,
    /// Where the adapters of the parts are kept: an evaluation that was interrupted goes on, and `adapters train --folds` may have
    /// made them elsewhere [default: nowhere].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Tasks whose parts are trained at once; those of one task share what they compute, and go one after another.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// What the adapters of parts are trained on.
    #[arg(long, value_enum, default_value_t = On::Auto)]
    device: On,
    /// The model folder or checkpoint [default: setting model.path, else the default model].
    #[arg(long)]
    model: Option<PathBuf>,
}

fn parts(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count @ (0 | 2..=20)) => Ok(count),
        _ => Err("must be 0 or 2 to 20".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Perplexities of what is spoken, under every adapter.
    Spoken,
    /// Dialogue under the packs' default mixes.
    Mixes,
    /// How often what is chosen is right.
    Chosen,
}

pub(super) fn run(args: &EvalArgs, packs: Option<&Path>) -> anyhow::Result<()> {
    logging::start(&Log::plain("warn"))?;
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
    let base = Base::load(&model, &device(args.device)?)?;
    let tokenizer = Tokenizer::load(&model, base.config())?;
    let temporary = tempfile::tempdir()?;
    let folds = Folds { count: args.folds, folder: args.work.as_deref().unwrap_or(temporary.path()) };
    let folds = (args.folds > 1 && args.what.contains(&What::Chosen)).then_some(folds);
    if let Some(folds) = &folds {
        train_parts(folds, folder, &all, &tokenizer, &base, args.jobs.into())?;
    }
    let engine = Engine::start(&model, &library, &config.engine)?;
    let evaluator =
        Evaluator { base: &base, tokenizer: &tokenizer, folder, packs: &all, engine: &engine, folds };
    let part = |what: &What| match what {
        What::Spoken => Part::Spoken,
        What::Mixes => Part::Mixes,
        What::Chosen => Part::Chosen,
    };
    let parts: Vec<Part> = args.what.iter().map(part).collect();
    let evaluation = runtime()?.block_on(evaluator.run(&parts, &|what| eprintln!("==> {what}")))?;
    engine.stop();
    let out = args.out.clone().unwrap_or_else(|| folder.join("EVAL.md"));
    let text = page(&evaluation, &command(args));
    std::fs::write(&out, &text)?;
    println!("{text}");
    Ok(())
}

/// The command that was called, as far as it changes the page.
fn command(args: &EvalArgs) -> String {
    let mut command = "npc-gateway adapters eval".to_owned();
    let all = What::value_variants();
    let wanted: Vec<&What> = all.iter().filter(|what| args.what.contains(what)).collect();
    if wanted.len() < all.len() {
        let names: Vec<_> = wanted.iter().filter_map(|what| what.to_possible_value()).collect();
        let names: Vec<&str> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
        command = format!("{command} --what {}", names.join(","));
    }
    if args.what.contains(&What::Chosen) {
        command = format!("{command} --folds {}", args.folds);
    }
    command
}

/// The adapters of the parts that are not there yet.
fn train_parts(
    folds: &Folds<'_>,
    folder: &Path,
    packs: &Packs,
    tokenizer: &Tokenizer,
    base: &Base,
    jobs: usize,
) -> anyhow::Result<()> {
    let mut wanted = Vec::new();
    for pack in packs.iter() {
        for task in pack.adapters().into_keys().filter(|task| !Task::SPOKEN.contains(task)) {
            wanted.push((pack, task));
        }
    }
    let bar = indicatif::ProgressBar::new(wanted.len() as u64 * folds.count).with_style(
        // A constant, seen to be right.
        indicatif::ProgressStyle::with_template("{msg:32!} [{bar:30}] {pos:>4}/{len:4} {eta:>4}")
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    );
    bar.set_message("cross-validation");
    let work = |(pack, task): &(&Arc<Pack>, Task)| {
        let (lora, packs, task) = (lora_config(base, *task), folder, *task);
        let plan =
            Plan { base, tokenizer, packs, pack, task, lora, epochs: None, learning_rate: None, seed: 1 };
        folds.train(&plan, &mut |_| true, &|_| bar.inc(1))
    };
    each::<_, TrainingError>(&wanted, jobs, &work)?;
    bar.finish_and_clear();
    Ok(())
}
