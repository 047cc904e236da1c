//! One server at a time drains into a database: it holds an advisory lock for as long as its session lasts.

use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use super::ArchiveError;
use super::connect::Target;
use super::migrate;

/// The lock: "npc-gate".
const LOCK: i64 = i64::from_be_bytes(*b"npc-gate");

/// So that Postgres lets go of the lock of a server whose machine is gone.
const KEEPALIVES: &str =
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Who holds the lock. A session of our own that has not asked for anything for so long is one that we have lost: ours
/// ask more often.
const HOLDER: &str = "\
    SELECT a.pid, coalesce(a.application_name, '') AS name, coalesce(host(a.client_addr), 'its own machine') AS address, \
    coalesce(a.state_change < now() - interval '30 seconds', false) AS silent \
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND ((l.classid::bigint << 32) | l.objid::bigint) = $1";

/// The right to drain; given back when it is dropped.
pub(super) struct Lease {
    connection: AsyncPgConnection,
    timeout: std::time::Duration,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

#[derive(QueryableByName)]
struct Holder {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    address: String,
    #[diesel(sql_type = Bool)]
    silent: bool,
}

impl Lease {
    /// Takes it, and brings the tables up to date.
    ///
    /// # Errors
    /// [`ArchiveError::Held`] if another server has it.
    pub async fn take(target: &Target, store: Uuid) -> Result<Self, ArchiveError> {
        let mut lease = Self::lock_as(target, store).await?;
        let (connection, done) = migrate::apart(lease.connection, lease.timeout, migrate::up).await?;
        for name in done {
            tracing::info!(name, "a migration was run in Postgres");
        }
        lease.connection = connection;
        Ok(lease)
    }

    /// Takes it to migrate the tables, up or so many down, and says what was done.
    ///
    /// # Errors
    /// [`ArchiveError::Held`] if a server has it.
    pub async fn migrate(target: &Target, down: Option<usize>) -> Result<Vec<String>, ArchiveError> {
        // Of no store.
        let lease = Self::lock_as(target, Uuid::nil()).await?;
        let work = move |harness: &mut migrate::Harness| match down {
            Some(count) => migrate::down(harness, count),
            None => migrate::up(harness),
        };
        let (connection, done) = migrate::apart(lease.connection, lease.timeout, work).await?;
        drop(connection);
        Ok(done)
    }

    async fn lock_as(target: &Target, store: Uuid) -> Result<Self, ArchiveError> {
        let mut target = target.clone();
        let name = target.name(store);
        let connection = target.connect().await?;
        let mut lease = Self { connection, timeout: target.timeout() };
        let taken = tokio::time::timeout(lease.timeout, lease.lock(&name)).await;
        taken.map_err(|_| lease.late())??;
        Ok(lease)
    }

    async fn lock(&mut self, name: &str) -> Result<(), ArchiveError> {
        let connection = &mut self.connection;
        connection.batch_execute(KEEPALIVES).await?;
        let tried = sql_query("SELECT pg_try_advisory_lock($1) AS taken").bind::<BigInt, _>(LOCK);
        let Taken { taken } = tried.get_result(connection).await?;
        if taken {
            return Ok(());
        }
        let holders: Vec<Holder> = sql_query(HOLDER).bind::<BigInt, _>(LOCK).load(connection).await?;
        let Some(holder) = holders.into_iter().next() else {
            return Err(ArchiveError::Held("one that is just going".into()));
        };
        if holder.name == name && holder.silent {
            // Ours, behind a connection that has broken without Postgres noticing.
            let end = sql_query("SELECT pg_terminate_backend($1) AS taken").bind::<Integer, _>(holder.pid);
            let _: Taken = end.get_result(connection).await?;
        }
        Err(ArchiveError::Held(format!("{:?} at {}, process {}", holder.name, holder.address, holder.pid)))
    }

    /// Whether it is still held: asks Postgres.
    pub async fn check(&mut self) -> Result<(), ArchiveError> {
        let asked = tokio::time::timeout(self.timeout, self.connection.batch_execute("SELECT 1")).await;
        Ok(asked.map_err(|_| self.late())??)
    }

    /// The session that holds it, for what is done once.
    pub fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }

    fn late(&self) -> ArchiveError {
        ArchiveError::Late(self.timeout.as_millis() as u64)
    }
}
