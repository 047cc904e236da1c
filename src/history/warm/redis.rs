//! The warm tier in Redis, as everything above it sees it. What talks with Redis is the [`link`](super::link).
//!
//! A place is a sorted set. All of its members have the score 0, so Redis sorts them by their bytes: the 16 of the id,
//! whose order is that of time, then the memory as a MessagePack map. Who has the id finds the member. The keys of an
//! NPC have the same hash tag, so that a cluster holds what is read together together.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, Pipeline, RedisError, TlsCertificates};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::link::Link;
use super::{KEPT, WarmError, WarmState};
use crate::config::{self, read_file};
use crate::history::memory::{Memory, Place};

/// Memories that wait to be written, and their bytes; past either they are dropped.
const QUEUE: usize = 10_000;
const QUEUE_BYTES: usize = 32 << 20;
/// Largest `history.redis_ca`, in bytes.
const MAX_CA: u64 = 1 << 20;

/// What waits for the link.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The newest of each.
    pub puts: BTreeMap<Uuid, Arc<Memory>>,
    bytes: usize,
    pub erasures: Vec<(String, oneshot::Sender<Result<(), WarmError>>)>,
    pub flushes: Vec<oneshot::Sender<()>>,
}

/// What both sides share.
pub(super) struct Shared {
    /// `None`: there is none.
    pub connection: Mutex<Option<MultiplexedConnection>>,
    /// It was not reached yet, or is reached.
    pub hopeful: AtomicBool,
    /// Its last answer came in time.
    pub answers: AtomicBool,
    waiting: Mutex<Waiting>,
    pub wake: Notify,
    pub dropped: AtomicU64,
    /// What every key begins with.
    pub prefix: String,
    pub life: Duration,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Redis {
    shared: Arc<Shared>,
    closed: CancellationToken,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.close();
    }
}

impl Redis {
    pub fn open(config: &config::History, store: &str, life: Duration) -> Result<Self, WarmError> {
        let client = client(config)?;
        let runtime =
            tokio::runtime::Handle::try_current().map_err(|error| WarmError::Url(error.to_string()))?;
        let shared = Arc::new(Shared {
            connection: Mutex::new(None),
            hopeful: AtomicBool::new(true),
            answers: AtomicBool::new(true),
            waiting: Mutex::default(),
            wake: Notify::new(),
            dropped: AtomicU64::new(0),
            prefix: format!("npcgw:{store}:"),
            life,
        });
        let closed = CancellationToken::new();
        runtime.spawn(Link { client, shared: Arc::clone(&shared), closed: closed.clone() }.run());
        Ok(Self { shared, closed })
    }

    pub fn put(&self, memory: &Arc<Memory>) {
        if !self.shared.put(memory) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub async fn read(&self, npc: &str, player: &str, patience: Duration) -> Option<Vec<Arc<Memory>>> {
        let shared = &self.shared;
        if !shared.answers.load(Ordering::Acquire) {
            return None;
        }
        let mut connection = shared.connection.lock().clone()?;
        let mut both = Pipeline::with_capacity(2);
        for place in [Place::with(npc, player), Place::world(npc)] {
            both.cmd("ZRANGE").arg(shared.key(&place)).arg(0).arg(-1);
        }
        let answer = timeout(patience, both.query_async::<[Vec<Vec<u8>>; 2]>(&mut connection)).await;
        match answer {
            Ok(Ok(rows)) => Some(rows.iter().flatten().filter_map(|row| decode(row)).collect()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "memories could not be read from Redis");
                shared.doubt();
                None
            }
            Err(_) => {
                tracing::debug!(?patience, "Redis did not answer in time");
                shared.doubt();
                None
            }
        }
    }

    pub async fn forget_player(&self, player: &str) -> Result<(), WarmError> {
        let (sender, erased) = oneshot::channel();
        self.shared.waiting.lock().erasures.push((player.to_owned(), sender));
        self.shared.wake.notify_one();
        erased.await.unwrap_or(Err(WarmError::Down))
    }

    pub async fn flush(&self) {
        let (sender, flushed) = oneshot::channel();
        self.shared.waiting.lock().flushes.push(sender);
        self.shared.wake.notify_one();
        // Fails if the link has ended, and then nothing is written any more.
        let _ = flushed.await;
    }

