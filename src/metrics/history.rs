//! The tiers of what was said.

use std::fmt;

use super::bounds;
use super::by::By;
use super::kinds::{Counter, Gauge, Histogram};
use super::labels::label;
use super::page::Page;

/// Whether something was in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    Hit,
    Miss,
}

label!(Lookup, "result" { Hit = "hit", Miss = "miss" });

/// What came of reading the warm tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Hit,
    Miss,
    /// No answer in time.
    Failed,
}

label!(Read, "result" { Hit = "hit", Miss = "miss", Failed = "failed" });

/// What came to an NPC's mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    Found,
    Nothing,
}

label!(Search, "result" { Found = "found", Nothing = "nothing" });

/// How something ended that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Done,
    Failed,
}

label!(Done, "result" { Done = "done", Failed = "failed" });

/// Why the drain began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveCause {
    Away,
    Refused,
    Held,
    Other,
}

label!(ArchiveCause, "cause" { Away = "away", Refused = "refused", Held = "held", Other = "other" });

/// The hot tier.
#[derive(Debug, Default)]
pub struct HotMetrics {
    pub lookups: By<Lookup>,
    pub evictions: Counter,
}

impl HotMetrics {
    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer; so below.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.by("hot_lookups", "Prompts for which the conversation was in memory, or not", &self.lookups)?;
        page.counter(
            "hot_evictions",
            "Conversations that left because others took their room",
            &self.evictions,
        )
    }
}

/// What the tiers do together.
#[derive(Debug)]
pub struct HistoryMetrics {
    pub hydrations: By<Done>,
    pub hydration: Histogram,
    pub searches: By<Search>,
    pub recall: Histogram,
    pub warm_reads: By<Read>,
    pub warm_read: Histogram,
}

impl Default for HistoryMetrics {
    fn default() -> Self {
        Self {
            hydrations: By::default(),
            hydration: Histogram::new(bounds::TURN),
            searches: By::default(),
            recall: Histogram::new(bounds::STORE),
            warm_reads: By::default(),
            warm_read: Histogram::new(bounds::STORE),
        }
    }
}

impl HistoryMetrics {
    /// As [`HotMetrics::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.by("hydrations", "Conversations and memories fetched at a join", &self.hydrations)?;
        page.histogram("hydration_seconds", "Time that fetching them took", &self.hydration)?;
        page.by(
            "recall_searches",
            "Lines for which something came to the NPC's mind, or nothing",
            &self.searches,
        )?;
        page.histogram("recall_seconds", "Time that this took, the warm tier included", &self.recall)?;
        page.by("warm_reads", "Reads of the warm tier", &self.warm_reads)?;
        page.histogram("warm_read_seconds", "Time of a read of the warm tier", &self.warm_read)
    }
}

/// The journal; its thread and those who wait for it.
#[derive(Debug)]
pub struct JournalMetrics {
    pub commit: Histogram,
    /// Until a record was durable.
    pub put: Histogram,
    pub write_failures: Counter,
    pub read: Histogram,
    pub read_failures: Counter,
}

impl Default for JournalMetrics {
    fn default() -> Self {
        Self {
            commit: Histogram::new(bounds::STORE),
            put: Histogram::new(bounds::STORE),
            write_failures: Counter::default(),
            read: Histogram::new(bounds::STORE),
            read_failures: Counter::default(),
        }
    }
}

impl JournalMetrics {
    /// As [`HotMetrics::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.histogram("journal_commit_seconds", "Time of a transaction with its sync", &self.commit)?;
        page.histogram(
            "journal_put_seconds",
            "Time that a turn waited for its record to be durable",
            &self.put,
        )?;
        page.counter("journal_write_failures", "Transactions that failed", &self.write_failures)?;
        page.histogram("journal_read_seconds", "Time of a query", &self.read)?;
        page.counter("journal_read_failures", "Queries that failed", &self.read_failures)
    }
}

/// The archive, as its drain sees it. There without one, too.
#[derive(Debug)]
pub struct ArchiveMetrics {
    pub records: Counter,
    /// From a turn to its commit.
    pub lag: Histogram,
    pub write: Histogram,
    pub failures: By<ArchiveCause>,
    pub set_aside: Gauge,
}

impl Default for ArchiveMetrics {
    fn default() -> Self {
        Self {
            records: Counter::default(),
            lag: Histogram::new(bounds::LAG),
            write: Histogram::new(bounds::STORE),
            failures: By::default(),
            set_aside: Gauge::default(),
        }
    }
}

impl ArchiveMetrics {
    /// As [`HotMetrics::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter("archive_records", "Records that Postgres has taken", &self.records)?;
        page.histogram("archive_lag_seconds", "Time from a turn to its commit in Postgres", &self.lag)?;
        page.histogram("archive_write_seconds", "Time of a statement", &self.write)?;
        page.by("archive_failures", "How often the drain had to begin anew", &self.failures)?;
        page.gauge("archive_set_aside", "Records that Postgres refuses", self.set_aside.get())
    }
}
