//! Epochs over the examples, with what the frozen layers make of them computed once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::Tensor;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Stored};
use crate::model::{Chunk, chunks};
use crate::optimizer::AdamW;
use crate::schedule::rate;
use crate::{Base, Example, Lora, LoraConfig, Model, TrainError};

/// Tokens of the longest example: attention takes their square in memory.
const MAX_TOKENS: usize = 1024;

/// Bytes of what the layers below make of all examples.
const MAX_HIDDEN: usize = 2 << 30;

/// How it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Times that every example is learned from, at most; 1 to 1,000.
    pub epochs: usize,
    /// Examples of a step; 1 to 256.
    pub batch: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The share of the steps over which the learning rate rises; 0 to 1.
    pub warm_up: f64,
    pub weight_decay: f64,
    /// The norm at which gradients are cut.
    pub clip: f64,
    /// Epochs without a better held-out loss after which it ends.
    pub patience: usize,
    /// What is drawn (A, the order of examples) comes from it alone.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 6,
            batch: 8,
            learning_rate: 1e-3,
            warm_up: 0.06,
            weight_decay: 0.01,
            clip: 1.0,
            patience: 2,
            seed: 1,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), TrainError> {
        let bad = |key: &str, value: String, allowed: &str| {
            Err(TrainError::Bad(format!("{key} is {value}, and must be {allowed}")))
        };
        for (key, value, most) in [("epochs", self.epochs, 1000), ("batch", self.batch, 256)] {
            if !(1..=most).contains(&value) {
                return bad(key, value.to_string(), &format!("1 to {most}"));
            }
        }
        for (key, value, most) in [
            ("learning_rate", self.learning_rate, 1.0),
            ("warm_up", self.warm_up, 1.0),
            ("weight_decay", self.weight_decay, 1.0),
            ("clip", self.clip, 1e6),
        ] {
            if !(0.0..=most).contains(&value) {
                return bad(key, value.to_string(), &format!("0 to {most}"));
            }
        }
        Ok(())
    }
}

/// What is learned from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Data {
    pub examples: Vec<Example>,
    /// They say which epoch was the best. None: the last is.
    pub held_out: Vec<Example>,
}

/// The steps of a training, if no epoch ends it before.
fn steps(examples: &[Example], settings: &Settings) -> usize {
    (0..settings.epochs).map(|epoch| epoch_chunks(examples, settings, epoch).len()).sum()
}

/// The steps of an epoch: the examples of each, in an order that the seed and the epoch settle.
fn epoch_chunks(examples: &[Example], settings: &Settings, epoch: usize) -> Vec<Chunk> {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    rng.set_stream(1 + epoch as u64);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(&mut rng);
    let mut chunks = chunks(examples, &order, settings.batch);
    chunks.shuffle(&mut rng);
    chunks
}

/// Where a training is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// Steps done, of `steps` at most.
    pub step: usize,
    pub steps: usize,
    /// Nats a token of the last step.
    pub loss: f64,
    /// The same of the held-out examples after the last epoch, if there are any.
    pub held_out: Option<f64>,
    /// Tokens computed in this run.
    pub tokens: usize,
    pub elapsed: Duration,
    /// Seconds left, if no epoch ends it before.
    pub eta_s: f64,
}

/// What came out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Epochs done, and the one whose factors were kept.
    pub epochs: usize,
    pub best_epoch: usize,
    pub steps: usize,
    /// Nats a token of the held-out examples, before and after; 0 if there are none.
    pub base_loss: f64,
    pub loss: f64,
}

/// A training that may be stopped and gone on with.
#[derive(Debug)]
pub struct Training<'a> {
    model: Model<'a>,
    settings: Settings,
    identity: String,
    examples: Vec<Example>,
    held_out: Vec<Example>,
    lora: Lora,
    optimizer: AdamW,
    /// Of what the frozen layers below make of each example, behind what its group shares; and of that.
    hidden: Vec<Tensor>,
    shared: BTreeMap<usize, (usize, Tensor)>,
    state: State,
}

/// What a checkpoint holds besides the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub epoch: usize,
    pub best_epoch: usize,
    pub best_loss: f64,
    pub base_loss: f64,
    pub optimizer_steps: usize,
}

