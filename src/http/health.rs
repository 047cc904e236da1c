//! Whether the server lives, and whether it takes players.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use crate::history::{ArchiveState, History, WarmState};
use crate::session::Gateway;

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

    /// What `readyz` says in all.
    pub(super) fn is_ready(&self, gateway: &Gateway) -> bool {
        (self.model)() && gateway.history().journal().is_writable() && !gateway.is_draining()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("model", &(self.model)()).finish()
    }
}

/// Whether the server takes players.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
#[allow(clippy::struct_excessive_bools)] // Each is a key of the answer.
pub(super) struct Ready {
    /// It does.
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
#[derive(Debug, Serialize, ToSchema)]
struct Redis {
    state: WarmState,
}

/// The archive. Turns do not need it.
#[derive(Debug, Serialize, ToSchema)]
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

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "get_health",
    tag = "health",
    security(()),
    responses((status = OK, description = "It does.", body = str, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the server takes players, and how its parts are.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readiness",
    tag = "health",
    security(()),
    responses(
        (status = OK, description = "It does.", body = Ready),
        (status = SERVICE_UNAVAILABLE, description = "It does not.", body = Ready),
    )
)]
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
