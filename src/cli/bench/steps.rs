//! How long steps take, by what they compute: what the planner simulates servers with.

use serde::Serialize;
use std::fmt::Write;

use super::adapters::{self, ARCHETYPES};
use super::stats::median;
use crate::app::Paths;
use crate::archetype::{Packs, Task};
use crate::config;
use crate::engine::{Sampling, StepPart, StepTimer, StepWork};
use crate::planner::steps::{Fit, Sample, StepPoint, StepShape, StepTimes};

/// Sequences that compute one token each.
const ROWS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Tokens that sequences hold before: from the most to the least, for what is forgotten would have to be computed again.
const PASTS: [usize; 4] = [512, 256, 64, 0];

/// Tokens of a prompt that are computed in one step.
const CHUNKS: [usize; 5] = [16, 32, 64, 128, 256];

/// Rows that generate while a prompt is computed, and tokens of that.
const BOTH: [(usize, usize); 4] = [(4, 32), (8, 64), (16, 96), (16, 128)];

/// Measured steps and the times fitted to them.
#[derive(Debug, Serialize)]
pub struct Steps {
    /// Repeats of each step, of which the median counts.
    pub repeats: u32,
    pub samples: Vec<Sample>,
    pub fit: Fit,
}

/// Sampling as the settings have it: drawing a token belongs to a step.
fn sampling(turn: &config::Turn) -> Sampling {
    Sampling {
        greedy: false,
        temperature: turn.temperature,
        top_p: turn.top_p,
        min_p: turn.min_p,
        repetition_penalty: turn.repetition_penalty,
        seed: Some(1),
    }
}

/// What sequences hold: all that the built-in packs say of their characters.
fn text() -> anyhow::Result<String> {
    let mut text = String::new();
    for pack in Packs::load(None)?.iter() {
        for line in std::iter::once(&pack.persona).chain(&pack.speech).chain(&pack.lore) {
            text += line;
            text.push(' ');
        }
    }
    Ok(text)
}

/// Opens a decoder of its own with the bench's adapters.
pub fn open(paths: &Paths, engine: &config::Engine, turn: &config::Turn) -> anyhow::Result<StepTimer> {
    let mut engine = engine.clone();
    engine.rows = engine.rows.max(ROWS[ROWS.len() - 1]);
    let mut timer = StepTimer::open(&paths.model, &paths.library, &engine, sampling(turn), &text()?)?;
    let folder = tempfile::tempdir()?;
    adapters::write_all(timer.model(), folder.path())?;
    for index in 0..adapters::COUNT {
        timer.load_adapter(&adapters::id(index), &adapters::folder(folder.path(), index))?;
    }
    Ok(timer)
}

/// How much longer steps take now than when they were measured, as factors: machines that are shared are not always as
/// fast, and what is bound by memory does not change as what is bound by arithmetic does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drift {
    /// Of rows that generate.
    pub decode: f64,
    /// Of prompts.
    pub prefill: f64,
}

/// Tokens of a step up to which it is one of rows that generate, and from which on one of prompts.
const FEW: f64 = 16.0;
const MANY: f64 = 64.0;

impl Drift {
    pub fn measure(timer: &mut StepTimer, times: &StepTimes) -> anyhow::Result<Self> {
        let cases = drift_cases();
        let mut took: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
        for _ in 0..DRIFT_REPEATS {
            for (case, took) in cases.iter().zip(&mut took) {
                let (work, seconds) = timer.time(case)?;
                took.push(seconds.as_secs_f64() / times.seconds(shape(work)));
            }
        }
        let [decode, prefill] = [0, 1].map(|at| median(took[at].clone()));
        Ok(Self { decode, prefill })
    }

    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
        Self { decode: mean(|drift| drift.decode), prefill: mean(|drift| drift.prefill) }
    }

    /// The times as they are now.
    pub fn of(self, times: &StepTimes) -> StepTimes {
        let (decode, prefill) = (times.slower(self.decode), times.slower(self.prefill));
        let points = times.points.iter().map(|point| {
            let share = ((point.tokens as f64 - FEW) / (MANY - FEW)).clamp(0.0, 1.0);
            let factor = self.decode + (self.prefill - self.decode) * share;
            StepPoint { seconds: point.seconds * factor, ..*point }
        });
        let mut longest = 0.0_f64;
        let rising = |point: StepPoint| {
            longest = longest.max(point.seconds);
            StepPoint { seconds: longest, ..point }
        };
        StepTimes {
            points: points.map(rising).collect(),
            attended_s: prefill.attended_s,
            mixed_s: prefill.mixed_s,
            ..decode
        }
    }
}

