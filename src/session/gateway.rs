//! What all sockets share.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::auth::Authenticator;
use super::ended::Ended;
use super::rate::Rates;
use super::record::Recorder;
use super::registry::Registry;
use super::relay::Relays;
use super::replay::Shares;
use super::socket::{CLOSE_TIME, REPLY_TIME};
use super::told::SessionTold;
use crate::chain::Chains;
use crate::config::Config;
use crate::history::History;
use crate::metrics::{Process, SessionMetrics};
use crate::models::Told;
use crate::npc::{NpcError, Npcs};
use crate::provision::Provisioner;
use crate::turn::Turns;
use crate::wire::{EngineKind, Hello, Limits, MAX_AUDIENCE, NpcJoined, PROTOCOL};

/// Between two batches of sockets that are closed.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Batches at most: more sockets make larger ones.
const MAX_BATCHES: u32 = 50;
/// How long turns that did not end by themselves may take to say so.
const LAST_FRAMES: Duration = Duration::from_secs(1);
/// How often at most replay buffers are trimmed because they are too large together.
const TRIM_INTERVAL: Duration = Duration::from_millis(100);

/// The sessions of this server and what they talk to.
pub struct Gateway {
    pub(super) config: Arc<Config>,
    pub(super) turns: Arc<Turns>,
    pub(super) npcs: Arc<Npcs>,
    pub(super) auth: Arc<Authenticator>,
    /// Makes adapters for archetypes that have none; unset: nobody does.
    provisioner: OnceLock<Arc<Provisioner>>,
    pub(super) rates: Rates,
    pub(super) sessions: Registry,
    /// Sessions that ended because their client did not come back.
    pub(super) ended: Ended,
    /// Sessions that wait for their client.
    pub(super) lost: AtomicUsize,
    /// The memory of all replay buffers.
    pub(super) shares: Arc<Shares>,
    pub(super) relays: Relays,
    /// Tells one start of the server from the next.
    pub(super) epoch: String,
    engine: EngineKind,
    /// Every turn that is being carried to its sessions.
    pub(super) turn_tasks: TaskTracker,
    /// Every socket, also those without a session.
    pub(super) sockets: TaskTracker,
    /// No new turns and sessions.
    pub(super) draining: CancellationToken,
    /// All sockets close, each after its [`Self::time_to_leave`].
    pub(super) closing: CancellationToken,
    /// Writes the frames of sessions down, if that is wanted.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// Sockets that have asked when to close.
    leaving: AtomicUsize,
    /// Sockets that close at the same time.
    batch: AtomicUsize,
    pub(super) metrics: Arc<SessionMetrics>,
    process: Process,
}

