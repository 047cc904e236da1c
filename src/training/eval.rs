//! How good adapters are on lines that they did not learn from.
//!
//! What is spoken is measured by the perplexity of held-out answers, computed as in training. What is chosen is asked of
//! the engine that serves, with everything that it does to an answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use npc_trainer::{Base, Example, Lora, Model, TrainError};

use super::examples::{Item, Items, Question};
use super::folds::Folds;
use super::train::{Plan, TrainingError, lora_config};
use crate::archetype::{Pack, Packs, Task};
use crate::engine::{Adapter, Choose, Engine, Mix, Schedule, Tokenizer, Weighted};
use crate::turn::calibrated;

/// Questions that the engine is asked at once.
const AT_ONCE: usize = 16;

/// Classes of confidence of the expected calibration error.
const BINS: usize = 10;

/// Perplexities of held-out lines: every archetype's under every archetype's adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Perplexities {
    pub task: Task,
    pub archetypes: Vec<String>,
    /// Answers and tokens of each archetype's lines.
    pub sizes: Vec<(usize, usize)>,
    /// By the archetype of the lines.
    pub base: Vec<f64>,
    /// By the archetype of the lines, then of the adapter.
    pub under: Vec<Vec<f64>>,
}

/// Answers that were right, of how many, and how far confidence is from that.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    pub right: usize,
    pub of: usize,
    /// Σ over classes of confidence of |how often right − how confident|, weighted; 0 to 1.
    pub calibration_error: f64,
}

/// How an adapter chooses.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    pub archetype: String,
    pub task: Task,
    /// Of the held-out lines: the adapter, the base (as it is served: the better of it and of what is left when its
    /// favourites are divided out), and the answer that is most often right.
    pub own: Score,
    pub base: Score,
    pub majority: Score,
    /// With the adapters of the other archetypes.
    pub others: BTreeMap<String, Score>,
    /// Of all lines, each answered by an adapter that did not learn from it.
    pub crossed: Option<Crossed>,
}

/// A cross-validation, pooled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossed {
    pub folds: u64,
    pub own: Score,
    pub base: Score,
    pub majority: Score,
}

/// Perplexity of held-out dialogue with the adapter of how it speaks alone, and with the pack's whole mix.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    pub archetype: String,
    pub alone: f64,
    pub mixed: f64,
}

/// All that is measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    pub model: String,
    pub spoken: Vec<Perplexities>,
    pub mixes: Vec<Mixed>,
    pub chosen: Vec<Accuracy>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Perplexities of what is spoken.
    Spoken,
    /// The default mixes.
    Mixes,
    /// What is chosen.
    Chosen,
}

/// Measures the adapters of packs.
#[derive(Debug)]
pub struct Evaluator<'a> {
    pub base: &'a Base,
    pub tokenizer: &'a Tokenizer,
    pub folder: &'a Path,
    pub packs: &'a Packs,
    pub engine: &'a Engine,
    /// The adapters of parts, trained before ([`Folds::train`]); `None`: no cross-validation.
    pub folds: Option<Folds<'a>>,
}