impl<'a> Training<'a> {
    /// Checks everything.
    ///
    /// # Errors
    /// [`TrainError::Bad`] names the setting or says what is wrong with an example.
    pub fn new(
        base: &'a Base,
        config: LoraConfig,
        settings: Settings,
        data: Data,
    ) -> Result<Self, TrainError> {
        settings.check()?;
        let identity = checkpoint::identity(base, &config, &settings, &data);
        let Data { examples, held_out } = data;
        if examples.is_empty() {
            return Err(TrainError::Bad("there are no examples to learn from".into()));
        }
        check_sizes(base, &examples, &held_out)?;
        let model = Model::new(base);
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let lora = Lora::new(base, config, &mut rng)?;
        let base_loss = mean_loss(&model.measure(&[], &held_out)?);
        model.chunks(&examples)?;
        let optimizer = AdamW::new(lora.vars())?;
        let state = State { epoch: 0, best_epoch: 0, best_loss: base_loss, base_loss, optimizer_steps: 0 };
        let (hidden, shared) = (Vec::new(), BTreeMap::new());
        Ok(Self { model, settings, identity, examples, held_out, lora, optimizer, hidden, shared, state })
    }

    /// What the layers below the first that is adapted make of every example, once.
    fn prepare(&mut self) -> Result<(), TrainError> {
        let below = 0..self.lora.first_layer();
        let mut hidden: Vec<Option<Tensor>> = vec![None; self.examples.len()];
        for chunk in self.model.chunks(&self.examples)? {
            let members: Vec<&Example> = chunk.members.iter().map(|at| &self.examples[*at]).collect();
            let batch = self.model.batch(&members, chunk.prefix)?;
            let context = self.model.context(&batch)?;
            let values = self.model.layers(&self.model.embed(&batch)?, &context, below.clone(), &[])?;
            let mut at = chunk.prefix;
            for (number, example) in chunk.members.iter().zip(&members) {
                let own = example.tokens.len() - chunk.prefix;
                // A copy, so that the batch's memory is let go of.
                hidden[*number] = Some(values.narrow(0, at, own)?.copy()?.detach());
                at += own;
            }
            let group = members.first().map_or(0, |first| first.group);
            if let Entry::Vacant(entry) = self.shared.entry(group) {
                entry.insert((chunk.prefix, values.narrow(0, 0, chunk.prefix)?.copy()?.detach()));
            }
        }
        self.hidden = hidden.into_iter().flatten().collect();
        Ok(())
    }

