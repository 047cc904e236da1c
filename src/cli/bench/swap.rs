//! What promoting versions of adapters costs: until the first answer with the new ones, and the streams that run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::adapters;
use super::ask;
use super::loading::while_all_run;
use super::stats::{Percentiles, median, percentiles};
use crate::archetype::Task;
use crate::chain::{Archetype, Chains, Setup};
use crate::config;
use crate::engine::{Engine, Mix, Weighted};

/// Streams that run.
const STREAMS: usize = 16;
/// Versions of each task: more than are kept, so that every promotion reads one.
const VERSIONS: u32 = 4;
/// Pairs of phases in one repeat.
const PAIRS: u32 = 2;
const PROMPT: usize = 8;
const ANSWER: u32 = 200;
/// Between two promotions.
const EVERY: Duration = Duration::from_millis(200);

/// Phases with promotions of all seven tasks, and phases without.
#[derive(Debug, Serialize)]
pub struct Swap {
    pub streams: usize,
    /// Of each kind.
    pub phases: usize,
    pub promotions: usize,
    /// From the call until turns that begin use the new versions, which are read from disk and checked before.
    pub promote_ms: Percentiles,
    /// From the call to the first token of an answer with them.
    pub first_token_ms: Percentiles,
    /// From a request to its first token beside the same streams, while nothing is promoted.
    pub usual_first_token_ms: Percentiles,
    /// Medians over the phases.
    pub quiet_inter_token_ms: Percentiles,
    pub swapping_inter_token_ms: Percentiles,
    /// What promoting adds to the 99th percentile, in steps of the median time.
    pub added_steps: f64,
}

/// Measures on an engine of its own, started by `start`.
pub async fn measure(
    start: impl Fn(&config::Engine) -> anyhow::Result<Engine>,
    config: &config::Engine,
    folder: &Path,
    repeats: u32,
) -> anyhow::Result<Swap> {
    let mut config = config.clone();
    config.rows = config.rows.max(STREAMS + 1);
    config.queue = config.queue.max(STREAMS + 1);
    let engine = start(&config)?;
    let (packs, data) = (folder.join("packs"), folder.join("data"));
    for version in 1..=VERSIONS {
        adapters::write_version(engine.model(), &packs, version)?;
    }
    let setup = Setup {
        folder: Some(packs),
        engine: Some(engine.clone()),
        memory: config.adapter_memory_mb << 20,
        data: Some(data),
        server: "bench".into(),
    };
    let chains = Chains::open(setup).await?;
    let measured = phases(&engine, &chains, repeats).await;
    engine.stop();
    measured
}

async fn phases(engine: &Engine, chains: &Chains, repeats: u32) -> anyhow::Result<Swap> {
    let archetype = chains.get(adapters::ARCHETYPES[0]).context("the pack was written")?;
    let pairs = PAIRS * repeats;
    eprintln!("==> {pairs} phases of {STREAMS} streams while versions are promoted, and as many without");
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    streams(engine, &archetype, &mut rng).await?;
    let mut promoter =
        Promoter { engine, chains, archetype: &archetype, next: 0, rng: ChaCha8Rng::seed_from_u64(5) };
    let (mut quiet, mut swapping) = (Vec::new(), Vec::new());
    let (mut promotes, mut firsts, mut usual) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        for swaps in [pair % 2 == 1, pair % 2 == 0] {
            let done = AtomicBool::new(false);
            let streams = async {
                let gaps = streams(engine, &archetype, &mut rng).await;
                done.store(true, Ordering::Release);
                gaps
            };
            let (gaps, seen) = tokio::join!(streams, promoter.run_until(&done, swaps));
            let (phase, seen) = (percentiles(gaps?), seen?);
            if swaps {
                swapping.push(phase);
                promotes.extend(seen.iter().map(|(promote, _)| *promote));
                firsts.extend(seen.iter().map(|(_, first)| *first));
            } else {
                quiet.push(phase);
                usual.extend(seen.iter().map(|(_, first)| *first));
            }
        }
    }
    let added = quiet.iter().zip(&swapping).map(|(quiet, swapping)| (swapping.p99 - quiet.p99) / quiet.p50);
    Ok(Swap {
        streams: STREAMS,
        phases: quiet.len(),
        promotions: promotes.len(),
        promote_ms: percentiles(promotes),
        first_token_ms: percentiles(firsts),
        usual_first_token_ms: percentiles(usual),
        quiet_inter_token_ms: Percentiles::median(&quiet),
        swapping_inter_token_ms: Percentiles::median(&swapping),
        added_steps: median(added.collect()),
    })
}