impl Evaluator<'_> {
    /// Measures these parts; `told` hears what is measured next.
    ///
    /// # Errors
    /// [`TrainingError`].
    pub async fn run(&self, parts: &[Part], told: &dyn Fn(&str)) -> Result<Evaluation, TrainingError> {
        let wants = |part| parts.contains(&part);
        let mut evaluation = Evaluation { model: self.base.identity().0.to_owned(), ..Evaluation::default() };
        for pack in self.packs.iter() {
            for adapter in pack.adapters().values() {
                self.engine.load_adapter(&adapter.key(), &adapter.dir).await?;
            }
        }
        for task in Task::SPOKEN.into_iter().filter(|_| wants(Part::Spoken)) {
            told(&format!("perplexities of {task}"));
            evaluation.spoken.extend(self.perplexities(task)?);
        }
        if wants(Part::Mixes) {
            told("mixes");
            evaluation.mixes = self.mixes()?;
        }
        let chosen = Task::ALL.into_iter().filter(|task| !Task::SPOKEN.contains(task));
        for task in chosen.filter(|_| wants(Part::Chosen)) {
            for pack in self.packs.iter().filter(|pack| pack.adapters().contains_key(&task)) {
                told(&format!("{}.{task}", pack.name));
                evaluation.chosen.push(self.accuracy(pack, task).await?);
            }
        }
        Ok(evaluation)
    }

    fn plan<'b>(&'b self, pack: &'b Pack, task: Task) -> Plan<'b> {
        let (base, tokenizer, packs) = (self.base, self.tokenizer, self.folder);
        let lora = lora_config(base, task);
        Plan { base, tokenizer, packs, pack, task, lora, epochs: None, learning_rate: None, seed: 1 }
    }

    /// The items of a task, as its adapter was trained on them.
    fn items(&self, pack: &Pack, task: Task) -> Result<Items, TrainingError> {
        self.plan(pack, task).items()
    }

    /// The adapter of a task as the trainer computes with it.
    fn lora(&self, pack: &Pack, task: Task) -> Result<Option<Lora>, TrainingError> {
        let Some(of) = pack.adapters().get(&task).copied() else { return Ok(None) };
        let model = self.engine.model();
        let adapter = Adapter::load(&of.id, &of.dir, &model.graph, model.model.layers)?;
        Ok(Some(lora(self.base, &adapter, &model.graph)?))
    }

    fn perplexities(&self, task: Task) -> Result<Option<Perplexities>, TrainingError> {
        let with = self.packs.iter().filter(|pack| pack.adapters().contains_key(&task));
        let packs: Vec<&Arc<Pack>> = with.collect();
        if packs.is_empty() {
            return Ok(None);
        }
        let mut loras = Vec::new();
        for pack in &packs {
            loras.extend(self.lora(pack, task)?);
        }
        let archetypes = packs.iter().map(|pack| pack.name.clone()).collect();
        let mut table =
            Perplexities { task, archetypes, sizes: Vec::new(), base: Vec::new(), under: Vec::new() };
        for pack in &packs {
            let lines = self.held_out(pack, task)?;
            table.sizes.push((lines.len(), lines.iter().map(Example::targets).sum()));
            table.base.push(self.perplexity(&[], &lines)?);
            let under = loras.iter().map(|lora| self.perplexity(&[(lora, 1.0)], &lines));
            table.under.push(under.collect::<Result<_, _>>()?);
        }
        Ok(Some(table))
    }

    fn held_out(&self, pack: &Pack, task: Task) -> Result<Vec<Example>, TrainingError> {
        Ok(self.items(pack, task)?.held_out())
    }

    fn perplexity(&self, mix: npc_trainer::Mix<'_>, lines: &[Example]) -> Result<f64, TrainingError> {
        let measured = Model::new(self.base).measure(mix, lines)?;
        let tokens: usize = measured.iter().map(|m| m.tokens).sum();
        Ok((-measured.iter().map(|m| m.log_prob).sum::<f64>() / tokens.max(1) as f64).exp())
    }

    fn mixes(&self) -> Result<Vec<Mixed>, TrainingError> {
        let mut mixes = Vec::new();
        for pack in self.packs.iter().filter(|pack| pack.adapters().contains_key(&Task::DialogueStyle)) {
            let mut loras = Vec::new();
            let among = Task::SPOKEN.into_iter().filter(|task| pack.adapters().contains_key(task)).count();
            for task in Task::SPOKEN {
                let weight = f64::from(pack.weight(task, among));
                loras.extend(self.lora(pack, task)?.map(|lora| (lora, weight)));
            }
            let lines = self.held_out(pack, Task::DialogueStyle)?;
            let mix: Vec<(&Lora, f64)> = loras.iter().map(|(lora, weight)| (lora, *weight)).collect();
            let alone = self.perplexity(&[(&loras[0].0, 1.0)], &lines)?;
            mixes.push(Mixed { archetype: pack.name.clone(), alone, mixed: self.perplexity(&mix, &lines)? });
        }
        Ok(mixes)
    }

    async fn accuracy(&self, pack: &Pack, task: Task) -> Result<Accuracy, TrainingError> {
        let items = self.items(pack, task)?;
        let (learned, held_out) = items.split();
        let with = |pack: &Pack| pack.adapters().get(&task).map(|adapter| adapter.key());
        let own = self.score(&held_out, with(pack).as_deref()).await?;
        let base = self.base_score(&held_out).await?;
        let majority = majority(&learned, &held_out);
        let mut others = BTreeMap::new();
        for other in self.packs.iter().filter(|other| other.name != pack.name) {
            if let Some(key) = with(other) {
                others.insert(other.name.clone(), self.score(&held_out, Some(&key)).await?);
            }
        }
        let crossed = match &self.folds {
            Some(folds) => Some(self.crossed(pack, task, &items, folds).await?),
            None => None,
        };
        Ok(Accuracy { archetype: pack.name.clone(), task, own, base, majority, others, crossed })
    }

    /// Asks about each part with the adapter that learned from the others.
    async fn crossed(
        &self,
        pack: &Pack,
        task: Task,
        items: &Items,
        folds: &Folds<'_>,
    ) -> Result<Crossed, TrainingError> {
        let plan = self.plan(pack, task);
        let (mut answers, mut majorities) = (Vec::new(), Score::default());
        for fold in 0..folds.count {
            let (learned, asked) = items.fold(fold, folds.count);
            let id = format!("{}.{task}.fold{fold}", pack.name);
            self.engine.load_adapter(&id, &folds.path(&plan, fold)).await?;
            answers.extend(self.answers(&asked, Some(&id)).await?);
            self.engine.drop_adapter(&id)?;
            let part = majority(&learned, &asked);
            (majorities.right, majorities.of) = (majorities.right + part.right, majorities.of + part.of);
        }
        let all: Vec<&Item> = items.0.iter().collect();
        let base = self.base_score(&all).await?;
        Ok(Crossed { folds: folds.count, own: Score::new(&answers), base, majority: majorities })
    }

    /// The base as it is served, or with its favourites left in, whichever is right more often.
    async fn base_score(&self, items: &[&Item]) -> Result<Score, TrainingError> {
        let plain = self.answers(items, None).await?;
        let nothing: Vec<Item> = items.iter().filter_map(|item| item.about_nothing()).collect();
        let nothing: Vec<&Item> = nothing.iter().collect();
        let priors = self.answers(&nothing, None).await?;
        let divided: Vec<Answer> = plain
            .iter()
            .zip(&priors)
            .map(|(plain, prior)| Answer {
                probs: calibrated(&plain.probs, &prior.probs),
                right: plain.right,
            })
            .collect();
        let (plain, divided) = (Score::new(&plain), Score::new(&divided));
        Ok(if divided.right >= plain.right { divided } else { plain })
    }

    async fn score(&self, items: &[&Item], adapter: Option<&str>) -> Result<Score, TrainingError> {
        Ok(Score::new(&self.answers(items, adapter).await?))
    }

    async fn answers(&self, items: &[&Item], adapter: Option<&str>) -> Result<Vec<Answer>, TrainingError> {
        let questions: Vec<&Question> = items.iter().filter_map(|item| item.question.as_ref()).collect();
        let ask = |question: &Question| {
            let mix: Mix =
                adapter.iter().map(|id| Weighted { adapter: Arc::from(*id), weight: 1.0 }).collect();
            let (prompt, options) = (question.prompt.clone(), question.options.clone());
            let (request, right) =
                (Choose { prompt, mix, options, schedule: Schedule::default() }, question.answer);
            async move { Ok(Answer { probs: self.engine.choose(request).await?.probs, right }) }
        };
        let asked: Vec<_> = questions.into_iter().map(ask).collect();
        stream::iter(asked).buffered(AT_ONCE).try_collect().await
    }
}

