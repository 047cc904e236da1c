//! Epochs over the examples.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::below::{self, Below};
use crate::checkpoint::{self, Stored};
use crate::model::{Chunk, Prefixes, chunks, prefixes};
use crate::optimizer::AdamW;
use crate::schedule::rate;
use crate::{Base, Example, Lora, LoraConfig, Model, TrainError};

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
    prefixes: Prefixes,
    /// What the frozen layers make of the examples; not yet, at first.
    below: Option<Arc<Below>>,
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
        below::check_sizes(base, &examples, &held_out)?;
        let model = Model::new(base);
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let lora = Lora::new(base, config, &mut rng)?;
        let base_loss = mean_loss(&model.measure(&[], &held_out)?);
        model.chunks(&examples)?;
        let optimizer = AdamW::new(lora.vars())?;
        let state = State { epoch: 0, best_epoch: 0, best_loss: base_loss, base_loss, optimizer_steps: 0 };
        let (prefixes, below) = (prefixes(&examples), None);
        Ok(Self { model, settings, identity, examples, held_out, lora, optimizer, prefixes, below, state })
    }

    /// The same training on what was computed before, of these examples and of others.
    ///
    /// # Errors
    /// [`TrainError::Bad`]: it is of other layers, or an example is missing.
    pub fn on(mut self, below: Arc<Below>) -> Result<Self, TrainError> {
        let bad = |reason: &str| Err(TrainError::Bad(reason.to_owned()));
        if below.first_layer() != self.lora.first_layer() {
            return bad("what was computed before is of other layers");
        }
        if self.examples.iter().any(|example| below.of(example).is_none()) {
            return bad("an example is missing in what was computed before");
        }
        self.prefixes = below.prefixes();
        self.below = Some(below);
        Ok(self)
    }

    /// The steps of a training, if no epoch ends it before.
    fn steps(&self) -> usize {
        (0..self.settings.epochs).map(|epoch| self.epoch(epoch).len()).sum()
    }

    /// The steps of an epoch: the examples of each, in an order that the seed and the epoch settle.
    fn epoch(&self, epoch: usize) -> Vec<Chunk> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed);
        rng.set_stream(1 + epoch as u64);
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        order.shuffle(&mut rng);
        let mut chunks = chunks(&self.examples, &order, &self.prefixes, self.settings.batch);
        chunks.shuffle(&mut rng);
        chunks
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
        let steps = self.steps();
        let (started, first) = (Instant::now(), self.optimizer.steps);
        let mut tokens = 0;
        let (mut held_out, mut last) = (None, self.state.best_loss);
        while self.state.epoch < self.settings.epochs
            && self.state.epoch - self.state.best_epoch < self.settings.patience.max(1)
        {
            let below = if let Some(below) = &self.below {
                Arc::clone(below)
            } else {
                let below = Below::new(self.model.base, self.lora.first_layer(), &self.examples)?;
                Arc::clone(self.below.insert(Arc::new(below)))
            };
            for chunk in self.epoch(self.state.epoch) {
                let (loss, computed) = self.step(&chunk, &below, steps)?;
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
    fn step(&mut self, chunk: &Chunk, below: &Below, steps: usize) -> Result<(f64, usize), TrainError> {
        let members: Vec<&Example> = chunk.members.iter().map(|at| &self.examples[*at]).collect();
        let batch = self.model.batch(&members, chunk.prefix)?;
        let hidden = below.side_by_side(&members)?;
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

/// Nats a token.
fn mean_loss(measured: &[crate::Measured]) -> f64 {
    let tokens: usize = measured.iter().map(|m| m.tokens).sum();
    -measured.iter().map(|m| m.log_prob).sum::<f64>() / tokens.max(1) as f64
}
