//! What all sockets share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::auth::Authenticator;
use super::rate::Rates;
use super::registry::Registry;
use super::relay::Relays;
use super::socket::{CLOSE_TIME, REPLY_TIME};
use crate::config::Config;
use crate::npc::Npcs;
use crate::turn::Turns;
use crate::wire::{EngineKind, Hello, Limits, MAX_AUDIENCE, PROTOCOL};

/// The sessions of this server and what they talk to.
pub struct Gateway {
    pub(super) config: Arc<Config>,
    pub(super) turns: Arc<Turns>,
    pub(super) npcs: Arc<Npcs>,
    pub(super) auth: Arc<Authenticator>,
    pub(super) rates: Rates,
    pub(super) sessions: Registry,
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
    /// All sockets close.
    pub(super) closing: CancellationToken,
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
        Arc::new(Self {
            rates: Rates::new(limits),
            auth,
            sessions: Registry::new(limits.max_sessions, limits.max_sessions_per_player),
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

    /// What tokens are checked with.
    pub fn auth(&self) -> &Arc<Authenticator> {
        &self.auth
    }

    /// Sessions that are there.
    pub fn session_count(&self) -> usize {
        self.sessions.count()
    }

    /// Sockets that are open, also those that have not identified.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
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

    /// Ends all sessions: no new turns, then up to `grace` for those that run, then 4001 for every socket.
    pub async fn drain(&self, grace: Duration) {
        self.draining.cancel();
        self.turn_tasks.close();
        if timeout(grace, self.turn_tasks.wait()).await.is_err() {
            tracing::warn!(turns = self.turn_tasks.len(), "turns were still running when the grace ended");
        }
        self.closing.cancel();
        self.sockets.close();
        if timeout(CLOSE_TIME + REPLY_TIME, self.sockets.wait()).await.is_err() {
            tracing::warn!(
                sockets = self.sockets.len(),
                "sockets were still closing when the server stopped"
            );
        }
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
        ];
        let limits = limits.iter().map(|&(name, limit)| (name, limit as u64));
        let rates = rates.map(|&(name, limit)| (name, u64::from(limit)));
        limits.chain(rates).map(|(name, limit)| (name.to_owned(), limit)).collect()
    }
}
