//! What it costs that rows change their adapters from request to request.

use std::fmt::Write;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::stats::median;
use super::{adapters, ask};
use crate::engine::{Engine, Mix};

/// Requests at the same time.
pub const ROWS: usize = 16;

/// Pairs of blocks in one repeat.
const PAIRS: u32 = 5;

/// Rounds of a block in which every row has a request; one more before them is not counted, for in it the rows of the
/// other kind of block change too.
const ROUNDS: usize = 3;

/// Short prompts and answers, so that the changes are many: all prompts of a round are one step.
const PROMPT: usize = 8;
const ANSWER: u32 = 16;

/// Every row has a mix of its own of four adapters; the same mixes are in every step.
#[derive(Debug, Serialize)]
pub struct Switching {
    pub rows: usize,
    /// Blocks of each kind, and requests of one.
    pub blocks: usize,
    pub requests_each: usize,
    /// Median time between two tokens of one row: rows keep their mix, and all rows have another one in each request.
    pub same_step_ms: f64,
    pub changing_step_ms: f64,
    /// Of blocks side by side in time.
    pub step_ratio: f64,
    /// Of the time from the first request of a round to the end of its last.
    pub round_ratio: f64,
}

/// What a block took.
struct Block {
    step_ms: f64,
    round_ms: f64,
}

/// Measures on an engine that has the bench's adapters; nothing else may run on it.
pub async fn measure(engine: &Engine, repeats: u32) -> anyhow::Result<Switching> {
    let pairs = PAIRS * repeats;
    eprintln!("==> {pairs} blocks of requests whose mixes change, and as many whose mixes stay");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mixes: Vec<Mix> = (0..ROWS).map(|row| adapters::different(row, &mut rng)).collect();
    let (mut same, mut changing) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        for changes in [pair % 2 == 0, pair % 2 == 1] {
            let measured = block(engine, &mixes, changes, &mut rng).await?;
            if changes { &mut changing } else { &mut same }.push(measured);
        }
    }
    let middle = |all: &[Block], value: fn(&Block) -> f64| median(all.iter().map(value).collect());
    let ratio = |value: fn(&Block) -> f64| {
        median(changing.iter().zip(&same).map(|(changing, same)| value(changing) / value(same)).collect())
    };
    Ok(Switching {
        rows: ROWS,
        blocks: same.len(),
        requests_each: ROWS * ROUNDS,
        same_step_ms: middle(&same, |block| block.step_ms),
        changing_step_ms: middle(&changing, |block| block.step_ms),
        step_ratio: ratio(|block| block.step_ms),
        round_ratio: ratio(|block| block.round_ms),
    })
}

async fn block(engine: &Engine, mixes: &[Mix], changes: bool, rng: &mut ChaCha8Rng) -> anyhow::Result<Block> {
    let (mut gaps, mut rounds) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let requests: Vec<_> = (0..mixes.len())
            .map(|row| {
                let mix = mixes[mix_of(row, round, changes, mixes.len())].clone();
                (ask::prompt(engine, PROMPT, rng), mix)
            })
            .collect();
        let start = Instant::now();
        let tasks = requests.into_iter().enumerate().map(|(row, (prompt, mix))| {
            let engine = engine.clone();
            tokio::spawn(async move { ask::answer(&engine, prompt, mix, ANSWER, row).await })
        });
        let tasks: Vec<_> = tasks.collect();
        for task in tasks {
            let seen = task.await??;
            if round > 0 {
                gaps.extend(seen.gaps_ms);
            }
        }
        if round > 0 {
            rounds.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Block { step_ms: median(gaps), round_ms: median(rounds) })
}

/// Which mix a row has: its own, or with every round the next one.
fn mix_of(row: usize, round: usize, changes: bool, mixes: usize) -> usize {
    (row + if changes { round } else { 0 }) % mixes
}

impl Switching {
    pub fn table(&self) -> String {
        let mut out = format!("| mixes of {} rows | between tokens p50 ms |\n|---|---|\n", self.rows);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| stay | {:.2} |", self.same_step_ms);
        let _ = writeln!(
            out,
            "| change with every request | {:.2}, {:.3} times as long (whole requests {:.3} times) |",
            self.changing_step_ms, self.step_ratio, self.round_ratio
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::mix_of;

    #[test]
    fn every_round_has_every_mix_and_a_row_that_changes_has_another_one() {
        for round in 0..20 {
            for changes in [false, true] {
                let mut all: Vec<_> = (0..16).map(|row| mix_of(row, round, changes, 16)).collect();
                all.sort_unstable();
                assert_eq!(all, (0..16).collect::<Vec<_>>());
            }
            assert_eq!(mix_of(3, round, false, 16), mix_of(3, round + 1, false, 16));
            assert_ne!(mix_of(3, round, true, 16), mix_of(3, round + 1, true, 16));
        }
    }
}
