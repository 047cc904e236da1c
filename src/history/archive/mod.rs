//! The archive: everything that was said, in Postgres.
//!
//! A task drains the journal into it ([`drain`]), in the background; reads are for those who can wait for a network. No
//! turn does.

mod connect;
mod drain;
mod erase;
mod error;
mod lease;
mod migrate;
mod npcs;
mod partitions;
mod pool;
mod read;
mod removal;
mod row;
mod schema;
mod text;
mod write;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use erase::ErasedRows;
pub use error::ArchiveError;
pub(super) use read::ArchiveReader;

use self::connect::Target;
use self::drain::Drain;
use self::lease::Lease;
use self::pool::{Borrowed, Connections};
use super::journal::Journal;
use crate::config;
use crate::metrics::ArchiveMetrics;

/// Connections that are kept for reading.
const READERS: usize = 2;
/// How long a server that goes down waits for the drain, which has a little less for its last rows.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How it is with Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveState {
    /// Not asked yet.
    Starting,
    /// The journal drains into it.
    Up,
    /// It cannot be reached, or refuses what is asked of it.
    Away,
    /// Another server drains into it.
    Held,
}

impl ArchiveState {
    /// As it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Away => "away",
            Self::Held => "held",
        }
    }
}

/// Known to the drain, which sets it, and to those who read.
#[derive(Debug)]
struct Shared {
    state: Mutex<ArchiveState>,
    /// Held while rows are on their way from the journal to Postgres.
    moving: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    metrics: ArchiveMetrics,
}

impl Shared {
    fn state(&self) -> ArchiveState {
        *self.state.lock()
    }

    /// Returns what it was.
    fn set_state(&self, state: ArchiveState) -> ArchiveState {
        std::mem::replace(&mut *self.state.lock(), state)
    }
}

/// See the module's documentation.
pub struct Archive {
    connections: Connections,
    shared: Arc<Shared>,
    /// Ends with the drain.
    drained: Mutex<Receiver<()>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Archive {
    /// Whether the settings can be used, whatever Postgres says; reads files.
    ///
    /// # Errors
    /// [`ArchiveError::Url`], [`ArchiveError::Ca`].
    pub fn check(settings: &config::History) -> Result<(), ArchiveError> {
        if settings.postgres_url.is_empty() { Ok(()) } else { Target::new(settings).map(drop) }
    }

    /// Starts to drain the journal; `None`: there is no archive. Wants a runtime, and waits for nothing.
    ///
    /// # Errors
    /// [`ArchiveError::Url`], [`ArchiveError::Ca`].
    pub fn start(settings: &config::History, journal: &Arc<Journal>) -> Result<Option<Self>, ArchiveError> {
        if settings.postgres_url.is_empty() {
            return Ok(None);
        }
        let target = Target::new(settings)?;
        if target.is_open() {
            tracing::warn!(
                "what is said goes to Postgres in the clear: add sslmode=require to history.postgres_url"
            );
        }
        let connections = Connections::new(&target, settings.postgres_connections)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(ArchiveState::Starting),
            moving: tokio::sync::Mutex::new(()),
            stop: CancellationToken::new(),
            metrics: ArchiveMetrics::default(),
        });
        let lanes = settings.postgres_connections.saturating_sub(READERS).max(1);
        let drain = Drain::new(Arc::clone(journal), target, connections.clone(), lanes, Arc::clone(&shared));
        let (running, drained) = channel();
        tokio::spawn(async move {
            let _running = running;
            drain.run().await;
        });
        Ok(Some(Self { connections, shared, drained: Mutex::new(drained) }))
    }

    pub fn state(&self) -> ArchiveState {
        self.shared.state()
    }

    pub fn metrics(&self) -> &ArchiveMetrics {
        &self.shared.metrics
    }

    /// Ends the drain, which moves what it can in a few seconds. Blocks.
    pub fn stop(&self) {
        self.shared.stop.cancel();
        // Nothing is ever sent: its end is what is waited for.
        if self
            .drained
            .lock()
            .recv_timeout(LAST_WAIT)
            .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            tracing::warn!("Postgres was still being written to when the server stopped");
        }
    }

    /// A connection to read with; fails at once while Postgres is known to be away.
    async fn reading(&self) -> Result<Borrowed, ArchiveError> {
        if self.state() == ArchiveState::Away {
            Err(ArchiveError::Away)
        } else {
            self.connections.get().await
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// Migrates the tables, up or so many down, and says what was done.
///
/// # Errors
/// [`ArchiveError`].
pub(super) async fn migrate(
    settings: &config::History,
    down: Option<usize>,
) -> Result<Vec<String>, ArchiveError> {
    let target = Target::new(settings)?;
    Lease::migrate(&target, down).await
}
