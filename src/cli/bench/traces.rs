//! What it costs that logs and spans are on.

use std::fmt::Write;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tracing::field::Empty;
use tracing::{Instrument, error_span};

use super::ask;
use super::stats::median;
use crate::cli::logging::Switch;
use crate::engine::{Engine, Mix};

/// Requests at the same time.
const ROWS: usize = 16;

/// Pairs of rounds in one repeat.
const PAIRS: u32 = 5;

const PROMPT: usize = 64;
const ANSWER: u32 = 64;

/// Rounds in which every row has a request, with everything off and with the settings' `log.level`, in turns.
#[derive(Debug, Serialize)]
pub struct Traces {
    pub level: String,
    pub rows: usize,
    /// Of each kind.
    pub rounds: usize,
    /// Generated tokens over the time from the first request of a round to the end of its last; medians.
    pub off_tokens_per_second: f64,
    pub on_tokens_per_second: f64,
    /// On over off, of rounds side by side in time; the median.
    pub throughput_ratio: f64,
    /// The same of rounds that are both off: how far it is from 1 by itself.
    pub still_ratio: f64,
}

/// Measures on an engine on which nothing else runs.
pub async fn measure(engine: &Engine, switch: &Switch, repeats: u32) -> anyhow::Result<Traces> {
    let pairs = PAIRS * repeats;
    eprintln!("==> {pairs} times two rounds with logs and spans off and one with them on");
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    // The first round pays for memory that is touched for the first time.
    round(engine, &mut rng).await?;
    let (mut off, mut on, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        // Each kind comes first, in the middle and last alike.
        for place in 0..3 {
            let into = [&mut off, &mut on, &mut again];
            let kind = ((pair + place) % 3) as usize;
            switch.turn(kind == 1)?;
            let measured = round(engine, &mut rng).await?;
            if let Some(into) = into.into_iter().nth(kind) {
                into.push(measured);
            }
        }
    }
    switch.turn(true)?;
    let ratio = |over: &[f64]| median(over.iter().zip(&off).map(|(over, off)| over / off).collect());
    Ok(Traces {
        level: switch.level().to_owned(),
        rows: ROWS,
        rounds: off.len(),
        throughput_ratio: ratio(&on),
        still_ratio: ratio(&again),
        off_tokens_per_second: median(off),
        on_tokens_per_second: median(on),
    })
}

/// Tokens a second. Every request is in a span, as that of a turn is.
async fn round(engine: &Engine, rng: &mut ChaCha8Rng) -> anyhow::Result<f64> {
    let prompts: Vec<_> = (0..ROWS).map(|_| ask::prompt(engine, PROMPT, rng)).collect();
    let start = Instant::now();
    let tasks = prompts.into_iter().enumerate().map(|(row, prompt)| {
        let engine = engine.clone();
        let span = error_span!("turn", turn = row, npc = "bench", session = "bench", ended = Empty);
        let answer = async move { ask::answer(&engine, prompt, Mix::new(), ANSWER, row).await };
        tokio::spawn(answer.instrument(span))
    });
    let tasks: Vec<_> = tasks.collect();
    let mut tokens = 0;
    for task in tasks {
        tokens += task.await??.tokens;
    }
    Ok(f64::from(tokens) / start.elapsed().as_secs_f64())
}

impl Traces {
    pub fn table(&self) -> String {
        let mut out = format!("| logs and spans, {} rows | tokens/s |\n|---|---|\n", self.rows);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| off | {:.0} (off over off: {:.3}) |",
            self.off_tokens_per_second, self.still_ratio
        );
        let _ = writeln!(
            out,
            "| on, log.level = {:?} | {:.0}, {:.3} times as many |",
            self.level, self.on_tokens_per_second, self.throughput_ratio
        );
        out
    }
}
