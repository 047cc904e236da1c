//! What answers for archetypes that have no adapters: the local base, or remote models behind an OpenAI-compatible API.
//!
//! Which one is a function of figures ([`route`]), logged with its reason. Remote models that fail are left alone for a
//! while ([`breaker`]), and until the first word is there the next one may answer in their place, at last the local base.

mod breaker;
mod chat;
mod client;
mod file;
mod latency;
mod request;
mod route;
mod sse;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

pub use file::{FileError, Remote, ServerKind};
pub use latency::Latency;
pub use request::Ask;
pub use route::{Candidate, Decision, decide};

use self::breaker::Breaker;
use self::client::{Failure, Kind, RemoteModel};
use self::latency::Measured;
use crate::config;
use crate::engine::{EngineError, Generation};
use crate::metrics::ModelMetrics;

/// The name of the base that runs in the gateway.
pub const LOCAL: &str = "local";

/// Why there are no remote models.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("setting models.file: model {name:?}: {reason}")]
    Model { name: String, reason: String },
    #[error("setting models.file: servers cannot be asked over TLS: {0}")]
    Tls(std::io::Error),
}

/// The models, and the choice among them.
#[derive(Debug)]
pub struct Models {
    config: config::Models,
    remotes: Vec<(Arc<RemoteModel>, ModelMetrics)>,
    local: Mutex<Measured>,
    local_metrics: ModelMetrics,
}

/// A model as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Model)]
pub struct Told {
    pub name: String,
    pub cost: f64,
    pub quality: f64,
    /// Milliseconds to the first token, if that was measured lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_s: Option<f64>,
    /// Why it is not asked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<&'static str>,
    /// Lines that it has begun to answer.
    pub answers: u64,
    /// Lines that it was asked to answer in vain.
    pub failures: u64,
}

/// An answer on its way.
#[derive(Debug)]
pub struct Answered {
    pub generation: Generation,
    /// It comes from the base in the gateway.
    pub is_local: bool,
    /// Time that others took in vain before who answers was asked.
    pub before: Duration,
}

