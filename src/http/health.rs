//! Whether the server lives, and whether it takes players.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::AppState;
use crate::history::WarmState;

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
    /// The warm tier: `embedded`, or `up` or `down`, which does not keep the server from being ready.
    redis: WarmState,
    /// The server is going down.
    draining: bool,
    /// Sessions that are there.
    sessions: usize,
    /// Those of them that have lost their socket and wait for their client.
    lost: usize,
    sockets: usize,
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    let model = (state.readiness.model)();
    let draining = state.gateway.is_draining();
    let journal = state.gateway.history().journal().is_writable();
    let redis = state.gateway.history().warm().state();
    let all = model && journal && !draining;
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let sessions = state.gateway.session_count();
    let lost = state.gateway.lost_count();
    let sockets = state.gateway.socket_count();
    (status, Json(Ready { all, model, journal, redis, draining, sessions, lost, sockets }))
}
