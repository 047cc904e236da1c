//! `bench journal`: how many turns a second the disk takes, and how long each waits for it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::stats::percentiles;
use crate::cli::serve::ServeArgs;
use crate::history::{Body, Heard, History, HotLimits, Kind, Record};
use crate::wire::{AdapterUse, TimingInfo, UsageInfo};

#[derive(Debug, Args)]
pub(super) struct JournalArgs {
    /// Turns that end at the same time, one after another for each, one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,16,256", value_parser = clap::value_parser!(u16).range(1..=4096))]
    writers: Vec<u16>,
    /// Turns that end in a second, evenly; one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rates: Vec<u16>,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A journal is made in a new folder in the folder server.data, and removed.
    #[command(flatten)]
    settings: ServeArgs,
}

pub(super) fn run(args: &JournalArgs) -> anyhow::Result<()> {
    let config = args.settings.config()?;
    super::super::logging::start(&config.log)?;
    std::fs::create_dir_all(&config.server.data)?;
    let time = Duration::from_secs(args.seconds);
    super::super::runtime()?.block_on(async {
        println!(
            "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "turns", "a second", "a commit", "p50 ms", "p99 ms", "max ms"
        );
        for &writers in &args.writers {
            let history = Measured::open(&config.server.data, &config.history)?;
            let waits = closed(&history.history, writers, time).await?;
            history.report(&format!("{writers} at a time"), waits);
        }
        for &rate in &args.rates {
            let history = Measured::open(&config.server.data, &config.history)?;
            let waits = open(&history.history, rate, time).await?;
            history.report(&format!("{rate} a second, evenly"), waits);
        }
        Ok(())
    })
}

/// A history in a folder of its own.
pub(super) struct Measured {
    pub history: Arc<History>,
    pub began: Instant,
    _folder: tempfile::TempDir,
}

impl Measured {
    pub fn open(data: &Path, config: &crate::config::History) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(data)?;
        let limits = HotLimits { conversations: 1000, window_min: 5, window_max: 10 };
        let history = History::open(folder.path(), config, limits)?;
        Ok(Self { history, began: Instant::now(), _folder: folder })
    }

    fn report(&self, what: &str, waits: Vec<f64>) {
        let seconds = self.began.elapsed().as_secs_f64();
        let stats = self.history.journal().stats();
        let longest = waits.iter().copied().fold(0.0, f64::max);
        let waits = percentiles(waits);
        println!(
            "{what:<22} {:>9.0} {:>9.1} {:>9.2} {:>9.2} {:>9.2}",
            stats.records as f64 / seconds,
            stats.records as f64 / stats.commits.max(1) as f64,
            waits.p50,
            waits.p99,
            longest,
        );
    }
}

/// Each writer waits for its turn before the next one ends. Returns how long each waited, in milliseconds.
pub(super) async fn closed(history: &Arc<History>, writers: u16, time: Duration) -> anyhow::Result<Vec<f64>> {
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let history = Arc::clone(history);
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < end {
                waits.push(put(&history, writer, waits.len()).await?);
            }
            anyhow::Ok(waits)
        });
    }
    gathered(tasks).await
}

/// Turns end at a rate, whether those before them are stored or not.
pub(super) async fn open(history: &Arc<History>, rate: u16, time: Duration) -> anyhow::Result<Vec<f64>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::from(rate));
    let mut tasks = JoinSet::new();
    for turn in 0..(f64::from(rate) * time.as_secs_f64()) as usize {
        ticks.tick().await;
        let history = Arc::clone(history);
        tasks.spawn(async move { anyhow::Ok(vec![put(&history, (turn % 100) as u16, turn).await?]) });
    }
    gathered(tasks).await
}

async fn gathered(mut tasks: JoinSet<anyhow::Result<Vec<f64>>>) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::new();
    while let Some(waits) = tasks.join_next().await {
        all.extend(waits??);
    }
    Ok(all)
}

/// Stores a turn; returns how long it took in milliseconds.
async fn put(history: &History, writer: u16, turn: usize) -> anyhow::Result<f64> {
    let record = record(writer, turn);
    let began = Instant::now();
    history.journal().put(&record).await?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// A turn as they are: a line of 300 characters, three adapters.
fn record(writer: u16, turn: usize) -> Record {
    let adapter = |task: &str| AdapterUse {
        id: format!("vampire/{task}"),
        task: task.to_owned(),
        version: "v1".to_owned(),
        weight: 1.0,
    };
    let text = "What do you know of the castle on the hill?";
    Record {
        id: Uuid::now_v7(),
        kind: Kind::Dialogue,
        npc: format!("npc-{}", writer % 100),
        player: format!("player-{writer}"),
        heard: Heard { said: "The night is long, and I have time. ".repeat(9), chars: None },
        body: Body {
            session: Some(Uuid::new_v4().simple().to_string()),
            context: Some("A tavern at night. It rains.".to_owned()),
            adapters: ["dialogue_style", "personality", "world_knowledge"].map(adapter).to_vec(),
            usage: UsageInfo { prompt_tokens: 300, cached_tokens: 250, generated_tokens: 75 },
            timing: TimingInfo { queue_ms: 3, ttft_ms: 60, total_ms: 1500 },
            ..Body::happened(&format!("turn-{turn}"), "vampire", text.to_owned(), 1_700_000_000_000)
        },
    }
}
