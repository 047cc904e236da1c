//! A studio's own moderation, over HTTP.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

pub use crate::config::Direction;
use crate::config::{self, OnFailure};
use crate::metrics::{Blocker, ModerationMetrics, Side, Verdict};

/// Bytes of an answer at most.
const MAX_ANSWER: usize = 64 << 10;

/// Why there is no moderation.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("moderation.url is no URL: {0}")]
    Url(String),
    #[error("moderation.token has characters that no header may have")]
    Token,
    #[error("moderation.url cannot be asked over TLS: {0}")]
    Tls(#[from] std::io::Error),
}

/// What is asked.
#[derive(Debug, Serialize)]
pub(super) struct Checked<'a> {
    pub direction: Direction,
    pub npc: &'a str,
    pub archetype: &'a str,
    pub player: &'a str,
    pub turn: &'a str,
    pub text: &'a str,
}

/// What is answered.
#[derive(Debug, Deserialize)]
struct Answer {
    allow: bool,
}

/// The service.
#[derive(Debug)]
pub struct Hook {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: Option<header::HeaderValue>,
    timeout: Duration,
    checks: Vec<Direction>,
    on_failure: OnFailure,
}

impl Hook {
    /// `None`: none is set.
    ///
    /// # Errors
    /// [`HookError`].
    pub fn new(config: &config::Moderation) -> Result<Option<Self>, HookError> {
        if config.url.is_empty() {
            return Ok(None);
        }
        let url: Uri = config
            .url
            .parse()
            .map_err(|error: hyper::http::uri::InvalidUri| HookError::Url(error.to_string()))?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(HookError::Url("it must begin with http:// or https:// and name a host".into()));
        }
        let authorization = (!config.token.is_empty())
            .then(|| header::HeaderValue::try_from(format!("Bearer {}", config.token)))
            .transpose()
            .map_err(|_| HookError::Token)?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        Ok(Some(Self {
            url,
            client: Client::builder(TokioExecutor::new()).build(connector),
            authorization,
            timeout: Duration::from_millis(config.timeout_ms),
            checks: config.checks.clone(),
            on_failure: config.on_failure,
        }))
    }

    pub fn checks(&self, direction: Direction) -> bool {
        self.checks.contains(&direction)
    }

    /// Asks the service; what it does not answer in time, or wrongly, is as the setting says.
    pub(super) async fn allows(&self, checked: &Checked<'_>, metrics: &ModerationMetrics) -> bool {
        let began = Instant::now();
        let asked = tokio::time::timeout(self.timeout, self.ask(checked)).await;
        let asked = asked.unwrap_or_else(|_| Err("it has not answered in time".into()));
        let side = match checked.direction {
            Direction::Input => Side::Input,
            Direction::Output => Side::Output,
        };
        let verdict = match &asked {
            Ok(true) => Verdict::Allowed,
            Ok(false) => Verdict::Blocked,
            Err(_) => Verdict::Failed,
        };
        metrics.request.observe(began.elapsed());
        metrics.requests.of(side, verdict).inc();
        let allows = match asked {
            Ok(allow) => allow,
            Err(error) => {
                tracing::warn!(%error, direction = ?checked.direction, "the moderation service has not answered");
                self.on_failure == OnFailure::Open
            }
        };
        if !allows {
            metrics.blocked.of(Blocker::Service, side).inc();
        }
        allows
    }

    async fn ask(&self, checked: &Checked<'_>) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(checked)?)))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
        Ok(serde_json::from_slice::<Answer>(&body)?.allow)
    }
}
