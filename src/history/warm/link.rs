//! The task that holds the connection to Redis: it connects, again and again if need be, and writes what waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::WarmError;
use super::redis::{Shared, Waiting, decode, encode, write};

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(500);
/// How long a connection lives that was worth it, and how often the time between two attempts doubles for one that did
/// not.
const LASTING: Duration = Duration::from_secs(10);
const MAX_SHORT: u32 = 5;
/// How often a quiet connection is asked whether it lives, and one that was slow whether it is not any more.
const QUIET: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_millis(200);
/// How long connecting takes at most, and what waits for an answer in the background.
const PATIENCE: Duration = Duration::from_secs(2);
/// Memories written with one round trip.
const BATCH: usize = 256;
/// Commands behind which no other memory goes with them.
const COMMANDS: usize = 4096;
/// Keys looked at in one step of an erasure.
const SCAN: usize = 500;

pub(super) struct Link {
    pub client: Client,
    pub shared: Arc<Shared>,
    pub closed: CancellationToken,
}

/// Why a connection is given up.
enum Lost {
    Failed(RedisError),
    Late,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Late => write!(f, "no answer within {PATIENCE:?}"),
        }
    }
}

impl From<&Lost> for WarmError {
    fn from(lost: &Lost) -> Self {
        Self::Failed(lost.to_string())
    }
}

impl Link {
    pub async fn run(self) {
        let closed = self.closed.clone();
        // Connections that did not last, one after another.
        let mut short = 0;
        loop {
            let mut wait = RETRY;
            let lost = match self.connect().await {
                Ok(connection) => {
                    tracing::info!("Redis is there");
                    self.shared.hopeful.store(true, Ordering::Release);
                    self.shared.answers.store(true, Ordering::Release);
                    *self.shared.connection.lock() = Some(connection.clone());
                    let began = Instant::now();
                    let Err(lost) = self.serve(connection).await else { break };
                    // One that Redis lets in and refuses then is not asked twice a second for ever.
                    short = if began.elapsed() < LASTING { (short + 1).min(MAX_SHORT) } else { 0 };
                    wait = RETRY * (1 << short);
                    lost
                }
                Err(lost) => lost,
            };
            *self.shared.connection.lock() = None;
            if self.shared.hopeful.swap(false, Ordering::AcqRel) {
                tracing::warn!(error = %lost, "Redis cannot be used: memories come from elsewhere until it can");
            }
            let rest = tokio::time::sleep(wait);
            tokio::pin!(rest);
            loop {
                self.give_up(self.shared.take());
                tokio::select! {
                    () = closed.cancelled() => return self.give_up(self.shared.take()),
                    () = &mut rest => break,
                    () = self.shared.wake.notified() => {}
                }
            }
        }
        *self.shared.connection.lock() = None;
        self.shared.hopeful.store(false, Ordering::Release);
        self.give_up(self.shared.take());
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Lost> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(None);
        timely(self.client.get_multiplexed_async_connection_with_config(&config)).await
    }

    /// What waits is not written.
    fn give_up(&self, waiting: Waiting) {
        self.shared.dropped.fetch_add(waiting.puts.len() as u64, Ordering::Relaxed);
        for (_, done) in waiting.erasures {
            // Fails if nobody waits any more; so with the others.
            let _ = done.send(Err(WarmError::Down));
        }
        for done in waiting.flushes {
            let _ = done.send(());
        }
    }

    /// Writes what waits, until the end or until the connection is lost.
    async fn serve(&self, mut connection: MultiplexedConnection) -> Result<(), Lost> {
        loop {
            let doubted = !self.shared.answers.load(Ordering::Acquire);
            let closing = tokio::select! {
                () = self.closed.cancelled() => true,
                () = self.shared.wake.notified() => false,
                () = tokio::time::sleep(if doubted { SLOW } else { QUIET }) => {
                    timely(redis::cmd("PING").exec_async(&mut connection)).await?;
                    self.shared.answers.store(true, Ordering::Release);
                    false
                }
            };
            let mut waiting = self.shared.take();
            if let Err(lost) = self.write(&mut connection, &mut waiting).await {
                self.give_up(waiting);
                return Err(lost);
            }
            self.give_up(waiting);
            if closing {
                return Ok(());
            }
        }
    }

    /// Takes what it has done off `waiting`.
    async fn write(&self, connection: &mut MultiplexedConnection, waiting: &mut Waiting) -> Result<(), Lost> {
        while !waiting.puts.is_empty() {
            let mut pipeline = Pipeline::new();
            let mut ids = Vec::with_capacity(BATCH);
            for memory in waiting.puts.values().take(BATCH) {
                if pipeline.len() > COMMANDS {
                    break;
                }
                ids.push(memory.id);
                let Some(member) = encode(memory) else { continue };
                for place in memory.places() {
                    write(&mut pipeline, &self.shared.key(&place), memory.id, &member, self.shared.life);
                }
            }
            timely(pipeline.exec_async(connection)).await?;
            self.shared.answers.store(true, Ordering::Release);
            for id in ids {
                waiting.puts.remove(&id);
            }
        }
        for (player, done) in std::mem::take(&mut waiting.erasures) {
            let erased = self.erase(connection, &player).await;
            let _ = done.send(erased.as_ref().copied().map_err(WarmError::from));
            erased?;
        }
        Ok(())
    }

    /// Looks through everything that is here: that is seldom wanted, and any place may have something of a player.
    async fn erase(&self, connection: &mut MultiplexedConnection, player: &str) -> Result<(), Lost> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.shared.prefix)).arg("COUNT").arg(SCAN);
            let (next, keys): (u64, Vec<String>) = timely(scan.query_async(connection)).await?;
            for key in keys {
                let mut range = redis::cmd("ZRANGE");
                range.arg(&key).arg(0).arg(-1);
                let members: Vec<Vec<u8>> = timely(range.query_async(connection)).await?;
                let mut remove = redis::cmd("ZREM");
                remove.arg(&key);
                let mut found = false;
                for member in &members {
                    // What cannot be read may be the player's.
                    if decode(member).is_none_or(|memory| memory.took_part(player)) {
                        remove.arg(member.as_slice());
                        found = true;
                    }
                }
                if found {
                    timely(remove.exec_async(connection)).await?;
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

async fn timely<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Lost> {
    timeout(PATIENCE, answer).await.map_err(|_| Lost::Late)?.map_err(Lost::Failed)
}