/// A batch of lines as they go on, and a piece of a prompt.
fn drift_cases() -> [Vec<StepPart>; 2] {
    let part = |sequence: usize, tokens, past| StepPart {
        sequence,
        past,
        tokens,
        wants_logits: true,
        adapters: Task::SPOKEN.iter().filter_map(|task| adapter(sequence, *task)).collect(),
    };
    [(0..8).map(|row| part(row, 1, 256)).collect(), vec![part(8, 128, 128)]]
}

/// How often each of these steps is timed.
const DRIFT_REPEATS: usize = 11;

fn shape(work: StepWork) -> StepShape {
    let StepWork { tokens, logits, attended, read, mixed } = work;
    StepShape { tokens, logits, attended, read, mixed }
}

/// Measures; nothing else may run.
pub fn measure(timer: &mut StepTimer, repeats: u32) -> anyhow::Result<Steps> {
    let repeats = repeats * 2 + 1;
    let mut samples = Vec::new();
    for past in PASTS {
        let cases: Vec<_> = cases(past).into_iter().filter(|case| fits(case, timer)).collect();
        if cases.is_empty() {
            continue;
        }
        eprintln!("==> {} steps behind {past} tokens, {repeats} times", cases.len());
        let mut times: Vec<(StepWork, Vec<f64>)> = vec![Default::default(); cases.len()];
        // In turns, so that a neighbour on the machine disturbs all alike.
        for _ in 0..repeats {
            for (case, (work, times)) in cases.iter().zip(&mut times) {
                let (computed, took) = timer.time(case)?;
                *work = computed;
                times.push(took.as_secs_f64());
            }
        }
        let medians =
            times.into_iter().map(|(work, times)| Sample { shape: shape(work), seconds: median(times) });
        samples.extend(medians);
    }
    let fit = StepTimes::fit(&samples)?;
    Ok(Steps { repeats, samples, fit })
}

/// Steps of sequences that hold so many tokens: without adapters, with the one of a choice, and with the three of a
/// line.
fn cases(past: usize) -> Vec<Vec<StepPart>> {
    let mut cases = Vec::new();
    for tasks in [&[][..], &[Task::EmotionalResponse], &Task::SPOKEN] {
        let part = |sequence: usize, tokens, wants_logits| StepPart {
            sequence,
            past,
            tokens,
            wants_logits,
            adapters: tasks.iter().filter_map(|task| adapter(sequence, *task)).collect(),
        };
        let decode = |rows: usize| (0..rows).map(|row| part(row, 1, true));
        if past > 0 {
            cases.extend(ROWS.into_iter().map(|rows| decode(rows).collect()));
        }
        if past == 0 || past == 256 {
            cases.extend(CHUNKS.into_iter().map(|tokens| vec![part(0, tokens, true)]));
            cases.extend(CHUNKS.into_iter().map(|tokens| vec![part(0, tokens, false)]));
        }
        if past == 256 {
            cases.extend(
                BOTH.into_iter()
                    .map(|(rows, tokens)| decode(rows).chain([part(rows, tokens, true)]).collect()),
            );
        }
    }
    cases
}

/// The adapter of a task, of the archetype that a sequence's NPC is of, as [`adapters::write_all`] numbers it.
fn adapter(sequence: usize, task: Task) -> Option<usize> {
    let at = Task::ALL.iter().position(|other| *other == task)?;
    Some(sequence % ARCHETYPES.len() * Task::ALL.len() + at)
}

