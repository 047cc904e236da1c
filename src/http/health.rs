//! Whether the server lives, and whether it takes players.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::AppState;
use crate::history::{ArchiveState, History, WarmState};

/// What decides `readyz`, besides the journal and the shutdown.
#[derive(Clone)]
pub struct Readiness {
    model: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Readiness {
    /// `model`: whether the model is loaded and answers. Asked at every request, so it must be quick.
    pub fn new(model: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { model: Arc::new(model) }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("model", &(self.model)()).finish()
    }
}

/// The body of `readyz`.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools)] // Each is a key of the answer.
pub(super) struct Ready {
    #[serde(rename = "ready")]
    all: bool,
    /// The model is loaded.
    model: bool,
    /// What is said can be stored.
    journal: bool,
    redis: Redis,
    postgres: Postgres,
    /// The server is going down.
    draining: bool,
    /// Sessions that are there.
    sessions: usize,
    /// Those of them that have lost their socket and wait for their client.
    lost: usize,
    sockets: usize,
}

/// The warm tier: `embedded`, or `up` or `down`. Turns do not need it.
#[derive(Debug, Serialize)]
struct Redis {
    state: WarmState,
}

/// The archive. Turns do not need it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Postgres {
    Off {
        state: &'static str,
    },
    On {
        state: ArchiveState,
        /// Interactions that it does not have yet.
        waiting: u64,
    },
}

impl Postgres {
    fn of(history: &History) -> Self {
        match history.archive() {
            None => Self::Off { state: "off" },
            Some(archive) => Self::On { state: archive.state(), waiting: history.journal().waiting() },
        }
    }
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    let model = (state.readiness.model)();
    let draining = state.gateway.is_draining();
    let journal = state.gateway.history().journal().is_writable();
    let redis = Redis { state: state.gateway.history().warm().state() };
    let all = model && journal && !draining;
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let sessions = state.gateway.session_count();
    let lost = state.gateway.lost_count();
    let sockets = state.gateway.socket_count();
    let postgres = Postgres::of(state.gateway.history());
    (status, Json(Ready { all, model, journal, redis, postgres, draining, sessions, lost, sockets }))
}