impl Models {
    /// Reads the file of remote models; `None`: none is set, and the local base answers everything.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub fn new(config: &config::Models) -> Result<Option<Self>, ModelsError> {
        Self::with_keys(config, |name| std::env::var(name).ok())
    }

    /// `key`: the value of an environment variable.
    fn with_keys(
        config: &config::Models,
        key: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ModelsError> {
        if config.file.as_os_str().is_empty() {
            return Ok(None);
        }
        let specs = file::read(&config.file)?;
        let first_word = Duration::from_millis(config.first_word_ms);
        let http = client::http(first_word).map_err(ModelsError::Tls)?;
        let remotes = specs.into_iter().map(|spec| {
            let name = spec.name.clone();
            let fail = |reason: String| ModelsError::Model { name: name.clone(), reason };
            let secret = spec.key_env.as_ref().map(|variable| {
                key(variable).ok_or_else(|| {
                    fail(format!("the environment variable {variable:?} (key_env) is not set"))
                })
            });
            let pause = Duration::from_millis(config.breaker_open_ms);
            let breaker = Breaker::new(config.breaker_failures, pause);
            let model = RemoteModel::new(spec, secret.transpose()?.as_deref(), http.clone(), breaker);
            Ok((Arc::new(model.map_err(fail)?), ModelMetrics::default()))
        });
        Ok(Some(Self {
            remotes: remotes.collect::<Result<_, ModelsError>>()?,
            config: config.clone(),
            local: Mutex::default(),
            local_metrics: ModelMetrics::default(),
        }))
    }

    /// Has a line answered by the model that is chosen, or by the next one where that fails before its first word. `local`
    /// asks the base in the gateway, once at most. Dropped, nothing is asked any more.
    ///
    /// # Errors
    /// Those of `local`.
    pub async fn answer(
        &self,
        ask: &Ask<'_>,
        local: impl FnOnce() -> Result<Generation, EngineError>,
    ) -> Result<Answered, EngineError> {
        let Decision { order, reason } = self.decide(Instant::now());
        tracing::info!(archetype = ask.archetype, reason, "which model answers");
        let began = Instant::now();
        let deadline = began + Duration::from_millis(self.config.first_word_ms);
        let (mut local, mut refused) = (Some(local), None);
        for at in order {
            let Some(at) = at.checked_sub(1) else {
                let Some(local) = local.take() else { continue };
                let before = began.elapsed();
                match local() {
                    Ok(generation) => {
                        self.local_metrics.answers.inc();
                        return Ok(Answered { generation, is_local: true, before });
                    }
                    // Others may have room.
                    Err(error @ EngineError::Overloaded { .. }) => refused = Some(error),
                    Err(error) => return Err(error),
                }
                continue;
            };
            // The time for the first word is the player's, whoever answers.
            if Instant::now() >= deadline {
                continue;
            }
            let (model, metrics) = &self.remotes[at];
            match self.open(model, ask, deadline).await {
                Ok(stream) => {
                    metrics.answers.inc();
                    metrics.first_word.observe(stream.asked.elapsed());
                    let before = stream.asked.saturating_duration_since(began);
                    let stall = Duration::from_millis(self.config.stall_ms);
                    let generation = stream::generation(stream, ask.prompt_tokens, ask.max_tokens, stall);
                    return Ok(Answered { generation, is_local: false, before });
                }
                Err(_) => {
                    metrics.failures.inc();
                }
            }
        }
        // The local base is in every order.
        Err(refused.unwrap_or(EngineError::Stopped))
    }

    /// Asks one model, again where that may help, until the deadline.
    async fn open(
        &self,
        model: &Arc<RemoteModel>,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<client::Stream, Failure> {
        let mut left = self.config.retries;
        loop {
            let Ok(opened) = tokio::time::timeout_at(deadline.into(), model.open(ask)).await else {
                let reason = "its first word has not come within models.first_word_ms".to_owned();
                let failure = Failure::lasting(reason);
                model.failed(&failure);
                return Err(failure);
            };
            match opened {
                Err(failure) if failure.kind == Kind::Passing && left > 0 => left -= 1,
                opened => return opened,
            }
        }
    }

    /// An answer of the local base ended: its first token came after so long, and so many more within so long.
    pub fn measured(&self, first: Duration, more: u32, within: Duration) {
        self.local_metrics.first_word.observe(first);
        self.local.lock().note(first, more, within, Instant::now());
    }

    /// Every model, the local base first.
    pub fn told(&self) -> Vec<Told> {
        let candidates = self.candidates(Instant::now());
        let told = candidates.into_iter().zip(self.metrics()).map(|(candidate, metrics)| Told {
            name: candidate.name.to_owned(),
            cost: candidate.cost,
            quality: candidate.quality,
            first_ms: candidate.latency.map(|latency| latency.first_ms),
            tokens_per_s: candidate
                .latency
                .map(|latency| latency.tokens_per_s)
                .filter(|rate| rate.is_finite()),
            closed: candidate.closed,
            answers: metrics.answers.get(),
            failures: metrics.failures.get(),
        });
        told.collect()
    }

    /// What was asked of each, in the order of [`Self::told`].
    pub fn metrics(&self) -> impl Iterator<Item = &ModelMetrics> {
        std::iter::once(&self.local_metrics).chain(self.remotes.iter().map(|(_, metrics)| metrics))
    }

    fn decide(&self, now: Instant) -> Decision {
        decide(self.config.priority, &self.candidates(now))
    }

    /// The local base, then the remote models as the file has them.
    fn candidates(&self, now: Instant) -> Vec<Candidate<'_>> {
        let age = Duration::from_secs(self.config.remeasure_s);
        let local = Candidate {
            name: LOCAL,
            cost: self.config.local_cost,
            quality: self.config.local_quality,
            latency: self.local.lock().within(age, now),
            closed: None,
        };
        let remotes = self.remotes.iter().map(|(model, _)| Candidate {
            name: &model.spec.name,
            cost: model.spec.cost,
            quality: model.spec.quality,
            latency: model.latency(age, now),
            closed: model.closed(now),
        });
        std::iter::once(local).chain(remotes).collect()
    }
}
