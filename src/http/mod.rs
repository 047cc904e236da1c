//! HTTP: the socket's upgrade, and what operators ask.
//!
//! | path | answer |
//! |---|---|
//! | `GET /ws` | the WebSocket |
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 while the server takes sessions, else 503; JSON either way |
//! | `GET /`, `/fleet`, `/assets/…` | the console (`server.console`), else what this is, as text |
//! | `GET /metrics` | what is measured (`server.metrics` says for whom) |
//! | `/api/v1` | what operators ask, only for the scope `admin` |
//!
//! In `dev` mode every path wants a loopback `Host`; `/ws` and `/api/v1` want an `Origin` that is the server's own or
//! configured, if there is one ([`guard`]).

mod adapters;
mod api;
mod connections;
mod console;
mod guard;
mod health;
mod history;
mod listener;
mod metrics;
mod openapi;
mod provisioning;
mod sessions;
mod stats;
mod tls;
mod upgrade;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

pub use connections::Door;
pub use health::Readiness;
pub use listener::bind;
pub use tls::{Tls, TlsError};

use crate::config::MetricsAccess;
use crate::session::Gateway;

/// How long requests that are being answered may take after all sockets are closed.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// What the handlers share.
#[derive(Debug, Clone)]
struct AppState {
    gateway: Arc<Gateway>,
    readiness: Readiness,
    metrics: metrics::Metrics,
}

/// Serves until `shutdown` is cancelled, then drains: `readyz` fails and new turns are refused, turns that run
/// get `shutdown.grace_ms`, all sockets are closed with 4001, in batches, and only then the port. Files of keys and
/// certificates are read again every `server.reread_ms`, and the folder of packs is looked through every
/// `packs.rescan_ms`.
///
/// # Errors
/// None; the type is kept for those that may come.
pub async fn serve(
    door: impl Into<Door>,
    gateway: Arc<Gateway>,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let stop = CancellationToken::new();
    let grace = Duration::from_millis(gateway.config().shutdown.grace_ms);
    let metrics = metrics::Metrics::new(&gateway, &readiness);
    let app = router(AppState { gateway: Arc::clone(&gateway), readiness, metrics });
    let door = door.into();
    let reread = reread(Arc::clone(&gateway), door.tls().cloned());
    let rescan = Duration::from_millis(gateway.config().packs.rescan_ms);
    let patience = Duration::from_millis(gateway.config().session.identify_timeout_ms);
    let server = door.serve(app, patience, stop.clone());
    let drained = async {
        shutdown.cancelled().await;
        gateway.drain(grace).await;
        stop.cancel();
        // A request that never ends must not keep the process.
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        () = server => {}
        () = drained => {}
        () = reread => {}
        () = gateway.tend() => {}
        () = gateway.chains().watch(rescan) => {}
    }
    Ok(())
}

/// Reads keys and certificates again and again.
async fn reread(gateway: Arc<Gateway>, tls: Option<Arc<Tls>>) {
    let every = Duration::from_millis(gateway.config().server.reread_ms);
    loop {
        tokio::time::sleep(every).await;
        let (auth, tls) = (Arc::clone(gateway.auth()), tls.clone());
        let read = move || {
            auth.reread();
            if let Some(tls) = tls {
                tls.reread();
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(read).await {
            tracing::error!(%error, "keys and certificates could not be read again");
        }
    }
}

fn router(state: AppState) -> Router {
    let pages = if state.gateway.config().server.console {
        console::routes(Router::new())
    } else {
        Router::new().route("/", get(|| async { "npc-gateway: WebSocket at /ws, state at /readyz\n" }))
    };
    let metrics = get(metrics::page);
    let metrics = match state.gateway.config().server.metrics {
        MetricsAccess::Admin => metrics.layer(from_fn_with_state(state.clone(), api::admin)),
        MetricsAccess::Open => metrics,
    };
    pages
        .route("/metrics", metrics)
        .route("/ws", get(upgrade::upgrade))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .nest("/api/v1", api::router(&state))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here; the API is at /api/v1\n"))
        .layer(from_fn_with_state(state.clone(), guard::origin))
        .layer(from_fn_with_state(state.clone(), guard::host))
        .with_state(state)
}
