//! `adapters train`: the adapters of packs, from their lines.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use clap::{Args, ValueEnum};
use npc_onnx::Precision;
use npc_trainer::{Base, Device, TrainError};
use serde_json::json;

use super::super::{Usage, tool};
use super::default_model;
use crate::archetype::{Pack, Packs, Task, read_pack};
use crate::engine::Tokenizer;
use crate::pull::{Cache, Reporter, model_folder};
use crate::training::{Folds, Lines, Plan, Trained, TrainingError, each, lora_config, train};

/// The highest version of an adapter.
const MAX_VERSION: u32 = 999_999;

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The archetype; several may be named [default: all that have lines].
    #[arg(long)]
    archetype: Vec<String>,
    /// The task; several may be named [default: those that there are lines for].
    #[arg(long)]
    task: Vec<Task>,
    /// Where the adapters are written, as DIR/TASK [default: the next version in the pack's own folder].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Times that each line is learned from, at most [default: 3 for what is spoken, 5 for what is chosen].
    #[arg(long, conflicts_with = "folds")]
    epochs: Option<usize>,
    /// The highest learning rate [default: 0.001 for what is spoken, 0.002 for what is chosen].
    #[arg(long, conflicts_with = "folds")]
    learning_rate: Option<f64>,
    /// For a cross-validation by `adapters eval --folds N --work OUT`: instead of the adapters themselves those of N parts of the
    /// lines, each trained on the others. Only of tasks that choose. What is there already is left.
    #[arg(long, value_name = "N", requires = "out", conflicts_with = "resume", value_parser = clap::value_parser!(u64).range(2..=20))]
    folds: Option<u64>,
    /// Adapters that are trained at once; with --folds, tasks: the parts of one go one after another.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// The inner dimension of the adapters.
    #[arg(long, default_value_t = 8, conflicts_with = "folds")]
    rank: usize,
    /// Layers that are adapted, from the top [default: a third for what is spoken, a fifth for what is chosen].
    #[arg(long, conflicts_with = "folds")]
    layers: Option<usize>,
    /// What is drawn comes from it alone.
    #[arg(long, default_value_t = 1, conflicts_with = "folds")]
    seed: u64,
    /// Goes on with what was begun, and leaves what is finished. With --out only.
    #[arg(long, requires = "out")]
    resume: bool,
    /// What it is trained on; auto: an NVIDIA GPU, where this program was built for one.
    #[arg(long, value_enum, default_value_t = On::Auto)]
    device: On,
    /// How progress is shown; json: an object a line on standard output.
    #[arg(long, value_enum, default_value_t = Shown::Bar, conflicts_with = "folds")]
    progress: Shown,
    /// The model folder or checkpoint to train on [default: setting model.path, else the default model].
    #[arg(long)]
    model: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum On {
    Auto,
    Cpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    Bar,
    Json,
}

pub(super) fn run(args: &TrainArgs, packs: Option<&Path>) -> anyhow::Result<()> {
    tool(|| {
        let folder = packs.unwrap_or(Path::new("adapters"));
        let chosen = chosen(args, folder)?;
        let wanted = wanted(args, folder, &chosen)?;
        let (cache, report) = (Cache::from_env()?, Reporter::new());
        let source = default_model(args.model.as_deref(), &cache, report)?;
        let model = model_folder(&cache, &source, Precision::Int8, report)?;
        let base = &Base::load(&model, &device(args.device)?)?;
        let tokenizer = Tokenizer::load(&model, base.config())?;
        let bars = Bars { bars: indicatif::MultiProgress::new(), failed: AtomicBool::new(false) };
        let work = |(pack, task): &Wanted<'_>| {
            let mut lora = lora_config(base, *task);
            (lora.rank, lora.alpha) = (args.rank, 2.0 * args.rank as f64);
            if let Some(layers) = args.layers {
                lora.first_layer = base.config().layers.saturating_sub(layers);
            }
            let (tokenizer, packs, task) = (&tokenizer, folder, *task);
            let (epochs, learning_rate, seed) = (args.epochs, args.learning_rate, args.seed);
            let plan = Plan { base, tokenizer, packs, pack, task, lora, epochs, learning_rate, seed };
            match (args.folds, &args.out) {
                (Some(count), Some(folder)) => {
                    let done =
                        |fold| bars.say(&format!("{}.{task}: part {} of {count}", pack.name, fold + 1));
                    Ok(Folds { count, folder }.train(&plan, &mut |_| bars.go_on(), &done)?)
                }
                _ => one(&plan, args, &bars),
            }
        };
        let work =
            |wanted: &Wanted<'_>| work(wanted).inspect_err(|_| bars.failed.store(true, Ordering::Relaxed));
        each(&wanted, args.jobs.into(), &work).map_err(|Failed(error)| {
            match error.downcast::<TrainingError>() {
                Ok(error) if error.is_bad_input() => Usage(error.to_string()).into(),
                Ok(error) => error.into(),
                Err(error) => error,
            }
        })
    })
}

