//! Many more adapters than there is memory for.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::stats::{Percentiles, percentiles};
use super::{adapters, ask};
use crate::config;
use crate::engine::{Engine, Mix};

const REGISTERED: usize = 1000;

const MEMORY_MB: usize = 256;

const CLIENTS: usize = 16;

/// Requests of each client, one after another.
const REQUESTS: usize = 8;

/// Adapters of a mix.
const MIX: usize = 4;

const PROMPT: usize = 60;
const ANSWER: u32 = 32;

/// One run.
#[derive(Debug, Serialize)]
pub struct Registered {
    pub adapters: usize,
    pub memory_mb: usize,
    /// Adapters in memory at the end.
    pub resident: usize,
    pub requests: usize,
    /// Requests that did not end with an answer.
    pub errors: usize,
    /// Adapters that came back from disk.
    pub reads: u64,
    pub tokens_per_second: f64,
    pub first_token_ms: Percentiles,
}

/// Measures on an engine of its own, started by `start`.
pub async fn measure(
    start: impl Fn(&config::Engine) -> anyhow::Result<Engine>,
    config: &config::Engine,
    folder: &Path,
) -> anyhow::Result<Registered> {
    let mut config = config.clone();
    config.rows = config.rows.max(CLIENTS);
    config.queue = config.queue.max(CLIENTS);
    config.max_adapters = config.max_adapters.max(REGISTERED);
    config.adapter_memory_mb = MEMORY_MB;
    let engine = start(&config)?;
    eprintln!("==> {REGISTERED} adapters in {MEMORY_MB} MiB");
    for index in 0..REGISTERED {
        // Several of them are of the same numbers, and none of the same id.
        let folder = adapters::folder(folder, index % adapters::COUNT);
        engine.load_adapter(&adapters::id(index), &folder).await?;
    }
    let measured = load(&engine).await;
    engine.stop();
    measured
}

async fn load(engine: &Engine) -> anyhow::Result<Registered> {
    let before = engine.stats().adapter_reads;
    let start = Instant::now();
    let zipf = Arc::new(Zipf::new(REGISTERED));
    let tasks = (0..CLIENTS).map(|client| {
        let (engine, zipf) = (engine.clone(), Arc::clone(&zipf));
        tokio::spawn(async move {
            let mut rng = ChaCha8Rng::seed_from_u64(client as u64);
            let mut ends = Vec::new();
            for _ in 0..REQUESTS {
                let mix = zipf.mix(&mut rng);
                let prompt = ask::prompt(&engine, PROMPT, &mut rng);
                ends.push(ask::answer(&engine, prompt, mix, ANSWER, client).await);
            }
            ends
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut seen, mut errors) = (Vec::new(), 0);
    for task in tasks {
        for end in task.await.context("a client panicked")? {
            match end {
                Ok(end) => seen.push(end),
                Err(error) => {
                    tracing::error!(%error, "a request failed");
                    errors += 1;
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let stats = engine.stats();
    Ok(Registered {
        adapters: stats.adapters,
        memory_mb: MEMORY_MB,
        resident: stats.resident_adapters,
        requests: CLIENTS * REQUESTS,
        errors,
        reads: stats.adapter_reads - before,
        tokens_per_second: seen.iter().map(|s| f64::from(s.tokens)).sum::<f64>() / seconds.max(1e-9),
        first_token_ms: percentiles(seen.iter().map(|s| s.first_token_ms).collect()),
    })
}

/// Draws by Zipf's law: the second is named half as often as the first, the third a third as often.
struct Zipf {
    /// Sums of the weights, ascending.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let sums = (1..=count).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let at = rng.random::<f64>() * total;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1)
    }

    fn mix(&self, rng: &mut ChaCha8Rng) -> Mix {
        let mut drawn = Vec::new();
        while drawn.len() < MIX {
            let adapter = self.draw(rng);
            if !drawn.contains(&adapter) {
                drawn.push(adapter);
            }
        }
        drawn.into_iter().map(|adapter| adapters::weighted(adapter, rng.random_range(0.25..1.0))).collect()
    }
}

impl Registered {
    pub fn table(&self) -> String {
        let p = self.first_token_ms;
        format!(
            "| adapters | in memory | requests | errors | read again | tokens/s | first token p50 / p95 / p99 ms |\n\
             |---|---|---|---|---|---|---|\n\
             | {} in {} MiB | {} | {} | {} | {} | {:.0} | {:.0} / {:.0} / {:.0} |\n",
            self.adapters,
            self.memory_mb,
            self.resident,
            self.requests,
            self.errors,
            self.reads,
            self.tokens_per_second,
            p.p50,
            p.p95,
            p.p99
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_names_the_first_twice_as_often_as_the_second_and_all_sometimes() {
        let (zipf, mut rng) = (Zipf::new(10), ChaCha8Rng::seed_from_u64(1));
        let mut counts = [0_u32; 10];
        (0..20_000).for_each(|_| counts[zipf.draw(&mut rng)] += 1);
        let of_second = f64::from(counts[0]) / f64::from(counts[1]);
        assert!((1.8..2.2).contains(&of_second), "{counts:?}");
        assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
        let mut ids: Vec<_> = zipf.mix(&mut rng).into_iter().map(|weighted| weighted.adapter).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), MIX);
    }
}