/// An adapter as the trainer computes with it.
///
/// # Errors
/// It does not fit the base.
pub fn lora(base: &Base, adapter: &Adapter, graph: &npc_onnx::GraphInfo) -> Result<Lora, TrainError> {
    Lora::from_parts(base, parts(adapter, graph))
}

/// The factors of an adapter by layer and projection.
fn parts<'a>(
    adapter: &'a Adapter,
    graph: &'a npc_onnx::GraphInfo,
) -> impl Iterator<Item = npc_trainer::Part> + 'a {
    adapter.layers.iter().enumerate().flat_map(move |(layer, groups)| {
        groups.iter().zip(&graph.groups).flat_map(move |(factors, group)| {
            factors.iter().filter_map(move |factors| {
                let projection = group.projections.iter().find(|p| p.offset == factors.offset)?;
                Some(npc_trainer::Part {
                    layer,
                    projection: projection.name.clone(),
                    rank: factors.rank,
                    a: factors.a.clone(),
                    b: factors.b.clone(),
                })
            })
        })
    })
}

/// An answer, and which would have been right.
struct Answer {
    probs: Vec<f32>,
    right: usize,
}

impl Score {
    fn new(answers: &[Answer]) -> Self {
        let mut bins = [(0_usize, 0_usize, 0.0_f64); BINS];
        let mut right = 0;
        for answer in answers {
            let best = answer.probs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let Some((at, confidence)) = best else { continue };
            let hit = at == answer.right;
            right += usize::from(hit);
            let bin = &mut bins[((confidence * BINS as f32) as usize).min(BINS - 1)];
            *bin = (bin.0 + 1, bin.1 + usize::from(hit), bin.2 + f64::from(*confidence));
        }
        let of = answers.len();
        let gap = bins.iter().map(|(_, hits, confidence)| (*hits as f64 - confidence).abs()).sum::<f64>();
        Self { right, of, calibration_error: gap / of.max(1) as f64 }
    }

