//! HTTP: the socket's upgrade, and what operators ask.
//!
//! | path | answer |
//! |---|---|
//! | `GET /ws` | the WebSocket |
//! | `GET /healthz` | 200 while the process lives |
//! | `GET /readyz` | 200 while the server takes sessions, else 503; JSON either way |
//! | `GET /` | what this is, as text |
//!
//! In `dev` mode every path wants a loopback `Host` ([`guard`]).

mod guard;
mod health;
mod listener;
mod upgrade;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use std::future::IntoFuture;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use health::Readiness;
pub use listener::bind;

use crate::session::Gateway;
use listener::Lingering;

/// How long requests that are being answered may take after all sockets are closed.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// What the handlers share.
#[derive(Debug, Clone)]
struct AppState {
    gateway: Arc<Gateway>,
    readiness: Readiness,
}

/// Serves until `shutdown` is cancelled, then drains: `readyz` fails and new turns are refused, turns that run
/// get `shutdown.grace_ms`, all sockets are closed with 4001, in batches, and only then the port.
///
/// # Errors
/// None after the start; the type is that of the listener.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let stop = CancellationToken::new();
    let grace = Duration::from_millis(gateway.config().shutdown.grace_ms);
    let app = router(AppState { gateway: Arc::clone(&gateway), readiness });
    let server = axum::serve(Lingering(listener), app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        gateway.drain(grace).await;
        stop.cancel();
        // A request that never ends must not keep the process.
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = drained => Ok(()),
        () = gateway.tend() => Ok(()),
    }
}

fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(|| async { "npc-gateway: WebSocket at /ws, state at /readyz\n" }))
        .route("/ws", get(upgrade::upgrade))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .layer(from_fn_with_state(state.clone(), guard::host))
        .with_state(state)
}