    /// Trains to the end. `folder`: where a checkpoint is kept after every epoch and gone on with; `progress` is told of
    /// every step and may stop it with `false`.
    ///
    /// # Errors
    /// [`TrainError::Stopped`], [`TrainError::Diverged`], or of files.
    pub fn run(
        &mut self,
        folder: Option<&Path>,
        progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<(Lora, Outcome), TrainError> {
        let mut best = self.lora.copied()?;
        if let Some(folder) = folder
            && let Some(Stored { state, lora, best: stored, moments }) =
                checkpoint::load(folder, &self.identity, self.model.base, &self.lora.config)?
        {
            for (var, value) in self.lora.vars().iter().zip(lora.vars()) {
                var.set(value.as_tensor())?;
            }
            self.optimizer.moments = moments;
            (self.optimizer.steps, self.state, best) = (state.optimizer_steps, state, stored);
        }
        let steps = steps(&self.examples, &self.settings);
        let (started, first) = (Instant::now(), self.optimizer.steps);
        let mut tokens = 0;
        let (mut held_out, mut last) = (None, self.state.best_loss);
        while self.state.epoch < self.settings.epochs
            && self.state.epoch - self.state.best_epoch < self.settings.patience.max(1)
        {
            if self.hidden.is_empty() {
                self.prepare()?;
            }
            for chunk in epoch_chunks(&self.examples, &self.settings, self.state.epoch) {
                let (loss, computed) = self.step(&chunk, steps)?;
                (tokens, last) = (tokens + computed, loss);
                let step = self.optimizer.steps;
                let elapsed = started.elapsed();
                let eta_s = elapsed.as_secs_f64() / (step - first) as f64 * steps.saturating_sub(step) as f64;
                let told = Progress { step, steps, loss, held_out, tokens, elapsed, eta_s };
                if !progress(&told) {
                    return Err(TrainError::Stopped);
                }
            }
            self.state.epoch += 1;
            self.state.optimizer_steps = self.optimizer.steps;
            if self.held_out.is_empty() {
                // Nothing tells which epoch is the best: the last.
                self.state.best_epoch = self.state.epoch;
                best = self.lora.copied()?;
            } else {
                let loss = mean_loss(&self.model.measure(&[(&self.lora, 1.0)], &self.held_out)?);
                held_out = Some(loss);
                if loss < self.state.best_loss {
                    (self.state.best_loss, self.state.best_epoch) = (loss, self.state.epoch);
                    best = self.lora.copied()?;
                }
            }
            if let Some(folder) = folder {
                let moments = &self.optimizer.moments;
                checkpoint::save(folder, &self.identity, &self.state, &self.lora, &best, moments)?;
            }
        }
        if self.optimizer.steps < steps {
            // It ended early: there are no more. It is over, whatever is answered.
            let (step, elapsed, loss) = (self.optimizer.steps, started.elapsed(), last);
            progress(&Progress { step, steps: step, loss, held_out, tokens, elapsed, eta_s: 0.0 });
        }
        let outcome = Outcome {
            epochs: self.state.epoch,
            best_epoch: self.state.best_epoch,
            steps: self.optimizer.steps,
            base_loss: self.state.base_loss,
            loss: self.state.best_loss,
        };
        Ok((best, outcome))
    }

    /// One step; the loss before it, and the tokens that were computed.
    fn step(&mut self, chunk: &Chunk, steps: usize) -> Result<(f64, usize), TrainError> {
        let members: Vec<&Example> = chunk.members.iter().map(|at| &self.examples[*at]).collect();
        let batch = self.model.batch(&members, chunk.prefix)?;
        let group = members.first().map_or(0, |first| first.group);
        let Some((prefix, shared)) = self.shared.get(&group) else {
            return Err(TrainError::Bad(format!("group {group} was not prepared")));
        };
        debug_assert_eq!(*prefix, chunk.prefix, "the group's beginning does not depend on the order");
        let mut parts = vec![shared];
        parts.extend(chunk.members.iter().map(|at| &self.hidden[*at]));
        let hidden = Tensor::cat(&parts, 0)?;
        let context = self.model.context(&batch)?;
        let above = self.lora.first_layer()..self.model.base.layers.len();
        let hidden = self.model.layers(&hidden, &context, above, &[(&self.lora, 1.0)])?;
        let loss = self.model.log_probs(&hidden, &batch)?.mean_all()?.neg()?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(TrainError::Diverged { step: self.optimizer.steps, loss: value });
        }
        let gradients = loss.backward()?;
        let warm_up = (steps as f64 * self.settings.warm_up).ceil() as usize;
        let share = rate(self.optimizer.steps, steps, warm_up, 0.05);
        let Settings { learning_rate, weight_decay, clip, .. } = self.settings;
        self.optimizer.step(&gradients, learning_rate * share, weight_decay, clip)?;
        Ok((value, batch.len()))
    }
}

/// What would take more memory than beside a server there is.
fn check_sizes(base: &Base, examples: &[Example], held_out: &[Example]) -> Result<(), TrainError> {
    let longest = examples.iter().chain(held_out).map(|example| example.tokens.len()).max().unwrap_or(0);
    if longest > MAX_TOKENS {
        let reason =
            format!("an example has {longest} tokens with its prompt; at most {MAX_TOKENS} are trained on");
        return Err(TrainError::Bad(reason));
    }
    let tokens: usize = examples.iter().map(|example| example.tokens.len()).sum();
    let bytes = tokens.saturating_mul(base.config().hidden_size).saturating_mul(size_of::<f32>());
    if bytes > MAX_HIDDEN {
        let (tokens_allowed, examples) =
            (MAX_HIDDEN / size_of::<f32>() / base.config().hidden_size, examples.len());
        let reason =
            format!("{examples} examples have {tokens} tokens; at most {tokens_allowed} are trained on");
        return Err(TrainError::Bad(reason));
    }
    Ok(())
}

/// Nats a token.
fn mean_loss(measured: &[crate::Measured]) -> f64 {
    let tokens: usize = measured.iter().map(|m| m.tokens).sum();
    -measured.iter().map(|m| m.log_prob).sum::<f64>() / tokens.max(1) as f64
}
