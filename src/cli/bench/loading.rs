//! What adapters that are read from disk cost the streams that run meanwhile.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::adapters::{self, COUNT};
use super::ask;
use super::figures::Seen;
use super::stats::{Percentiles, median, percentiles};
use crate::config;
use crate::engine::{Engine, Mix};

/// Streams that run.
const STREAMS: usize = 16;

/// Adapters that the streams use, and room for others beside them: fewer than there are.
const USED: usize = 16;
const ROOM: usize = 8;

/// Pairs of phases in one repeat.
const PAIRS: u32 = 2;

const PROMPT: usize = 8;
const ANSWER: u32 = 200;

/// Every so often one adapter is loaded that is new, and one comes back that was pushed out.
const EVERY: Duration = Duration::from_millis(200);

/// Phases in which adapters are read, and phases in which none is.
#[derive(Debug, Serialize)]
pub struct Loading {
    pub streams: usize,
    /// Of each kind.
    pub phases: usize,
    /// In all phases: adapters that were registered, and those that came back because a request named them.
    pub loaded: u64,
    pub returned: u64,
    /// Medians over the phases.
    pub quiet_inter_token_ms: Percentiles,
    pub reading_inter_token_ms: Percentiles,
    /// What loading adds to the 99th percentile, in steps of the median time.
    pub added_steps: f64,
}

/// Measures on an engine of its own, started by `start`, that has memory for fewer adapters than there are.
pub async fn measure(
    start: impl Fn(&config::Engine) -> anyhow::Result<Engine>,
    config: &config::Engine,
    folder: &Path,
    repeats: u32,
) -> anyhow::Result<Loading> {
    let mut config = config.clone();
    config.rows = config.rows.max(STREAMS + 1);
    config.queue = config.queue.max(STREAMS + 1);
    config.max_adapters = config.max_adapters.max(4096);
    let probe = start(&config)?;
    let bytes = probe.load_adapter("probe", &adapters::folder(folder, 0)).await?.bytes;
    probe.stop();
    config.adapter_memory_mb = (bytes * (USED + ROOM)).div_ceil(1 << 20);
    let engine = start(&config)?;
    adapters::load(&engine, folder).await?;
    let measured = phases(&engine, folder, repeats).await;
    engine.stop();
    measured
}

async fn phases(engine: &Engine, folder: &Path, repeats: u32) -> anyhow::Result<Loading> {
    let pairs = PAIRS * repeats;
    eprintln!("==> {pairs} phases of {STREAMS} streams while adapters are read, and as many without");
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    streams(engine, &mut rng).await?;
    let before = engine.stats().adapter_reads;
    let mut reader = Reader { next: 0, folder, rng: ChaCha8Rng::seed_from_u64(3) };
    let (mut quiet, mut loading) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        for reads in [pair % 2 == 1, pair % 2 == 0] {
            if reads {
                let done = AtomicBool::new(false);
                let streams = async {
                    let gaps = streams(engine, &mut rng).await;
                    done.store(true, Ordering::Release);
                    gaps
                };
                let (gaps, read) = tokio::join!(streams, reader.read_until(engine, &done));
                read?;
                loading.push(percentiles(gaps?));
            } else {
                quiet.push(percentiles(streams(engine, &mut rng).await?));
            }
        }
    }
    let returned = engine.stats().adapter_reads - before;
    let (quiet_ms, loading_ms) = (Percentiles::median(&quiet), Percentiles::median(&loading));
    let added = quiet.iter().zip(&loading).map(|(quiet, loading)| (loading.p99 - quiet.p99) / quiet.p50);
    Ok(Loading {
        streams: STREAMS,
        phases: quiet.len(),
        loaded: reader.next as u64,
        returned,
        quiet_inter_token_ms: quiet_ms,
        reading_inter_token_ms: loading_ms,
        added_steps: median(added.collect()),
    })
}

/// The times between tokens of streams that begin together, while all of them run.
async fn streams(engine: &Engine, rng: &mut ChaCha8Rng) -> anyhow::Result<Vec<f64>> {
    let tasks = (0..STREAMS).map(|stream| {
        let mix: Mix = (stream..stream + 4).map(|at| adapters::weighted(at % USED, 0.5)).collect();
        let (engine, prompt) = (engine.clone(), ask::prompt(engine, PROMPT, rng));
        tokio::spawn(async move { ask::answer(&engine, prompt, mix, ANSWER, stream).await })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    Ok(while_all_run(&all))
}

/// The times between tokens after the last of the streams had its first, and before the first of them had its last.
pub(super) fn while_all_run(all: &[Seen]) -> Vec<f64> {
    let from = all.iter().map(|seen| seen.first_token_ms).fold(0.0, f64::max);
    let until = all.iter().filter_map(|seen| seen.times_ms().last()).fold(f64::INFINITY, f64::min);
    let within = |seen: &Seen| -> Vec<f64> {
        let begins = seen.times_ms().zip(&seen.gaps_ms);
        begins.filter(|(begin, gap)| *begin >= from && begin + **gap <= until).map(|(_, gap)| *gap).collect()
    };
    all.iter().flat_map(within).collect()
}

/// Has adapters read from disk.
struct Reader<'a> {
    /// Adapters that were registered anew.
    next: usize,
    folder: &'a Path,
    rng: ChaCha8Rng,
}

impl Reader<'_> {
    async fn read_until(&mut self, engine: &Engine, done: &AtomicBool) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(EVERY);
        while !done.load(Ordering::Acquire) {
            ticks.tick().await;
            // One that is new, and that leaves its room to the next one.
            let (id, at) = (format!("new/{}", self.next), self.next % COUNT);
            self.next += 1;
            engine.load_adapter(&id, &adapters::folder(self.folder, at)).await?;
            tokio::time::sleep(EVERY / 2).await;
            engine.drop_adapter(&id)?;
            // One that nobody has named for longer than there is room for.
            let absent = vec![adapters::weighted(USED + self.next % (COUNT - USED), 0.5)];
            let prompt = ask::prompt(engine, PROMPT, &mut self.rng);
            ask::answer(engine, prompt, absent, 1, STREAMS).await?;
        }
        Ok(())
    }
}

impl Loading {
    pub fn table(&self) -> String {
        let mut out =
            format!("| {} streams | between tokens p50 / p95 / p99 ms |\n|---|---|\n", self.streams);
        let row = |p: Percentiles| format!("{:.2} / {:.2} / {:.2}", p.p50, p.p95, p.p99);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| no adapter is read | {} |", row(self.quiet_inter_token_ms));
        let _ = writeln!(
            out,
            "| {} loaded, {} come back | {}: {:.2} steps more at p99 |",
            self.loaded,
            self.returned,
            row(self.reading_inter_token_ms),
            self.added_steps
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_count_while_all_streams_run() {
        let of = |first_token_ms, gaps_ms: &[f64]| Seen {
            first_token_ms,
            gaps_ms: gaps_ms.to_vec(),
            reply: "x".to_owned(),
            ..Seen::default()
        };
        // The first one's tokens come at 10, 20, 40 and 50 ms, the second one's at 20, 40, 50 and 60.
        let gaps = while_all_run(&[of(10.0, &[10.0, 20.0, 10.0]), of(20.0, &[20.0, 10.0, 10.0])]);
        assert_eq!(gaps, [20.0, 10.0, 20.0, 10.0]);
        assert!(while_all_run(&[]).is_empty());
    }
}