    pub fn state(&self) -> WarmState {
        let up = self.shared.answers.load(Ordering::Acquire) && self.shared.connection.lock().is_some();
        if up { WarmState::Up } else { WarmState::Down }
    }

    pub fn waiting(&self) -> usize {
        self.shared.waiting.lock().puts.len()
    }

    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    pub fn close(&self) {
        self.closed.cancel();
    }
}

impl Shared {
    /// False: there is no room, or nobody to write it to.
    fn put(&self, memory: &Arc<Memory>) -> bool {
        if !self.hopeful.load(Ordering::Acquire) {
            return false;
        }
        let mut waiting = self.waiting.lock();
        let replaced = waiting.puts.get(&memory.id).map_or(0, |old| old.bytes());
        let full = replaced == 0 && waiting.puts.len() >= QUEUE;
        if full || waiting.bytes + memory.bytes() - replaced.min(memory.bytes()) > QUEUE_BYTES {
            return false;
        }
        waiting.bytes = (waiting.bytes + memory.bytes()).saturating_sub(replaced);
        waiting.puts.insert(memory.id, Arc::clone(memory));
        drop(waiting);
        self.wake.notify_one();
        true
    }

    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// Nobody waits for its answers before one has come.
    pub fn doubt(&self) {
        self.answers.store(false, Ordering::Release);
        self.wake.notify_one();
    }

    pub fn key(&self, place: &Place) -> String {
        let mut key = self.prefix.clone();
        key.push('{');
        escape(&mut key, &place.npc);
        key.push('}');
        match &place.player {
            Some(player) => {
                key.push_str(":with:");
                escape(&mut key, player);
            }
            None => key.push_str(":world"),
        }
        key
    }
}

/// Ids may have any characters, and a key's hash tag ends at its first brace.
fn escape(key: &mut String, id: &str) {
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            key.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(key, "%{byte:02x}");
        }
    }
}

/// A memory as a member of its place's set.
pub(super) fn encode(memory: &Memory) -> Option<Vec<u8>> {
    let mut member = memory.id.as_bytes().to_vec();
    let encoded = rmp_serde::to_vec_named(memory);
    member.extend(encoded.inspect_err(|error| tracing::error!(%error, "a memory cannot be written")).ok()?);
    Some(member)
}

/// What an older or newer program wrote is no memory if this one cannot read it.
pub(super) fn decode(member: &[u8]) -> Option<Arc<Memory>> {
    let memory: Memory = rmp_serde::from_slice(member.get(16..)?).ok()?;
    (memory.id.as_bytes() == &member[..16]).then(|| Arc::new(memory))
}

/// Adds the commands that write a memory to a place.
pub(super) fn write(pipeline: &mut Pipeline, key: &str, id: Uuid, member: &[u8], life: Duration) {
    // A MessagePack map does not begin with the last byte.
    let (from, to) =
        ([b"[", id.as_bytes().as_slice()].concat(), [b"(", id.as_bytes().as_slice(), b"\xff"].concat());
    pipeline.cmd("ZREMRANGEBYLEX").arg(key).arg(from).arg(to).ignore();
    pipeline.cmd("ZADD").arg(key).arg(0).arg(member).ignore();
    pipeline.cmd("ZREMRANGEBYRANK").arg(key).arg(0).arg(-(KEPT as i64) - 1).ignore();
    pipeline.cmd("PEXPIRE").arg(key).arg(life.as_millis() as u64).ignore();
}

/// Checks the URL and reads the certificate. Neither goes into a message.
pub fn client(config: &config::History) -> Result<Client, WarmError> {
    let url = |error: RedisError| WarmError::Url(error.to_string());
    let info = config.redis_url.as_str().into_connection_info().map_err(url)?;
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Client::open(info).map_err(url);
    }
    // Others may have done it already.
    let _ = aws_lc_rs::default_provider().install_default();
    let path = &config.redis_ca;
    if path.as_os_str().is_empty() {
        return Client::open(info).map_err(url);
    }
    let unusable = |reason: String| WarmError::Certificate { path: path.clone(), reason };
    let pem = read_file(path, MAX_CA).map_err(|error| unusable(error.to_string()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    Client::build_with_tls(info, certificates).map_err(|error| unusable(error.to_string()))
}