/// The adapters of a line that begins now.
fn mix(archetype: &Archetype) -> Mix {
    let routes = archetype.routes("bench");
    let weighted =
        |task: Task| Some(Weighted { adapter: Arc::clone(&routes.adapter(task)?.key), weight: 0.5 });
    Task::SPOKEN.into_iter().filter_map(weighted).collect()
}

/// The times between tokens of streams that begin together, while all of them run.
async fn streams(engine: &Engine, archetype: &Archetype, rng: &mut ChaCha8Rng) -> anyhow::Result<Vec<f64>> {
    let tasks = (0..STREAMS).map(|stream| {
        let (engine, mix, prompt) = (engine.clone(), mix(archetype), ask::prompt(engine, PROMPT, rng));
        tokio::spawn(async move { ask::answer(&engine, prompt, mix, ANSWER, stream).await })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    Ok(while_all_run(&all))
}

/// Promotes one version after another, and asks for an answer with each.
struct Promoter<'a> {
    engine: &'a Engine,
    chains: &'a Chains,
    archetype: &'a Archetype,
    next: u32,
    rng: ChaCha8Rng,
}

impl Promoter<'_> {
    /// Milliseconds from each call until it was promoted and until its first token; `promotes`: whether anything is
    /// promoted at all.
    async fn run_until(&mut self, done: &AtomicBool, promotes: bool) -> anyhow::Result<Vec<(f64, f64)>> {
        let mut seen = Vec::new();
        let mut ticks = tokio::time::interval(EVERY);
        while !done.load(Ordering::Acquire) {
            ticks.tick().await;
            let prompt = ask::prompt(self.engine, PROMPT, &mut self.rng);
            let begin = Instant::now();
            if promotes {
                self.next += 1;
                let version = self.next % VERSIONS + 1;
                let all: BTreeMap<Task, u32> = Task::ALL.into_iter().map(|task| (task, version)).collect();
                self.chains.promote_all(adapters::ARCHETYPES[0], &all).await?;
            }
            let promoted = begin.elapsed().as_secs_f64() * 1e3;
            ask::answer(self.engine, prompt, mix(self.archetype), 1, STREAMS).await?;
            seen.push((promoted, begin.elapsed().as_secs_f64() * 1e3));
        }
        Ok(seen)
    }
}

impl Swap {
    pub fn table(&self) -> String {
        let mut out = format!("| {} streams | p50 / p95 / p99 ms |\n|---|---|\n", self.streams);
        let row = |p: Percentiles| format!("{:.2} / {:.2} / {:.2}", p.p50, p.p95, p.p99);
        let count = self.promotions;
        // Writing to a string cannot fail; so below.
        let _ = writeln!(out, "| promoting seven adapters, {count} times | {} |", row(self.promote_ms));
        let _ =
            writeln!(out, "| from there to the first token with them, both | {} |", row(self.first_token_ms));
        let _ = writeln!(out, "| a first token without | {} |", row(self.usual_first_token_ms));
        let _ = writeln!(out, "| between tokens, nothing is promoted | {} |", row(self.quiet_inter_token_ms));
        let _ = writeln!(
            out,
            "| between tokens while versions are promoted | {}: {:.2} steps more at p99 |",
            row(self.swapping_inter_token_ms),
            self.added_steps
        );
        out
    }
}