/// What is trained; in a cross-validation all of its parts.
type Wanted<'a> = (&'a Pack, Task);

/// All that is to be trained, each once. Its lines are good.
fn wanted<'a>(args: &TrainArgs, folder: &Path, chosen: &'a [Pack]) -> anyhow::Result<Vec<Wanted<'a>>> {
    let mut wanted = Vec::new();
    for pack in chosen {
        for task in tasks(args, folder, pack)? {
            if args.folds.is_some() && Task::SPOKEN.contains(&task) {
                continue;
            }
            // Before hours are spent on others.
            Lines::read(folder, pack, task).map_err(|error| Usage(error.to_string()))?;
            wanted.push((pack, task));
        }
    }
    if wanted.is_empty() {
        return Err(Usage("--folds: none of these tasks is one that chooses".into()).into());
    }
    Ok(wanted)
}

/// The bars of the trainings that run.
struct Bars {
    bars: indicatif::MultiProgress,
    /// One of them has failed; the others end.
    failed: AtomicBool,
}

impl Bars {
    fn go_on(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    fn say(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }
}

/// What ended a training.
struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The packs that were named, whatever is wrong with others, or those that have lines.
fn chosen(args: &TrainArgs, folder: &Path) -> anyhow::Result<Vec<Pack>> {
    let found = if args.archetype.is_empty() {
        let packs = Packs::load(Some(folder)).map_err(|error| Usage(error.to_string()))?;
        let with_lines = packs.iter().filter(|pack| folder.join(&pack.name).join("lines").is_dir());
        with_lines.map(|pack| Pack::clone(pack)).collect::<Vec<_>>()
    } else {
        let read = |name: &String| match read_pack(folder, name) {
            Ok(Some(pack)) => Ok(pack),
            Ok(None) => Err(Usage(format!("--archetype: there is no pack {name:?} in {}", folder.display()))),
            Err(error) => Err(Usage(error.to_string())),
        };
        let names: BTreeSet<&String> = args.archetype.iter().collect();
        names.into_iter().map(read).collect::<Result<Vec<_>, _>>()?
    };
    if found.is_empty() {
        let path = folder.display();
        return Err(Usage(format!("{path}: no pack has a folder `lines` to learn from")).into());
    }
    if found.len() > 1 && args.out.is_some() && args.folds.is_none() {
        return Err(Usage("--out: name one --archetype, whose adapters it will hold".into()).into());
    }
    Ok(found)
}

/// The tasks that were named, or those that the pack has lines for.
fn tasks(args: &TrainArgs, folder: &Path, pack: &Pack) -> anyhow::Result<Vec<Task>> {
    if !args.task.is_empty() {
        let tasks: BTreeSet<Task> = args.task.iter().copied().collect();
        return Ok(tasks.into_iter().collect());
    }
    let has_lines = |task: &Task| Lines::path(folder, &pack.name, *task).is_file();
    let tasks: Vec<Task> = Task::ALL.into_iter().filter(has_lines).collect();
    if tasks.is_empty() {
        let path = folder.join(&pack.name).join("lines");
        return Err(Usage(format!("{}: there is no TASK.jsonl to learn from", path.display())).into());
    }
    Ok(tasks)
}

fn one(plan: &Plan<'_>, args: &TrainArgs, bars: &Bars) -> Result<(), Failed> {
    let (name, task) = (&plan.pack.name, plan.task);
    let what = format!("{name}.{task}");
    let bar = bars.bars.add(indicatif::ProgressBar::new(0)).with_style(
        // A constant, seen to be right.
        indicatif::ProgressStyle::with_template("{msg:32!} [{bar:30}] {pos:>4}/{len:4} {prefix} {eta:>4}")
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()),
    );
    bar.set_message(what.clone());
    let mut progress = |told: &npc_trainer::Progress| {
        if args.progress == Shown::Json {
            let line = json!({
                "archetype": name, "task": task, "step": told.step, "steps": told.steps, "loss": told.loss,
                "held_out": told.held_out, "eta_s": told.eta_s,
            });
            // Whoever reads it may be gone; what is trained is of use all the same.
            let mut out = std::io::stdout().lock();
            drop(writeln!(out, "{line}").and_then(|()| out.flush()));
        } else {
            bar.set_length(told.steps as u64);
            bar.set_prefix(format!("loss {:.2}", told.loss));
            bar.set_position(told.step as u64);
        }
        bars.go_on()
    };
    let trained = if let Some(out) = &args.out {
        train(plan, out, args.resume, &mut progress)?
    } else {
        publish(plan, &mut progress)?
    };
    bar.finish_and_clear();
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let Trained { epochs, metrics, .. } = trained;
    let right = match (metrics.accuracy, metrics.base_accuracy) {
        (Some(own), Some(base)) => format!("; right {}, the base {}", percent(own), percent(base)),
        _ => String::new(),
    };
    let (examples, held_out) = (metrics.examples.unwrap_or(0), metrics.held_out.unwrap_or(0));
    let (loss, base_loss) = (metrics.loss.unwrap_or(0.0), metrics.base_loss.unwrap_or(0.0));
    bars.say(&format!(
        "{what}: {examples} examples, {epochs} epochs; of {held_out} held out: {loss:.3} nats a token, the base {base_loss:.3}{right}"
    ));
    if held_out > 0 && loss >= base_loss {
        bars.say(&format!("{what}: the base is better alone; more lines, or other ones, may help"));
    }
    Ok(())
}