fn fits(case: &[StepPart], timer: &StepTimer) -> bool {
    case.iter().all(|part| part.sequence < timer.sequences() && part.past + part.tokens <= timer.context())
}

impl Steps {
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| tokens of a step | with logits | positions attended | read | adapters of tokens | ms | ms, fitted |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for Sample { shape, seconds } in &self.samples {
            let StepShape { tokens, logits, attended, read, mixed } = shape;
            let (seen, fitted) = (seconds * 1e3, self.fit.times.seconds(*shape) * 1e3);
            // Writing to a string cannot fail; so below.
            let _ = writeln!(
                out,
                "| {tokens} | {logits} | {attended} | {read} | {mixed} | {seen:.2} | {fitted:.2} |"
            );
        }
        let Fit { times, median_error, largest_error } = &self.fit;
        let points = times.points.iter().map(|p| format!("{} in {:.2}", p.tokens, p.seconds * 1e3));
        let _ = writeln!(
            out,
            "\nfitted: tokens in ms {}; µs for each logits {:.1}, for each thousand positions attended {:.2} and read {:.2}, \
             for each adapter {:.2}; off by {:.1} % in the median, {:.1} % at most",
            points.collect::<Vec<_>>().join(", "),
            times.logits_s * 1e6,
            times.attended_s * 1e9,
            times.read_s * 1e9,
            times.mixed_s * 1e6,
            median_error * 100.0,
            largest_error * 100.0
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_to_their_sequences_and_adapters() {
        for past in PASTS {
            for case in cases(past) {
                let mut sequences: Vec<_> = case.iter().map(|part| part.sequence).collect();
                sequences.dedup();
                assert_eq!(sequences.len(), case.len());
                assert!(sequences.iter().all(|sequence| *sequence < ROWS[ROWS.len() - 1]));
                let adapters = case.iter().flat_map(|part| &part.adapters);
                assert!(adapters.copied().all(|adapter| adapter < adapters::COUNT));
            }
        }
        assert!(cases(0).iter().any(|case| case[0].adapters.len() == 3));
    }

    #[test]
    fn a_machine_that_is_slower_at_prompts_is_slower_there_alone() {
        let point = |tokens, seconds| StepPoint { tokens, seconds };
        let points = vec![point(1, 1.0), point(16, 2.0), point(40, 3.0), point(128, 8.0)];
        let (logits_s, attended_s, read_s, mixed_s) = (1.0, 1.0, 1.0, 1.0);
        let times = StepTimes { points, logits_s, attended_s, read_s, mixed_s, step_overhead_s: 0.0 };
        let now = Drift { decode: 1.0, prefill: 2.0 }.of(&times);
        let seconds: Vec<f64> = now.points.iter().map(|point| point.seconds).collect();
        assert_eq!(seconds, [1.0, 2.0, 4.5, 16.0]);
        assert_eq!((now.logits_s, now.attended_s, now.read_s, now.mixed_s), (1.0, 2.0, 1.0, 2.0));
        // It never falls.
        let now = Drift { decode: 2.0, prefill: 0.1 }.of(&times);
        assert!(
            now.points.windows(2).all(|pair| pair[0].seconds <= pair[1].seconds) && now.check("now").is_ok()
        );
    }

    #[test]
    fn the_planner_reads_what_is_written() {
        let shape = StepShape { tokens: 4, logits: 4, attended: 400, read: 400, mixed: 0 };
        let samples = vec![Sample { shape, seconds: 0.02 }];
        let fit = StepTimes::fit(&samples).unwrap();
        let steps = Steps { repeats: 3, samples, fit };
        assert!(steps.table().contains("| 4 | 4 | 400 | 400 | 0 | 20.00 | 20.00 |"), "{}", steps.table());
        let json = serde_json::json!({ "version": 1, "steps": steps }).to_string();
        assert_eq!(StepTimes::from_bench("file", &json).unwrap(), steps.fit.times);
    }
}