/// Starts to write sessions down, if a folder for it is set.
fn start_recorder(folder: &Path) -> Option<Arc<Recorder>> {
    if folder.as_os_str().is_empty() {
        return None;
    }
    match Recorder::start(folder) {
        Ok(recorder) => {
            tracing::warn!(folder = %folder.display(), "all that players say is written down (session.record)");
            Some(Arc::new(recorder))
        }
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "sessions are not written down");
            None
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("epoch", &self.epoch)
            .field("sessions", &self.sessions.count())
            .field("sockets", &self.sockets.len())
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// `auth` checks the tokens of this server.
    pub fn new(
        config: Arc<Config>,
        auth: Arc<Authenticator>,
        turns: Arc<Turns>,
        npcs: Arc<Npcs>,
        engine: EngineKind,
    ) -> Arc<Self> {
        let limits = &config.session;
        let recorder = start_recorder(&limits.record);
        Arc::new(Self {
            recorder,
            metrics: Arc::default(),
            process: Process::start(),
            rates: Rates::new(limits),
            auth,
            provisioner: OnceLock::new(),
            sessions: Registry::new(limits.max_sessions, limits.max_sessions_per_player),
            ended: Ended::default(),
            lost: AtomicUsize::new(0),
            shares: Shares::new(
                // Without a window nobody comes back.
                if limits.resume_window_ms == 0 { 0 } else { limits.replay_bytes },
                limits.replay_total_mb << 20,
            ),
            batch: AtomicUsize::new(config.shutdown.batch),
            leaving: AtomicUsize::new(0),
            config,
            turns,
            npcs,
            relays: Relays::default(),
            epoch: Uuid::new_v4().simple().to_string(),
            engine,
            turn_tasks: TaskTracker::new(),
            sockets: TaskTracker::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        })
    }

    /// The settings of the server.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was said.
    pub fn history(&self) -> &History {
        self.turns.history()
    }

    /// An NPC as those who join it are told.
    ///
    /// # Errors
    /// [`NpcError`].
    pub async fn npc(&self, id: &str) -> Result<Option<NpcJoined>, NpcError> {
        Ok(self.npcs.find(id).await?.map(|npc| npc.told()))
    }

    /// NPCs in memory, and those of them whose changes are yet to be stored.
    pub fn npc_counts(&self) -> (usize, usize) {
        (self.npcs.count(), self.npcs.unsaved())
    }

    /// What each archetype answers with.
    pub fn chains(&self) -> &Arc<Chains> {
        self.npcs.chains()
    }

    /// What tokens are checked with.
    pub fn auth(&self) -> &Arc<Authenticator> {
        &self.auth
    }

    /// The models that may answer lines without adapters; `None`: there is no choice.
    pub fn models(&self) -> Option<Vec<Told>> {
        self.turns.models()
    }

    /// From now on archetypes without adapters may get some.
    pub fn provision_with(&self, provisioner: Arc<Provisioner>) {
        // Set once, at the start.
        let _ = self.provisioner.set(provisioner);
    }

    /// Who makes adapters for archetypes that have none; `None`: nobody does.
    pub fn provisioner(&self) -> Option<&Arc<Provisioner>> {
        self.provisioner.get()
    }

    /// Sessions that are there, also those that wait for their client.
    pub fn session_count(&self) -> usize {
        self.sessions.count()
    }

    /// Sessions that have lost their socket and wait for their client.
    pub fn lost_count(&self) -> usize {
        self.lost.load(Ordering::Acquire)
    }

    /// Sockets that are open, also those that have not identified.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// What is counted of sessions, sockets and frames.
    pub fn metrics(&self) -> &SessionMetrics {
        &self.metrics
    }

    /// This process, since the start of the server.
    pub fn process(&self) -> Process {
        self.process
    }

    /// What runs turns.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// What answers.
    pub fn engine_kind(&self) -> EngineKind {
        self.engine
    }

    /// Messages that wait to be sent to the socket of each session, and their bytes.
    pub fn send_queues(&self) -> impl Iterator<Item = (usize, usize)> {
        self.sessions.all().into_iter().map(|session| session.queued())
    }

    /// The ids of all sessions, in no order.
    pub fn session_ids(&self) -> Vec<Uuid> {
        self.sessions.all().iter().map(|session| session.id).collect()
    }

    /// A session as it is now; `None`: it is not there any more.
    pub fn session_told(&self, id: Uuid) -> Option<SessionTold> {
        self.sessions.find(id).map(|session| session.told())
    }

    /// Bytes that are held for clients to resume, of all sessions together.
    pub fn replay_bytes(&self) -> usize {
        self.shares.used()
    }

    /// Whether another socket may open. Sockets that have not identified are bounded too, by as many again as
    /// there may be sessions.
    pub fn has_room(&self) -> bool {
        self.sockets.len() < self.config.session.max_sessions.saturating_mul(2)
    }

    /// Whether the server is going down.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Keeps the replay buffers fair to each other. Runs for as long as the server.
    pub async fn tend(&self) {
        loop {
            self.shares.pressed().await;
            let fair = self.shares.fair();
            tracing::debug!(
                fair,
                "session.replay_total_mb is reached: the oldest frames of those above it go"
            );
            for session in self.sessions.all() {
                session.trim(fair);
            }
            sleep(TRIM_INTERVAL).await;
        }
    }

    /// Ends all sessions: no new turns, then up to `grace` for those that run, whether their client is there or not,
    /// then 4001 for every socket, in batches.
    pub async fn drain(&self, grace: Duration) {
        self.draining.cancel();
        self.turn_tasks.close();
        if timeout(grace, self.turn_tasks.wait()).await.is_err() {
            tracing::warn!(turns = self.turn_tasks.len(), "turns were still running when the grace ended");
            self.relays.hang_up(&self.turns);
            // They are cancelled, and their clients told, or will be with their sessions.
            let _ = timeout(LAST_FRAMES, self.turn_tasks.wait()).await;
        }
        self.sockets.close();
        self.batch.store(batch(self.sockets.len(), self.config.shutdown.batch), Ordering::Release);
        self.closing.cancel();
        self.expire_all();
        if timeout(BATCH_INTERVAL * MAX_BATCHES + CLOSE_TIME + REPLY_TIME, self.sockets.wait()).await.is_err()
        {
            tracing::warn!(
                sockets = self.sockets.len(),
                "sockets were still closing when the server stopped"
            );
        }
    }

    /// How long a socket stays open when all of them close. Each asks once.
    pub(super) fn time_to_leave(&self) -> Duration {
        let before = self.leaving.fetch_add(1, Ordering::AcqRel);
        delay(before, self.batch.load(Ordering::Acquire))
    }

    pub(super) fn hello(&self) -> Hello {
        let session = &self.config.session;
        Hello {
            protocol: PROTOCOL,
            server: concat!("npc-gateway/", env!("CARGO_PKG_VERSION")).to_owned(),
            engine: self.engine,
            heartbeat_ms: session.heartbeat_ms,
            identify_timeout_ms: session.identify_timeout_ms,
            max_frame_bytes: session.max_frame_bytes as u64,
        }
    }

    pub(super) fn frame_limits(&self) -> Limits {
        let session = &self.config.session;
        Limits {
            text_chars: session.max_text_chars,
            context_chars: session.max_context_chars,
            actions: session.max_actions,
        }
    }

    /// `limits` of `ready`: what a client has to keep to.
    pub(super) fn ready_limits(&self) -> std::collections::BTreeMap<String, u64> {
        let session = &self.config.session;
        let rates = [
            ("frames_per_second", session.frames_per_second),
            ("frames_burst", session.frames_burst),
            ("turns_per_minute", session.turns_per_minute),
            ("turns_burst", session.turns_burst),
        ];
        // 0: no limit, and then no burst either.
        let rates = rates.as_chunks::<2>().0.iter().filter(|[rate, _]| rate.1 > 0).flatten();
        let limits = [
            ("max_frame_bytes", session.max_frame_bytes),
            ("max_text_chars", session.max_text_chars),
            ("max_context_chars", session.max_context_chars),
            ("max_actions", session.max_actions),
            ("max_audience", MAX_AUDIENCE),
            ("max_npcs", session.max_npcs),
            ("max_turns", session.max_turns),
            ("replay_bytes", session.replay_bytes),
        ];
        let limits = limits.iter().map(|&(name, limit)| (name, limit as u64));
        let rates = rates.map(|&(name, limit)| (name, u64::from(limit)));
        limits.chain(rates).map(|(name, limit)| (name.to_owned(), limit)).collect()
    }
}

/// How many of so many sockets close at the same time: as many as wanted, or more, so that the last ones close in
/// bounded time.
fn batch(sockets: usize, wanted: usize) -> usize {
    wanted.max(sockets.div_ceil(MAX_BATCHES as usize))
}

/// When a socket closes before which so many have been told to.
fn delay(before: usize, batch: usize) -> Duration {
    BATCH_INTERVAL * u32::try_from(before / batch.max(1)).unwrap_or(u32::MAX).min(MAX_BATCHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_close_in_batches_within_a_bounded_time() {
        let delays = |sockets: usize, wanted: usize| -> Vec<_> {
            let batch = batch(sockets, wanted);
            (0..sockets).map(|before| delay(before, batch).as_millis()).collect()
        };
        assert_eq!(delays(5, 2), [0, 0, 100, 100, 200]);
        assert_eq!(delays(3, 10), [0; 3]);
        let many = delays(15_000, 250);
        assert_eq!((many[299], many[300], many[14_999]), (0, 100, 4900));
        // One that opens meanwhile.
        assert_eq!(delay(usize::MAX, 1), Duration::from_secs(5));
    }
}
