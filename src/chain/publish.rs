//! Chains in Redis, so that every server and the console see which server hosts which one.
//!
//! `archetype_chain:NAME` is a hash: a field for each server that hosts the chain, with its [`ChainReport`] as JSON.
//! It is gone an hour after the last of them said so; a server says so every ten minutes, when something changes, and when
//! Redis was away or has lost it. `archetype_chains` is the set of the names. What is published here nobody needs for a
//! turn: without Redis everything goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ChainReport, Chains, Hosted, now_ms};
use crate::config;
use crate::history::{WarmError, redis_client};

/// The set of all names.
const NAMES: &str = "archetype_chains";
/// How long what a server says is believed.
const LIFE: Duration = Duration::from_hours(1);
/// How often it says so, and how often it looks whether Redis still has it.
const REFRESH: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_secs(5);
/// Between two attempts to connect; doubles as often as this.
const RETRY: Duration = Duration::from_millis(500);
const MAX_DOUBLED: u32 = 5;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names that are read, and servers of one of them.
const MOST: usize = 1024;

/// The key of a chain.
fn key(name: &str) -> String {
    format!("archetype_chain:{name}")
}

/// What a server says of a chain.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    chain: &'a ChainReport,
    published_ms: u64,
    expires_ms: u64,
}

/// What matters of another server's entry.
#[derive(Deserialize)]
struct Until {
    expires_ms: u64,
}

/// Tells Redis of the chains, as long as it lives.
#[derive(Debug)]
pub struct Publisher {
    /// `None`: Redis is not there.
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    closed: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Publisher {
    /// Starts to publish; `None`: no Redis is set. A Redis that is away is no error.
    ///
    /// # Errors
    /// [`WarmError`] for settings of Redis that cannot be used.
    pub fn start(config: &config::History, chains: &Arc<Chains>) -> Result<Option<Self>, WarmError> {
        if config.redis_url.is_empty() {
            return Ok(None);
        }
        let client = redis_client(config)?;
        let (connection, closed) = (Arc::default(), CancellationToken::new());
        let work =
            Work { chains: Arc::clone(chains), connection: Arc::clone(&connection), closed: closed.clone() };
        let task = Mutex::new(Some(tokio::spawn(work.run(client))));
        Ok(Some(Self { connection, closed, task }))
    }

    /// Takes back what this server has said, if Redis answers soon.
    pub async fn close(&self) {
        self.closed.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // Fails if it has panicked; then nothing is taken back.
            drop(task.await);
        }
    }

