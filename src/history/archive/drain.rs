//! The task that moves rows from the journal into Postgres.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use parking_lot::Mutex;
use uuid::Uuid;

use super::connect::Target;
use super::lease::Lease;
use super::npcs::upsert;
use super::partitions::Partitions;
use super::pool::Connections;
use super::removal::Removal;
use super::row::{Row, first_ms};
use super::write::{amend, insert};
use super::{ArchiveError, ArchiveState, Shared};
use crate::history::journal::{Archived, Journal, JournalError};
use crate::metrics::ArchiveCause;

/// Rows in one statement.
const BATCH: usize = 100;
/// Statements that each connection makes of the rows that are read at once.
const BATCHES: usize = 5;
/// How long rows wait for others.
const GATHER: Duration = Duration::from_millis(100);
/// How often Postgres is tried while it is away.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked whether the lease is still held, and whether a month has its partition.
const CHECK: Duration = Duration::from_secs(5);
/// How often what was heard of rows that have left is written: a line that is spoken changes many times.
const AMEND: Duration = Duration::from_secs(1);
/// How long the last rows may take when the server goes down.
const LAST: Duration = Duration::from_secs(3);
/// Rows that Postgres refuses and that are left in the journal until the next start.
const MAX_ASIDE: usize = 10_000;

/// See the module's documentation.
pub(super) struct Drain {
    journal: Arc<Journal>,
    target: Target,
    connections: Connections,
    /// Statements at the same time.
    lanes: usize,
    shared: Arc<Shared>,
    partitions: Partitions,
    /// What cannot be archived.
    aside: BTreeSet<Uuid>,
    /// What was said of Postgres last, so that it is said once.
    said: Option<String>,
    checked: Instant,
    amended: Instant,
}

impl Drain {
    pub fn new(
        journal: Arc<Journal>,
        target: Target,
        connections: Connections,
        lanes: usize,
        shared: Arc<Shared>,
    ) -> Self {
        let now = Instant::now();
        Self {
            journal,
            target,
            connections,
            lanes,
            shared,
            partitions: Partitions::default(),
            aside: BTreeSet::new(),
            said: None,
            checked: now,
            amended: now,
        }
    }

    /// Drains until it is told to stop, whatever happens to Postgres.
    pub async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let enough = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        let drain = async {
            while let Err(error) = self.lead().await {
                if matches!(error, ArchiveError::Journal(JournalError::Closed)) {
                    return;
                }
                self.failed(&error);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        };
        tokio::select! {
            () = drain => {}
            () = enough => {}
        }
    }