/// Trains beside the pack's versions and gives the result the next one's name when it is whole.
fn publish(
    plan: &Plan<'_>,
    progress: &mut dyn FnMut(&npc_trainer::Progress) -> bool,
) -> anyhow::Result<Trained> {
    let folder = plan.packs.join(&plan.pack.name);
    let work = tempfile::Builder::new().prefix(".training-").tempdir_in(&folder)?;
    let trained = train(plan, work.path(), false, progress)?;
    let versions = folder.join(plan.task.name());
    std::fs::create_dir_all(&versions)?;
    // Behind the highest, which is the one in use.
    let highest =
        plan.pack.versions.get(&plan.task).and_then(|all| all.keys().next_back().copied()).unwrap_or(0);
    for version in highest + 1..=MAX_VERSION {
        use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
        match std::fs::rename(work.path().join(plan.task.name()), versions.join(format!("v{version}"))) {
            Ok(()) => return Ok(trained),
            // Somebody else's.
            Err(error) if matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("{}: there is no free version", versions.display())
}

/// The GPU, where this was built for one and one is wanted.
pub(super) fn device(on: On) -> Result<Device, TrainError> {
    match on {
        On::Auto if cfg!(feature = "cuda-training") => Ok(Device::new_cuda(0)?),
        On::Auto | On::Cpu => Ok(Device::Cpu),
    }
}