    /// Who hosts which chain, by name; `None`: Redis does not answer.
    pub async fn hosts(&self) -> Option<BTreeMap<String, Vec<Hosted>>> {
        let mut connection = self.connection.lock().clone()?;
        match timeout(PATIENCE, read(&mut connection)).await {
            Ok(Ok(hosts)) => Some(hosts),
            Ok(Err(error)) => {
                tracing::debug!(%error, "chains could not be read from Redis");
                None
            }
            Err(_) => None,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

async fn read(connection: &mut MultiplexedConnection) -> Result<BTreeMap<String, Vec<Hosted>>, RedisError> {
    let names: BTreeSet<String> = redis::cmd("SMEMBERS").arg(NAMES).query_async(connection).await?;
    let names: Vec<String> = names.into_iter().take(MOST).collect();
    let mut pipeline = Pipeline::with_capacity(names.len());
    for name in &names {
        pipeline.cmd("HGETALL").arg(key(name));
    }
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let entries: Vec<BTreeMap<String, String>> = pipeline.query_async(connection).await?;
    let now = now_ms();
    let hosted = |(server, text): (String, String)| {
        let until: Until = serde_json::from_str(&text).ok()?;
        let chain = serde_json::from_str(&text).ok().filter(|_| until.expires_ms > now)?;
        Some(Hosted { server, chain })
    };
    let each = names.into_iter().zip(entries);
    let hosts =
        each.map(|(name, of)| (name, of.into_iter().take(MOST).filter_map(hosted).collect::<Vec<_>>()));
    Ok(hosts.filter(|(_, hosts)| !hosts.is_empty()).collect())
}

struct Work {
    chains: Arc<Chains>,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    closed: CancellationToken,
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Failed(#[from] RedisError),
    #[error("no answer within {PATIENCE:?}")]
    Late,
}

async fn timely<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Lost> {
    Ok(timeout(PATIENCE, answer).await.map_err(|_| Lost::Late)??)
}

impl Work {
    async fn run(self, client: Client) {
        let mut failed = 0_u32;
        while !self.closed.is_cancelled() {
            let lost = match self.connect(&client).await {
                Ok(connection) => match self.serve(connection, &mut failed).await {
                    Ok(()) => break,
                    Err(lost) => lost,
                },
                Err(lost) => lost,
            };
            *self.connection.lock() = None;
            if failed == 0 {
                tracing::warn!(error = %lost, "Redis cannot be told of the chains until it answers");
            }
            let wait = RETRY * (1 << failed.min(MAX_DOUBLED));
            failed = failed.saturating_add(1);
            tokio::select! {
                () = self.closed.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        *self.connection.lock() = None;
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, Lost> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(None);
        timely(client.get_multiplexed_async_connection_with_config(&config)).await
    }

    /// Publishes until the end, or until the connection is lost.
    async fn serve(&self, mut connection: MultiplexedConnection, failed: &mut u32) -> Result<(), Lost> {
        let mut told = Vec::new();
        let mut told_at: Option<Instant> = None;
        loop {
            let due = match told_at {
                None => true,
                Some(at) => {
                    tokio::select! {
                        () = self.closed.cancelled() => {
                            return timely(self.take_back(&told).exec_async(&mut connection)).await;
                        }
                        () = self.chains.changed.notified() => true,
                        () = tokio::time::sleep(LOOK) => {
                            !self.is_there(&told, &mut connection).await? || at.elapsed() >= REFRESH
                        }
                    }
                }
            };
            if due {
                told = self.publish(&mut connection).await?;
                told_at = Some(Instant::now());
                if *failed > 0 || self.connection.lock().is_none() {
                    tracing::info!(chains = told.len(), "Redis knows of the chains");
                }
                *failed = 0;
                *self.connection.lock() = Some(connection.clone());
            }
        }
    }

    /// Whether Redis still has what it was told.
    async fn is_there(&self, told: &[String], connection: &mut MultiplexedConnection) -> Result<bool, Lost> {
        let mut pipeline = Pipeline::with_capacity(told.len() + 1);
        pipeline.cmd("PING").ignore();
        for name in told {
            pipeline.cmd("HEXISTS").arg(key(name)).arg(&self.chains.setup.server);
        }
        let there: Vec<bool> = timely(pipeline.query_async(connection)).await?;
        Ok(there.into_iter().all(|there| there))
    }

    /// Says of every chain that it is here; returns their names.
    async fn publish(&self, connection: &mut MultiplexedConnection) -> Result<Vec<String>, Lost> {
        let reports = self.chains.reports();
        let mut before = Pipeline::with_capacity(reports.len() + 1);
        before.cmd("PING").ignore();
        for report in &reports {
            before.cmd("HGETALL").arg(key(&report.name));
        }
        let before: Vec<BTreeMap<String, String>> = timely(before.query_async(connection)).await?;
        let (now, life) = (now_ms(), LIFE.as_millis() as u64);
        let mut pipeline = Pipeline::with_capacity(reports.len() * 4);
        for (report, others) in reports.iter().zip(before) {
            let entry = Entry { chain: report, published_ms: now, expires_ms: now + life };
            let Ok(text) = serde_json::to_string(&entry) else { continue };
            let key = key(&report.name);
            pipeline.cmd("HSET").arg(&key).arg(&report.server).arg(text).ignore();
            for (server, text) in others.into_iter().filter(|(server, _)| *server != report.server) {
                // One that went down without a word, or what nobody can read.
                if !serde_json::from_str::<Until>(&text).is_ok_and(|until| until.expires_ms > now) {
                    pipeline.cmd("HDEL").arg(&key).arg(server).ignore();
                }
            }
            pipeline.cmd("PEXPIRE").arg(&key).arg(life).ignore();
            pipeline.cmd("SADD").arg(NAMES).arg(&report.name).ignore();
        }
        pipeline.cmd("PEXPIRE").arg(NAMES).arg(life).ignore();
        timely(pipeline.exec_async(connection)).await?;
        Ok(reports.into_iter().map(|report| report.name).collect())
    }

    fn take_back(&self, told: &[String]) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(told.len() + 1);
        pipeline.cmd("PING").ignore();
        for name in told {
            pipeline.cmd("HDEL").arg(key(name)).arg(&self.chains.setup.server).ignore();
        }
        pipeline
    }
}
