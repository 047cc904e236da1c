//! `bench recall`: how long it takes until an NPC remembers, and in how much memory.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::{NoContext, Timestamp, Uuid};

use super::stats::percentiles;
use crate::cli::serve::ServeArgs;
use crate::config::History;
use crate::history::{Kind, Line, Memory, Origin, Recall, Warm, tell};

/// Players that each NPC talks with.
const PLAYERS: u32 = 4;
/// Words that memories are made of; the rank of each decides how often it is taken, by Zipf's law.
const WORDS: u32 = 5000;
/// Memories between two waits for the warm tier, which takes some thousand at a time.
const BURST: usize = 5000;
/// The first memory's moment, and the time between two.
const START_MS: u64 = 1_700_000_000_000;
const STEP_MS: u64 = 10;

#[derive(Debug, Args)]
pub(super) struct RecallArgs {
    /// Interactions that have happened, one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    interactions: Vec<u32>,
    /// NPCs that they are spread over.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    npcs: u32,
    /// Lines for which an NPC remembers, for each measurement.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    lines: u32,
    /// history.redis_url, history.warm_mb, history.recall_mb and history.recall_tokens are used.
    #[command(flatten)]
    settings: ServeArgs,
}

pub(super) fn run(args: &RecallArgs) -> anyhow::Result<()> {
    let config = args.settings.config()?;
    super::super::logging::start(&config.log)?;
    super::super::runtime()?.block_on(async {
        println!(
            "{:<22} {:>12} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
            "a line's memories", "interactions", "p50 ms", "p99 ms", "max ms", "found", "held MB", "rss MB"
        );
        for &interactions in &args.interactions {
            measure(args, &config.history, interactions).await?;
        }
        Ok(())
    })
}

async fn measure(args: &RecallArgs, config: &History, interactions: u32) -> anyhow::Result<()> {
    let mut bench = Bench {
        random: StdRng::seed_from_u64(interactions.into()),
        npcs: args.npcs,
        now_ms: START_MS + u64::from(interactions) * STEP_MS,
        budget: config.recall_tokens,
        recall: Recall::new(config.recall_mb << 20),
        warm: Warm::open(config, &format!("bench-{}", Uuid::new_v4().simple()))?,
    };
    for at in 0..interactions {
        let memory = Arc::new(bench.memory(u64::from(at)));
        bench.recall.remember(&memory);
        bench.warm.put(&memory);
        if at as usize % BURST == BURST - 1 {
            bench.warm.flush().await;
        }
    }
    bench.warm.flush().await;
    anyhow::ensure!(bench.warm.dropped() == 0, "{} memories were not written to Redis", bench.warm.dropped());
    let mut fetched = Measured::default();
    let mut held = Measured::default();
    for _ in 0..args.lines {
        let (npc, player) = bench.pair();
        let text = bench.words(8);
        fetched.add(bench.line(&npc, &player, &text, true).await?);
        // The same conversation goes on.
        let text = bench.words(8);
        held.add(bench.line(&npc, &player, &text, false).await?);
    }
    fetched.report("fetched from warm", interactions, &bench.recall);
    held.report("in memory", interactions, &bench.recall);
    Ok(())
}

struct Bench {
    random: StdRng,
    npcs: u32,
    now_ms: u64,
    budget: usize,
    recall: Recall,
    warm: Warm,
}

#[derive(Default)]
struct Measured {
    times: Vec<f64>,
    found: usize,
}

impl Measured {
    fn add(&mut self, (took, found): (Duration, usize)) {
        self.times.push(took.as_secs_f64() * 1e3);
        self.found += found;
    }

    fn report(self, what: &str, interactions: u32, recall: &Recall) {
        let longest = self.times.iter().copied().fold(0.0, f64::max);
        let found = self.found as f64 / self.times.len().max(1) as f64;
        let times = percentiles(self.times);
        println!(
            "{what:<22} {interactions:>12} {:>9.3} {:>9.3} {longest:>9.3} {found:>9.1} {:>8.0} {:>8}",
            times.p50,
            times.p99,
            recall.stats().bytes as f64 / f64::from(1 << 20),
            resident_mb().map_or_else(|| "?".to_owned(), |mb| mb.to_string()),
        );
    }
}

impl Bench {
    /// An NPC and one of its players.
    fn pair(&mut self) -> (String, String) {
        let npc = self.random.random_range(0..self.npcs);
        let player = npc.wrapping_mul(PLAYERS) + self.random.random_range(0..PLAYERS);
        (format!("npc-{npc}"), format!("player-{player}"))
    }

    /// Words, the common ones often.
    fn words(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let rank = f64::from(WORDS).powf(self.random.random::<f64>()) as u32;
            // Writing to a string does not fail.
            let _ = write!(text, "word{rank} ");
        }
        text
    }

    /// The memory of a line of a dozen words and its answer; one in twenty is something that two others saw, and one in
    /// ten was heard by somebody else.
    fn memory(&mut self, at: u64) -> Memory {
        let (npc, player) = self.pair();
        let at_ms = START_MS + at * STEP_MS;
        let timestamp = Timestamp::from_unix(
            NoContext,
            at_ms / 1000,
            (at_ms % 1000 * 1_000_000) as u32 + (at % 1000) as u32,
        );
        let event = self.random.random_bool(0.05);
        let listener = !event && self.random.random_bool(0.1);
        let text = self.words(12);
        Memory {
            id: Uuid::new_v7(timestamp),
            kind: if event { Kind::Event } else { Kind::Dialogue },
            turn: format!("turn-{at}"),
            archetype: "vampire".to_owned(),
            text,
            context: None,
            reply: if event { String::new() } else { self.words(25) },
            audience: if listener { vec![self.pair().1] } else { Vec::new() },
            witnesses: if event { vec![self.pair().0, self.pair().0] } else { Vec::new() },
            importance: None,
            at_ms,
            npc,
            player,
        }
    }

    /// What a line's NPC remembers: how long it took, and how many memories there were. `fetch`: they are read from the
    /// warm tier first, as for the first line of somebody whose memories are not held.
    async fn line(
        &self,
        npc: &str,
        player: &str,
        text: &str,
        fetch: bool,
    ) -> anyhow::Result<(Duration, usize)> {
        let began = Instant::now();
        let mut found = 0;
        if fetch {
            let read = self.warm.read(npc, player, Duration::from_secs(5)).await;
            let memories = read.ok_or_else(|| anyhow::anyhow!("Redis does not answer"))?;
            found = memories.len();
            self.recall.fill(npc, player, &memories, Origin::Warm);
        }
        let line = Line {
            npc,
            archetype: "vampire",
            player,
            audience: &[],
            text,
            shown: HashSet::new(),
            now_ms: self.now_ms,
        };
        let memories = self.recall.search(&line);
        std::hint::black_box(tell(&memories, &line, self.budget, |text| text.len() / 4));
        Ok((began.elapsed(), if fetch { found } else { memories.len() }))
    }
}

/// Of this process.
fn resident_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
