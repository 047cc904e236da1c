//! One task's adapter, from its lines to a folder that can be served.

use std::path::{Path, PathBuf};

use npc_trainer::{
    Base, Data, Example, LoraConfig, Mix, Model, Outcome, Progress, Settings, TrainError, Training,
};
use serde::{Deserialize, Serialize};

use super::eval::majority;
use super::examples::{Item, Items, Question, examples};
use super::lines::{LineError, Lines};
use crate::archetype::{Metrics, Pack, Task};
use crate::engine::{EngineError, Tokenizer};

/// How a task is trained where nothing else is asked for.
struct Usual {
    /// One in so many layers, from the top.
    layers: usize,
    epochs: usize,
    /// Examples of a step.
    batch: usize,
    learning_rate: f64,
}

/// What is spoken: how it is said shows in every word, and is learned soon.
const SPOKEN: Usual = Usual { layers: 3, epochs: 3, batch: 8, learning_rate: 1e-3 };

/// What is chosen: one short answer for each example, so more of them at once, faster and oftener. Fewer layers take as
/// much less time, and oftener brings more than they do.
const CHOSEN: Usual = Usual { layers: 5, epochs: 5, batch: 16, learning_rate: 2e-3 };

fn usual(task: Task) -> Usual {
    if Task::SPOKEN.contains(&task) { SPOKEN } else { CHOSEN }
}

/// The shape of a task's adapter where nothing else is asked for: all projections of the upper layers.
pub fn lora_config(base: &Base, task: Task) -> LoraConfig {
    let layers = base.config().layers;
    let first_layer = layers - layers.div_ceil(usual(task).layers);
    LoraConfig { first_layer, ..LoraConfig::for_base(base) }
}

/// What an adapter was trained on, and how good it is: its `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    pub task: Task,
    /// The base's SHA-256.
    pub base: String,
    #[serde(flatten)]
    pub metrics: Metrics,
    pub epochs: usize,
    pub best_epoch: usize,
    pub seed: u64,
    pub learning_rate: f64,
}

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error(transparent)]
    Lines(#[from] LineError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl TrainingError {
    /// Whether the lines or the settings are to blame.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Lines(_) | Self::Train(TrainError::Bad(_)))
    }
}

/// What is trained, and on what.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    pub base: &'a Base,
    pub tokenizer: &'a Tokenizer,
    /// The folder of packs.
    pub packs: &'a Path,
    pub pack: &'a Pack,
    pub task: Task,
    pub lora: LoraConfig,
    /// Of the task, where it is `None`.
    pub epochs: Option<usize>,
    /// The highest; of the task, where it is `None`.
    pub learning_rate: Option<f64>,
    pub seed: u64,
}

impl Plan<'_> {
    /// The lines that the task learns from: its own, and for what is spoken those of how the character speaks.
    pub fn items(&self) -> Result<Items, TrainingError> {
        let context = self.base.config().max_position;
        let read = |task| -> Result<Vec<Item>, TrainingError> {
            let lines = Lines::read(self.packs, self.pack, task)?;
            Ok(Items::new(&lines, self.pack, self.tokenizer, context)?.0)
        };
        let mut items = read(self.task)?;
        let speech = Lines::path(self.packs, &self.pack.name, Task::DialogueStyle);
        if matches!(self.task, Task::Personality | Task::WorldKnowledge) && speech.is_file() {
            items.extend(read(Task::DialogueStyle)?);
        }
        Ok(Items(items))
    }

    /// The share of questions whose likeliest option is the right one.
    fn right(&self, mix: Mix<'_>, questions: &[&Question]) -> Result<f64, TrainError> {
        let mut options = Vec::new();
        for (group, question) in questions.iter().enumerate() {
            let tokens = question.options.iter().map(|option| self.tokenizer.encode_text(option));
            options.extend(tokens.map(|tokens| Example::answer(&question.prompt, &tokens, group)));
        }
        let mut measured = Model::new(self.base).measure(mix, &options)?.into_iter();
        let right = questions.iter().filter(|question| {
            let of: Vec<f64> = measured.by_ref().take(question.options.len()).map(|m| m.log_prob).collect();
            let best = of.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.is_some_and(|(at, _)| at == question.answer)
        });
        Ok(right.count() as f64 / questions.len().max(1) as f64)
    }

    /// How it is trained.
    pub fn settings(&self) -> Settings {
        let Usual { epochs, batch, learning_rate, .. } = usual(self.task);
        Settings {
            epochs: self.epochs.unwrap_or(epochs),
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            batch,
            seed: self.seed,
            ..Settings::default()
        }
    }
}

/// Trains and writes `OUT/TASK/`: PEFT's two files and, last, `metrics.json`. With `resume` what is finished stays, and
/// what was begun goes on from its last epoch.
///
/// # Errors
/// [`TrainingError`].
pub fn train(
    plan: &Plan<'_>,
    out: &Path,
    resume: bool,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Trained, TrainingError> {
    let folder = out.join(plan.task.name());
    let done = folder.join("metrics.json");
    if resume && let Some(trained) = read_trained(&done) {
        return Ok(trained);
    }
    // What is wrong with the lines is said before anything is computed.
    let items = plan.items()?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainingError::Io { path, source }
    };
    let work = folder.join("work");
    if !resume && folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(io(&folder))?;
    }
    std::fs::create_dir_all(&work).map_err(io(&work))?;
    let (learned, held_out) = items.split();
    let asked: Vec<&Question> = held_out.iter().filter_map(|item| item.question.as_ref()).collect();
    let majority = (!asked.is_empty()).then(|| majority(&learned, &held_out).share());
    let (learned, held_out) = (examples(learned), examples(held_out.iter().copied()));
    let (count, held_out_count) = (learned.len(), held_out.len());
    let settings = plan.settings();
    let (seed, learning_rate) = (settings.seed, settings.learning_rate);
    let data = Data { examples: learned, held_out };
    let mut training = Training::new(plan.base, plan.lora.clone(), settings, data)?;
    let (lora, outcome) = training.run(Some(&work), progress)?;
    let Outcome { epochs, best_epoch, base_loss, loss, .. } = outcome;
    let right = |mix: Mix<'_>| (!asked.is_empty()).then(|| plan.right(mix, &asked)).transpose();
    let (accuracy, base_accuracy) = (right(&[(&lora, 1.0)])?, right(&[])?);
    lora.save(plan.base, &folder)?;
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        // On the disk before what says that they are whole.
        let path = folder.join(name);
        std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
    }
    let metrics = Metrics {
        examples: Some(count as u64),
        held_out: Some(held_out_count as u64),
        base_loss: Some(base_loss),
        loss: Some(loss),
        accuracy,
        base_accuracy,
        majority,
    };
    let trained = Trained {
        task: plan.task,
        base: plan.base.identity().1.to_owned(),
        metrics,
        epochs,
        best_epoch,
        seed,
        learning_rate,
    };
    // Its numbers are finite, and its keys are texts.
    let text = serde_json::to_string_pretty(&trained).unwrap_or_default();
    let new = folder.join("metrics.json.new");
    std::fs::write(&new, text + "\n").map_err(io(&new))?;
    std::fs::rename(&new, &done).map_err(io(&done))?;
    std::fs::remove_dir_all(&work).map_err(io(&work))?;
    Ok(trained)
}

/// What a finished adapter was trained on.
fn read_trained(path: &Path) -> Option<Trained> {
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok()
}
