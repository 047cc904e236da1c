//! `bench history`: interactions through all tiers, and how many a second arrive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::journal::{Measured, closed, open};
use super::stats::percentiles;
use crate::cli::serve::ServeArgs;
use crate::config::Config;
use crate::history::{Archive, ArchiveState, History};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Interactions that end at the same time, one after another for each, one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "512", value_parser = clap::value_parser!(u16).range(1..=4096))]
    writers: Vec<u16>,
    /// Interactions that end in a second, evenly; one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = clap::value_parser!(u16).range(1..=20_000))]
    rates: Vec<u16>,
    /// How long each measurement writes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A journal is made in a new folder in the folder server.data, and removed; with history.postgres_url it drains into
    /// that database, which keeps what is written.
    #[command(flatten)]
    settings: ServeArgs,
}

pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    let config = args.settings.config()?;
    crate::cli::logging::start(&config.log)?;
    std::fs::create_dir_all(&config.server.data)?;
    let time = Duration::from_secs(args.seconds);
    crate::cli::runtime()?.block_on(async {
        println!(
            "{:<22} {:>9} {:>12} {:>12} {:>9} {:>9} {:>9} {:>9}",
            "interactions", "in all", "journal/s", "archive/s", "behind", "p50 ms", "p99 ms", "max ms"
        );
        for &writers in &args.writers {
            let measured = begin(&config).await?;
            let waits = closed(&measured.history, writers, time).await?;
            report(&measured, &format!("{writers} at a time"), waits).await;
        }
        for &rate in &args.rates {
            let measured = begin(&config).await?;
            let waits = open(&measured.history, rate, time).await?;
            report(&measured, &format!("{rate} a second, evenly"), waits).await;
        }
        Ok(())
    })
}

/// A history whose archive is there.
async fn begin(config: &Config) -> anyhow::Result<Measured> {
    let mut measured = Measured::open(&config.server.data, &config.history)?;
    let state = || measured.history.archive().map_or(ArchiveState::Up, Archive::state);
    while state() != ArchiveState::Up {
        anyhow::ensure!(
            measured.began.elapsed() < Duration::from_mins(1),
            "Postgres is not there after a minute: {:?}",
            state()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    measured.began = Instant::now();
    Ok(measured)
}

/// Waits until the archive has everything, and prints how long both took.
async fn report(measured: &Measured, what: &str, waits: Vec<f64>) {
    let history = &measured.history;
    let written = measured.began.elapsed().as_secs_f64();
    let behind = if history.archive().is_some() { history.journal().waiting() } else { 0 };
    archived(history).await;
    let archived = measured.began.elapsed().as_secs_f64();
    let records = history.journal().stats().records;
    let longest = waits.iter().copied().fold(0.0, f64::max);
    let waits = percentiles(waits);
    println!(
        "{what:<22} {records:>9} {:>12.0} {:>12.0} {behind:>9} {:>9.2} {:>9.2} {longest:>9.2}",
        records as f64 / written,
        records as f64 / archived,
        waits.p50,
        waits.p99,
    );
    let history = Arc::clone(history);
    // Fails if closing panicked, and the next one says so.
    let _ = tokio::task::spawn_blocking(move || history.close()).await;
}

/// Without an archive the journal is it, and there is nothing to wait for.
async fn archived(history: &Arc<History>) {
    let mut said = Instant::now();
    while history.archive().is_some() && history.journal().waiting() > 0 {
        if said.elapsed() > Duration::from_secs(10) {
            tracing::info!(waiting = history.journal().waiting(), "waiting for Postgres");
            said = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