    /// The share that was right.
    pub fn share(&self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }

    /// Its 95 % interval (Wilson 1927, "Probable inference, the law of succession, and statistical inference").
    pub fn interval(&self) -> (f64, f64) {
        const Z: f64 = 1.96;
        let (n, p) = (self.of.max(1) as f64, self.share());
        let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        (middle - half, middle + half)
    }
}

/// How often the answer that is right most often among `learned` is right among `asked`, where it is offered.
pub(super) fn majority(learned: &[&Item], asked: &[&Item]) -> Score {
    let answer = |item: &Item| item.question.as_ref().map(|q| q.options[q.answer].clone());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for item in learned {
        if let Some(answer) = answer(item) {
            *counts.entry(answer).or_default() += 1;
        }
    }
    let right = asked.iter().filter(|item| {
        // Of what is offered, the answer that is right most often.
        let Some(question) = &item.question else { return false };
        let count = |option: &String| counts.get(option).copied().unwrap_or(0);
        let best = question.options.iter().enumerate().rev().max_by_key(|(_, option)| count(option));
        best.is_some_and(|(at, _)| at == question.answer)
    });
    Score { right: right.count(), of: asked.len(), calibration_error: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_count_what_is_right_and_how_sure_it_was() {
        let answer = |probs: [f32; 2], right| Answer { probs: probs.to_vec(), right };
        let score = Score::new(&[answer([0.9, 0.1], 0), answer([0.9, 0.1], 1), answer([0.2, 0.8], 1)]);
        assert_eq!((score.right, score.of), (2, 3));
        // Of two that were sure by 0.9 one was right, and one of one by 0.8.
        assert!((score.calibration_error - (0.8 + 0.2) / 3.0).abs() < 1e-6, "{score:?}");
        let (low, high) = Score { right: 50, of: 100, calibration_error: 0.0 }.interval();
        assert!((low - 0.4038).abs() < 1e-3 && (high - 0.5962).abs() < 1e-3, "{low} {high}");
    }
}
