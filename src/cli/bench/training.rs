//! What training beside the server costs its streams.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use serde_json::json;

use super::loading::while_all_run;
use super::stats::{Percentiles, median, percentiles};
use super::{ask, words};
use crate::archetype::Task;
use crate::config;
use crate::engine::{Engine, Mix};
use crate::provision::TrainerCommand;

/// Streams that run: one, as when nobody else plays, and many.
const STREAMS: [usize; 2] = [1, 16];
/// Pairs of phases in one repeat.
const PAIRS: u32 = 2;
const PROMPT: usize = 8;
const ANSWER: u32 = 200;
/// Lines that the trainer learns from, and how often: more than a measurement takes.
const LINES: usize = 200;
const EPOCHS: u32 = 1000;
/// From its start to its first step.
const PATIENCE: Duration = Duration::from_mins(10);

const ARCHETYPE: &str = "apprentice";
const PACK: &str = r#"
name = "apprentice"
title = "Apprentice"
names = ["Wat"]
persona = "You are {name}, an apprentice."
overload_lines = ["Later."]
"#;

/// Phases beside a trainer, and phases in which it is stopped.
#[derive(Debug, Serialize)]
pub struct Training {
    pub cases: Vec<Case>,
}

/// For one number of streams.
#[derive(Debug, Serialize)]
pub struct Case {
    pub streams: usize,
    /// Of each kind.
    pub phases: usize,
    /// Time that the trainer computed in its phases, on all cores together, in seconds; only Linux tells.
    pub trainer_cpu_s: Option<f64>,
    /// Medians over the phases.
    pub quiet_inter_token_ms: Percentiles,
    pub training_inter_token_ms: Percentiles,
    /// Median over pairs of phases of the 99th percentiles: beside the trainer over without.
    pub p99_ratio: f64,
}

/// Measures on an engine of its own, with the trainer as the server runs it.
pub async fn measure(
    start: impl Fn(&config::Engine) -> anyhow::Result<Engine>,
    config: &config::Engine,
    trainer: &TrainerCommand,
    folder: &Path,
    repeats: u32,
) -> anyhow::Result<Training> {
    let (packs, work) = (folder.join("apprentices"), folder.join("apprentice"));
    write_pack(&packs)?;
    let engine = start(config)?;
    let trainer = TrainerCommand { packs, epochs: EPOCHS, ..trainer.clone() };
    let (running, mut said) = trainer.start(ARCHETYPE, &[Task::DialogueStyle], &work).await?;
    let group = running.group().context("the trainer runs")?;
    eprintln!("==> waiting for the trainer's first step");
    let first = tokio::time::timeout(PATIENCE, said.next()).await.context("it does no step")??;
    first.context("the trainer ended before its first step")?;
    // What it says must be read, or it waits.
    let reading =
        tokio::spawn(async move { while said.next().await.is_ok_and(|progress| progress.is_some()) {} });
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut cases = Vec::new();
    for streams in STREAMS {
        let pairs = PAIRS * repeats;
        eprintln!("==> {pairs} phases of {streams} streams beside a trainer, and as many without");
        signal(group, Signal::STOP)?;
        phase(&engine, streams, &mut rng).await?;
        let (mut quiet, mut training) = (Vec::new(), Vec::new());
        let before = computed_s(group);
        for pair in 0..pairs {
            for trains in [pair % 2 == 1, pair % 2 == 0] {
                anyhow::ensure!(!reading.is_finished(), "the trainer ended while it was measured");
                signal(group, if trains { Signal::CONT } else { Signal::STOP })?;
                let gaps = percentiles(phase(&engine, streams, &mut rng).await?);
                if trains { &mut training } else { &mut quiet }.push(gaps);
            }
        }
        let ratios = quiet.iter().zip(&training).map(|(quiet, training)| training.p99 / quiet.p99);
        cases.push(Case {
            streams,
            phases: quiet.len(),
            trainer_cpu_s: computed_s(group).zip(before).map(|(now, before)| now - before),
            quiet_inter_token_ms: Percentiles::median(&quiet),
            training_inter_token_ms: Percentiles::median(&training),
            p99_ratio: median(ratios.collect()),
        });
    }
    // Kills the trainer.
    drop(running);
    engine.stop();
    Ok(Training { cases })
}

/// Time that the leader of a group has computed, in seconds.
fn computed_s(leader: Pid) -> Option<f64> {
    /// Of the times that Linux tells: USER_HZ, the same on all machines.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", leader.as_raw_nonzero())).ok()?;
    // Behind the name, which may hold anything, in brackets: state is the first, utime the twelfth, stime behind it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let times: Vec<f64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    (times.len() == 2).then(|| times.iter().sum::<f64>() / TICKS_PER_S)
}

fn signal(group: Pid, signal: Signal) -> anyhow::Result<()> {
    kill_process_group(group, signal).context("the trainer ended while it was measured")
}

/// The times between tokens of streams that begin together, while all of them run.
async fn phase(engine: &Engine, streams: usize, rng: &mut ChaCha8Rng) -> anyhow::Result<Vec<f64>> {
    let tasks = (0..streams).map(|stream| {
        let (engine, prompt) = (engine.clone(), ask::prompt(engine, PROMPT, rng));
        tokio::spawn(async move { ask::answer(&engine, prompt, Mix::new(), ANSWER, stream).await })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    Ok(while_all_run(&all))
}

/// A pack whose lines are random words.
fn write_pack(packs: &Path) -> std::io::Result<()> {
    let pack = packs.join(ARCHETYPE);
    std::fs::create_dir_all(pack.join("lines"))?;
    std::fs::write(pack.join("pack.toml"), PACK)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut lines = String::new();
    for _ in 0..LINES {
        let (mut said, mut answer) = (words::mark(&mut rng), words::mark(&mut rng));
        words::extend(&mut said, 12, &mut rng);
        words::extend(&mut answer, 16, &mut rng);
        let messages = json!([{"role": "user", "content": said}, {"role": "assistant", "content": answer}]);
        // Writing into a string does not fail.
        let _ = writeln!(lines, "{}", json!({ "messages": messages }));
    }
    std::fs::write(pack.join("lines").join("dialogue_style.jsonl"), lines)
}

impl Training {
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| streams | ms between tokens, p50 / p95 / p99 | beside a trainer | p99 beside over without | the trainer's CPU time |\n\
             |---|---|---|---|---|\n",
        );
        let row = |p: Percentiles| format!("{:.2} / {:.2} / {:.2}", p.p50, p.p95, p.p99);
        for case in &self.cases {
            let (quiet, training) = (row(case.quiet_inter_token_ms), row(case.training_inter_token_ms));
            let ratio = case.p99_ratio;
            let computed = case.trainer_cpu_s.map_or_else(|| "not known".to_owned(), |s| format!("{s:.1} s"));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "| {} | {quiet} | {training} | {ratio:.2} | {computed} |", case.streams);
        }
        out
    }
}
