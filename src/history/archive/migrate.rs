//! Postgres's tables, brought up to date.

use std::time::Duration;

use diesel::migration::{Migration, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::ArchiveError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// However short a query may take.
const PATIENCE: Duration = Duration::from_hours(1);

pub(super) type Harness = AsyncConnectionWrapper<AsyncPgConnection>;
pub(super) type Done<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs what is pending; returns the names.
pub(super) fn up(harness: &mut Harness) -> Done<Vec<String>> {
    let pending: Vec<Box<dyn Migration<Pg>>> = harness.pending_migrations(MIGRATIONS)?;
    let mut done = Vec::new();
    for migration in pending {
        harness.run_migration(&migration)?;
        done.push(migration.name().to_string());
    }
    Ok(done)
}

/// Takes back the last so many; returns their versions.
pub(super) fn down(harness: &mut Harness, count: usize) -> Done<Vec<String>> {
    let mut done = Vec::new();
    while done.len() < count && !harness.applied_migrations()?.is_empty() {
        let version: MigrationVersion<'_> = harness.revert_last_migration(MIGRATIONS)?;
        done.push(version.to_string());
    }
    Ok(done)
}

/// Does what blocks on a thread of its own: the one that asks may be told to stop meanwhile.
pub(super) async fn apart<T: Send + 'static>(
    connection: AsyncPgConnection,
    timeout: Duration,
    work: impl FnOnce(&mut Harness) -> Done<T> + Send + 'static,
) -> Result<(AsyncPgConnection, T), ArchiveError> {
    let failed = |reason: String| ArchiveError::Migrate(reason);
    // Tables that hold much take their time.
    let timeout = timeout.max(PATIENCE);
    let (sender, answer) = oneshot::channel();
    let runtime = Handle::current();
    let run = move || {
        let _entered = runtime.enter();
        let mut harness = Harness::from(connection);
        let done = work(&mut harness).map(|done| (harness.into_inner(), done));
        // Fails if nobody waits any more.
        let _ = sender.send(done.map_err(|error| error.to_string()));
    };
    std::thread::Builder::new()
        .name("migrate".into())
        .spawn(run)
        .map_err(|error| failed(error.to_string()))?;
    let answer = tokio::time::timeout(timeout, answer).await;
    answer
        .map_err(|_| ArchiveError::Late(timeout.as_millis() as u64))?
        .map_err(|_| failed("its thread has ended".into()))?
        .map_err(failed)
}
