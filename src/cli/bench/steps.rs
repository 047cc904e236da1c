//! How long steps take, by what they compute: what the planner simulates servers with.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::adapters::{self, ARCHETYPES};
use super::stats::median;
use crate::archetype::Task;
use crate::config;
use crate::engine::{Sampling, StepPart, StepTimer, StepWork};
use crate::planner::steps::{Fit, Sample, StepShape, StepTimes};

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
pub fn sampling(turn: &config::Turn) -> Sampling {
    Sampling {
        greedy: false,
        temperature: turn.temperature,
        top_p: turn.top_p,
        min_p: turn.min_p,
        repetition_penalty: turn.repetition_penalty,
        seed: Some(1),
    }
}

/// Rows that the grid needs.
pub const fn rows() -> usize {
    ROWS[ROWS.len() - 1]
}

/// Measures on a decoder of its own, with the adapters that [`adapters::write_all`] wrote; nothing else may run.
pub fn measure(mut timer: StepTimer, folder: &Path, repeats: u32) -> anyhow::Result<Steps> {
    for index in 0..adapters::COUNT {
        timer.load_adapter(&adapters::id(index), &adapters::folder(folder, index))?;
    }
    let repeats = repeats * 2 + 1;
    let mut samples = Vec::new();
    for past in PASTS {
        let cases: Vec<_> = cases(past).into_iter().filter(|case| fits(case, &timer)).collect();
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
        samples.extend(times.into_iter().map(|(work, times)| {
            let StepWork { tokens, logits, attended, mixed } = work;
            let shape = StepShape { tokens, logits, attended, mixed };
            Sample { shape, seconds: median(times) }
        }));
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
            "| tokens of a step | with logits | positions attended | adapters of tokens | ms | ms, fitted |\n\
             |---|---|---|---|---|---|\n",
        );
        for Sample { shape, seconds } in &self.samples {
            let StepShape { tokens, logits, attended, mixed } = shape;
            let (seen, fitted) = (seconds * 1e3, self.fit.times.seconds(*shape) * 1e3);
            // Writing to a string cannot fail; so below.
            let _ = writeln!(out, "| {tokens} | {logits} | {attended} | {mixed} | {seen:.2} | {fitted:.2} |");
        }
        let Fit { times, median_error, largest_error } = &self.fit;
        let points = times.points.iter().map(|p| format!("{} in {:.2}", p.tokens, p.seconds * 1e3));
        let _ = writeln!(
            out,
            "\nfitted: tokens in ms {}; µs for each logits {:.1}, for each thousand positions {:.2}, for each adapter \
             {:.2}; off by {:.1} % in the median, {:.1} % at most",
            points.collect::<Vec<_>>().join(", "),
            times.logits_s * 1e6,
            times.attended_s * 1e9,
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
                assert!(sequences.iter().all(|sequence| *sequence < rows()));
                let adapters = case.iter().flat_map(|part| &part.adapters);
                assert!(adapters.copied().all(|adapter| adapter < adapters::COUNT));
            }
        }
        assert!(cases(0).iter().any(|case| case[0].adapters.len() == 3));
    }

    #[test]
    fn the_planner_reads_what_is_written() {
        let shape = StepShape { tokens: 4, logits: 4, attended: 400, mixed: 0 };
        let samples = vec![Sample { shape, seconds: 0.02 }];
        let fit = StepTimes::fit(&samples).unwrap();
        let steps = Steps { repeats: 3, samples, fit };
        assert!(steps.table().contains("| 4 | 4 | 400 | 0 | 20.00 | 20.00 |"), "{}", steps.table());
        let json = serde_json::json!({ "version": 1, "steps": steps }).to_string();
        assert_eq!(StepTimes::from_bench("file", &json).unwrap(), steps.fit.times);
    }
}
