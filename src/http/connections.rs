//! From TCP, or TLS on it, to HTTP.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{LingeringStream, Stream, accept};
use super::tls::Tls;

/// Where connections come from.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

/// Without TLS.
impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, None)
    }
}

impl Door {
    /// `tls`: every connection must speak it.
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        Self { listener, tls }
    }

    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Serves HTTP until `stop` is cancelled; then nothing more is accepted, and the requests that are being answered
    /// end. Each connection has a task of its own, so that none waits for another's handshake. `patience`: how long
    /// the TLS handshake, and the head of each request, may take.
    pub async fn serve(self, app: Router, patience: Duration, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                stream = accept(&self.listener) => stream,
            };
            let (tls, app, stop) = (self.tls.clone(), app.clone(), stop.clone());
            connections.spawn(async move {
                match tls {
                    None => serve_http(stream, app, patience, stop).await,
                    Some(tls) => {
                        let handshake = timeout(patience, tls.accept(stream));
                        let shaken = tokio::select! {
                            () = stop.cancelled() => return,
                            shaken = handshake => shaken,
                        };
                        match shaken {
                            Ok(Ok(stream)) => serve_http(stream, app, patience, stop).await,
                            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                            Err(_) => tracing::debug!("a TLS handshake took too long"),
                        }
                    }
                }
            });
        }
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

/// Serves one connection until it is upgraded or closed.
async fn serve_http(stream: impl Stream, app: Router, patience: Duration, stop: CancellationToken) {
    let io = TokioIo::new(LingeringStream::new(stream));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(io, TowerToHyperService::new(app))
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection failed");
    }
}