    fn failed(&mut self, error: &ArchiveError) {
        let held = matches!(error, ArchiveError::Held(_));
        self.shared.set_state(if held { ArchiveState::Held } else { ArchiveState::Away });
        self.shared.metrics.failures.of(cause(error)).inc();
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) {
            let waiting = self.journal.waiting();
            tracing::error!(%error, waiting, "what is said stays in the journal until Postgres takes it");
            self.said = Some(text);
        }
    }

    /// Takes the lease and drains; returns when it is told to stop.
    async fn lead(&mut self) -> Result<(), ArchiveError> {
        let stop = self.shared.stop.clone();
        let store = self.journal.identity();
        let mut lease = tokio::select! {
            lease = Lease::take(&self.target, store) => lease?,
            () = stop.cancelled() => return Ok(()),
        };
        self.check(&mut lease).await?;
        self.shared.set_state(ArchiveState::Up);
        self.said = None;
        tracing::info!(waiting = self.journal.waiting(), "the journal drains into Postgres");
        // First at once: what waits since before has nobody to tell of it.
        loop {
            // Once more after the stop, whenever that came: what is there by then is written.
            let is_last = stop.is_cancelled();
            self.sweep(&mut lease).await?;
            self.npcs().await?;
            self.amend(is_last).await?;
            if is_last {
                return Ok(());
            }
            self.check_sometimes(&mut lease).await?;
            tokio::select! {
                () = self.journal.filled() => {}
                () = tokio::time::sleep(AMEND) => {}
                () = stop.cancelled() => {}
            }
            if self.journal.waiting() < BATCH as u64 {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    async fn check_sometimes(&mut self, lease: &mut Lease) -> Result<(), ArchiveError> {
        if self.checked.elapsed() >= CHECK { self.check(lease).await } else { Ok(()) }
    }

    async fn check(&mut self, lease: &mut Lease) -> Result<(), ArchiveError> {
        self.checked = Instant::now();
        lease.check().await?;
        let made = self.partitions.make(lease.connection(), std::iter::empty());
        self.connections.within(made).await
    }

    /// Moves everything that is there.
    async fn sweep(&mut self, lease: &mut Lease) -> Result<(), ArchiveError> {
        let mut removal = Removal::new(Arc::clone(&self.journal));
        let swept = self.sweep_into(lease, &mut removal).await;
        // What is there is gone from the journal before it is read again.
        removal.finish().await?;
        swept
    }

    async fn sweep_into(&mut self, lease: &mut Lease, removal: &mut Removal) -> Result<(), ArchiveError> {
        let mut after = Uuid::nil();
        loop {
            let shared = Arc::clone(&self.shared);
            let moving = shared.moving.lock().await;
            let limit = self.lanes * BATCHES * BATCH;
            let leaving = self.journal.leaving(after, limit).await?;
            // What was set aside waits for somebody to look at it, and not for the archive.
            let waits = leaving.iter().map(|row| row.stored.id).find(|id| !self.aside.contains(id));
            self.journal.oldest_is(waits);
            let Some(last) = leaving.last() else { return Ok(()) };
            after = last.stored.id;
            let is_last = leaving.len() < limit;
            let mut rows = Vec::with_capacity(leaving.len());
            for leaving in leaving {
                let id = leaving.stored.id;
                if self.aside.contains(&id) {
                    continue;
                }
                match Row::new(leaving) {
                    Ok(row) => rows.push(row),
                    Err(error) => self.set_aside(id, &error.into())?,
                }
            }
            let moments = rows.iter().map(|row| first_ms(row.id));
            let made = self.partitions.make(lease.connection(), moments);
            self.connections.within(made).await?;
            let (archived, failed) = self.archive(&rows).await;
            drop(moving);
            self.count(&archived);
            removal.add(archived).await?;
            failed.map_or(Ok(()), Err)?;
            if is_last {
                return Ok(());
            }
            self.check_sometimes(lease).await?;
        }
    }

    /// Rows are in Postgres.
    fn count(&self, archived: &[(Uuid, i64)]) {
        let metrics = &self.shared.metrics;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.records.add(archived.len() as u64);
        for (id, _) in archived {
            metrics.lag.observe(now.saturating_sub(Duration::from_millis(first_ms(*id))));
        }
    }

    /// Writes rows into Postgres; returns those that are there now, and why others are not.
    async fn archive(&mut self, rows: &[Row]) -> (Vec<(Uuid, i64)>, Option<ArchiveError>) {
        let batches = Mutex::new(rows.chunks(BATCH).collect());
        let lanes = join_all((0..self.lanes).map(|_| self.lane(&batches))).await;
        let (mut archived, mut failed) = (Vec::new(), None);
        for (batch, written) in lanes.into_iter().flatten() {
            match written {
                Ok(()) => archived.extend(batch.iter().map(|row| (row.id, row.revision))),
                // One of them may be to blame, and the others not.
                Err(ArchiveError::Refused(_)) if batch.len() > 1 => match self.write_alone(batch).await {
                    Ok(alone) => archived.extend(alone),
                    Err(error) => failed = Some(error),
                },
                Err(error) => failed = Some(error),
            }
        }
        (archived, failed)
    }

    /// Writes one batch after another, until there is none or one fails.
    async fn lane<'a>(
        &self,
        batches: &Mutex<VecDeque<&'a [Row]>>,
    ) -> Vec<(&'a [Row], Result<(), ArchiveError>)> {
        let mut done = Vec::new();
        loop {
            let next = batches.lock().pop_front();
            let Some(batch) = next else { return done };
            let written = self.write(batch).await;
            if written.as_ref().is_err_and(|error| !matches!(error, ArchiveError::Refused(_))) {
                batches.lock().clear();
            }
            done.push((batch, written));
        }
    }

    async fn write(&self, rows: &[Row]) -> Result<(), ArchiveError> {
        let mut connection = self.connections.get().await?;
        let began = Instant::now();
        let written = self.connections.within(insert(&mut connection, rows)).await;
        if written.is_ok() {
            self.shared.metrics.write.observe(began.elapsed());
        }
        connection.settle(written)
    }

    /// Writes rows one after another. Those that are refused while others are not are set aside.
    async fn write_alone(&mut self, rows: &[Row]) -> Result<Vec<(Uuid, i64)>, ArchiveError> {
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        for row in rows {
            match self.write(std::slice::from_ref(row)).await {
                Ok(()) => done.push((row.id, row.revision)),
                Err(error @ ArchiveError::Refused(_)) => refused.push((row.id, error)),
                Err(error) => return Err(error),
            }
        }
        if done.is_empty()
            && let Some((_, error)) = refused.pop()
        {
            return Err(error);
        }
        for (id, error) in refused {
            self.set_aside(id, &error)?;
        }
        Ok(done)
    }

    fn set_aside(&mut self, id: Uuid, error: &ArchiveError) -> Result<(), ArchiveError> {
        if self.aside.len() >= MAX_ASIDE {
            return Err(error.clone());
        }
        tracing::error!(%id, %error, "an interaction stays in the journal: it cannot be archived");
        self.aside.insert(id);
        self.shared.metrics.set_aside.set(self.aside.len() as i64);
        Ok(())
    }

    /// Writes NPCs that have changed.
    async fn npcs(&self) -> Result<(), ArchiveError> {
        if !self.journal.take_npcs_changed() {
            return Ok(());
        }
        let done = self.npcs_all().await;
        if done.is_err() {
            self.journal.set_npcs_changed();
        }
        done
    }

    async fn npcs_all(&self) -> Result<(), ArchiveError> {
        loop {
            let _moving = self.shared.moving.lock().await;
            let changed = self.journal.changed_npcs(BATCH).await?;
            if changed.is_empty() {
                return Ok(());
            }
            let mut npcs = Vec::with_capacity(changed.len());
            for (npc, revision) in changed {
                let mut connection = self.connections.get().await?;
                let written = self.connections.within(upsert(&mut connection, &npc)).await;
                match connection.settle(written) {
                    Ok(()) => {}
                    // The others are not to wait for it.
                    Err(error @ ArchiveError::Refused(_)) => {
                        tracing::error!(npc = npc.id, %error, "an NPC cannot be archived as it is now");
                    }
                    Err(error) => return Err(error),
                }
                npcs.push((npc.id, revision));
            }
            self.journal.archived(Archived { npcs, ..Archived::default() }).await?;
        }
    }

    /// Writes what was heard since of rows that have left.
    async fn amend(&mut self, now: bool) -> Result<(), ArchiveError> {
        if !now && self.amended.elapsed() < AMEND || !self.journal.take_amended() {
            return Ok(());
        }
        self.amended = Instant::now();
        let done = self.amend_all().await;
        if done.is_err() {
            self.journal.set_amended();
        }
        done
    }

    async fn amend_all(&self) -> Result<(), ArchiveError> {
        loop {
            let _moving = self.shared.moving.lock().await;
            let amended = self.journal.amended(BATCH).await?;
            if amended.is_empty() {
                return Ok(());
            }
            let mut connection = self.connections.get().await?;
            let written = self.connections.within(amend(&mut connection, &amended)).await;
            connection.settle(written)?;
            let amendments = amended.iter().map(|amended| (amended.id, amended.revision)).collect();
            self.journal.archived(Archived { amendments, ..Archived::default() }).await?;
        }
    }
}

/// What a failure of the drain is counted as.
fn cause(error: &ArchiveError) -> ArchiveCause {
    match error {
        ArchiveError::Connect(_) | ArchiveError::Late(_) | ArchiveError::Broken(_) | ArchiveError::Away => {
            ArchiveCause::Away
        }
        ArchiveError::Refused(_) | ArchiveError::Migrate(_) => ArchiveCause::Refused,
        ArchiveError::Held(_) => ArchiveCause::Held,
        ArchiveError::Ca { .. }
        | ArchiveError::Url(_)
        | ArchiveError::Record(_)
        | ArchiveError::Journal(_) => ArchiveCause::Other,
    }
}
