//! `/metrics`: what was counted, and what is looked up when somebody asks, on one page of OpenMetrics text.

mod engine;
mod history;
mod session;

use std::fmt;
use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::{AppState, Readiness};
use crate::metrics::Page;
use crate::session::Gateway;
use crate::wire::EngineKind;

/// What every name begins with.
const PREFIX: &str = "npc_gateway";
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that a server is measured by.
#[derive(Debug, Clone)]
pub(super) struct Metrics(Arc<Registry>);

impl Metrics {
    pub fn new(gateway: &Arc<Gateway>, readiness: &Readiness) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let scrape = Scrape { gateway: Arc::downgrade(gateway), readiness: readiness.clone() };
        registry.register_collector(Box::new(scrape));
        Self(Arc::new(registry))
    }
}

/// What is measured, as OpenMetrics text; docs/metrics.md explains it. With `server.metrics = "open"` nobody needs a token.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "server",
    responses((
        status = OK,
        description = "One page.",
        body = str,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    ))
)]
pub(super) async fn page(State(state): State<AppState>) -> Response {
    let registry = Arc::clone(&state.metrics.0);
    // It asks the disk for sizes, and looks at every session.
    let written = tokio::task::spawn_blocking(move || {
        let mut page = String::new();
        encode(&mut page, &registry).map(|()| page)
    });
    match written.await {
        Ok(Ok(page)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
        failed => {
            tracing::error!(?failed, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Writes the page. It does not keep the server alive.
#[derive(Debug)]
struct Scrape {
    gateway: Weak<Gateway>,
    readiness: Readiness,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(gateway) = self.gateway.upgrade() else { return Ok(()) };
        let mut page = Page::new(encoder);
        process(&gateway, &self.readiness, &mut page)?;
        engine::write(gateway.turns().engine(), &mut page)?;
        gateway.turns().metrics().write(&mut page)?;
        engine::models(gateway.turns(), &mut page)?;
        session::write(&gateway, &mut page)?;
        history::write(gateway.history(), gateway.config(), &mut page)?;
        history::npcs(&gateway, &mut page)?;
        history::provisioning(gateway.provisioner().map(AsRef::as_ref), &mut page)
    }
}

fn process(gateway: &Gateway, readiness: &Readiness, page: &mut Page<'_>) -> fmt::Result {
    let engine = match gateway.engine_kind() {
        EngineKind::Model => "model",
        EngineKind::Scripted => "scripted",
    };
    let labels = vec![
        ("version", env!("CARGO_PKG_VERSION")),
        ("engine", engine),
        ("decoder", gateway.turns().engine().decoder()),
    ];
    page.gauges("build_info", "The gateway; always 1", [(labels, 1.0)])?;
    gateway.process().write(page)?;
    page.flag("ready", "Whether readyz answers 200", readiness.is_ready(gateway))?;
    page.flag("draining", "Whether the server goes down", gateway.is_draining())
}
