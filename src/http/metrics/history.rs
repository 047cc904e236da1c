//! What was said, NPCs, and provisioning.

use std::fmt;

use crate::config::Config;
use crate::history::History;
use crate::metrics::{ArchiveMetrics, Page, ProvisionMetrics};
use crate::provision::{Provisioner, State};
use crate::session::Gateway;

pub(super) fn write(history: &History, config: &Config, page: &mut Page<'_>) -> fmt::Result {
    let hot = history.hot();
    page.gauge("hot_conversations", "Conversations in the hot tier", hot.count())?;
    page.gauge("hot_conversations_limit", "How many there may be", hot.limits().conversations)?;
    hot.metrics().write(page)?;
    let recall = history.recall().stats();
    page.gauge("recall_places", "Places whose memories are in memory", recall.places)?;
    page.gauge("recall_used_bytes", "Their memory", recall.bytes)?;
    page.gauge("recall_limit_bytes", "How much it may be", config.history.recall_mb << 20)?;
    let warm = history.warm();
    let now = warm.state().name();
    page.state("warm_state", "The state of the warm tier", &["embedded", "up", "down"], now)?;
    page.gauge("warm_waiting", "Memories that wait to be written to Redis", warm.waiting())?;
    page.count("warm_dropped", "Memories that were not written to Redis", warm.dropped())?;
    history.metrics().write(page)?;
    journal(history, page)?;
    archive(history, page)
}

fn journal(history: &History, page: &mut Page<'_>) -> fmt::Result {
    let journal = history.journal();
    let (stats, size) = (journal.stats(), journal.size());
    page.flag("journal_writable", "Whether the journal can be written", journal.is_writable())?;
    page.gauge("journal_waiting", "Records that wait to be written", journal.queued())?;
    page.gauge("journal_queue_limit", "How many may", journal.queue_limit())?;
    page.gauge("journal_queries_waiting", "Queries that wait for a thread that reads", journal.queries())?;
    page.count("journal_records", "Records that were written", stats.records)?;
    page.count("journal_commits", "Transactions with records in them", stats.commits)?;
    let files = [("database", size.database), ("log", size.log)];
    let files = files.map(|(file, bytes)| (vec![("file", file)], bytes as f64));
    page.gauges("journal_size_bytes", "Size of the journal's files", files)?;
    journal.metrics().write(page)
}

fn archive(history: &History, page: &mut Page<'_>) -> fmt::Result {
    let archive = history.archive();
    let now = archive.map_or("off", |archive| archive.state().name());
    let states = ["off", "starting", "up", "away", "held"];
    page.state("archive_state", "The state of the archive", &states, now)?;
    let (waiting, lag_ms) = if archive.is_some() {
        (history.journal().waiting(), history.journal().archive_lag_ms())
    } else {
        (0, 0)
    };
    page.gauge("archive_waiting", "Records that the archive does not have yet", waiting)?;
    page.float("archive_oldest_seconds", "Age of the oldest of these", lag_ms as f64 / 1e3)?;
    match archive {
        Some(archive) => archive.metrics().write(page),
        None => ArchiveMetrics::default().write(page),
    }
}

pub(super) fn npcs(gateway: &Gateway, page: &mut Page<'_>) -> fmt::Result {
    let (npcs, unsaved) = gateway.npc_counts();
    page.gauge("npcs", "NPCs in memory", npcs)?;
    page.gauge("npcs_unsaved", "NPCs whose changes are yet to be stored", unsaved)?;
    page.gauge("npcs_limit", "How many there may be", gateway.config().npc.max_npcs)
}

pub(super) fn provisioning(provisioner: Option<&Provisioner>, page: &mut Page<'_>) -> fmt::Result {
    let states = provisioner.map_or_else(|| State::ALL.map(|state| (state, 0)), Provisioner::states);
    let states = states.map(|(state, count)| (vec![("state", state.name())], count as f64));
    page.gauges("provisioning_archetypes", "Archetypes by state", states)?;
    match provisioner {
        Some(provisioner) => provisioner.metrics().write(page),
        None => ProvisionMetrics::default().write(page),
    }
}
