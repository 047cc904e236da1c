//! What answers: the model, or a script in its place.

use super::script::Script;
use super::{
    Choice, Choose, Engine, EngineError, EngineLimits, EngineStats, Generate, Generation, Mix, Schedule,
    Tokenizer, Usage, Watched,
};
use crate::metrics::EngineMetrics;

/// The engine as everything above it knows it; a clone is cheap.
#[derive(Debug, Clone)]
pub enum Backend {
    Model(Engine),
    /// For load tests: no model is there.
    Scripted(Script),
}

impl From<Engine> for Backend {
    fn from(engine: Engine) -> Self {
        Self::Model(engine)
    }
}

impl From<Script> for Backend {
    fn from(script: Script) -> Self {
        Self::Scripted(script)
    }
}

impl Backend {
    /// What prompts are made with; `None`: nobody reads them, and an empty one will do.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match self {
            Self::Model(engine) => Some(engine.tokenizer()),
            #[cfg(test)]
            Self::Scripted(script) => script.tokenizer(),
            #[cfg(not(test))]
            Self::Scripted(_) => None,
        }
    }

    /// See [`Engine::context`].
    pub fn context(&self) -> usize {
        match self {
            Self::Model(engine) => engine.context(),
            Self::Scripted(script) => script.context(),
        }
    }

    /// See [`Engine::generate`].
    pub fn generate(&self, request: Generate) -> Result<Generation, EngineError> {
        match self {
            Self::Model(engine) => engine.generate(request),
            Self::Scripted(script) => script.generate(&request),
        }
    }

    /// See [`Engine::choose`].
    pub async fn choose(&self, request: Choose) -> Result<Choice, EngineError> {
        match self {
            Self::Model(engine) => engine.choose(request).await,
            Self::Scripted(script) => script.choose(&request),
        }
    }

    /// See [`Engine::warm`]. A script has nothing to warm.
    pub async fn warm(&self, prompt: Vec<u32>, mix: &Mix, schedule: Schedule) -> Result<Usage, EngineError> {
        match self {
            Self::Model(engine) => engine.warm(prompt, mix, schedule).await,
            Self::Scripted(_) => Ok(Usage::default()),
        }
    }

    /// See [`Engine::forget_conversations`]. A script keeps nothing.
    pub async fn forget_conversations(&self) -> Result<(), EngineError> {
        match self {
            Self::Model(engine) => engine.forget_conversations().await,
            Self::Scripted(_) => Ok(()),
        }
    }

    /// Whether it takes requests.
    pub fn is_running(&self) -> bool {
        match self {
            Self::Model(engine) => engine.is_running(),
            Self::Scripted(script) => script.is_running(),
        }
    }

    /// Ends every request with [`EngineError::Stopped`]; see [`Engine::stop`]. Blocks.
    pub fn stop(&self) {
        match self {
            Self::Model(engine) => engine.stop(),
            Self::Scripted(script) => script.stop(),
        }
    }

    /// What computes: `native`, `portable`, or `scripted`.
    pub fn decoder(&self) -> &'static str {
        match self {
            Self::Model(engine) => engine.decoder(),
            Self::Scripted(_) => "scripted",
        }
    }

    /// See [`Engine::watched`]. A script has no rows.
    pub fn watched(&self) -> Watched {
        match self {
            Self::Model(engine) => engine.watched(),
            Self::Scripted(_) => Watched::default(),
        }
    }

    /// See [`Engine::limits`].
    pub fn limits(&self) -> EngineLimits {
        match self {
            Self::Model(engine) => engine.limits(),
            Self::Scripted(_) => EngineLimits::default(),
        }
    }

    /// See [`Engine::metrics`].
    pub fn metrics(&self) -> &EngineMetrics {
        match self {
            Self::Model(engine) => engine.metrics(),
            Self::Scripted(script) => script.metrics(),
        }
    }

    /// What it is doing now, and has done since it started.
    pub fn stats(&self) -> EngineStats {
        match self {
            Self::Model(engine) => engine.stats(),
            Self::Scripted(script) => script.stats(),
        }
    }
}
