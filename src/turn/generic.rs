//! Who answers a line: the engine, or, where no adapter takes part, the model that is chosen for it.

use std::time::{Duration, Instant};

use super::run::Runner;
use crate::engine::{EngineError, Generate, Generation, Message, Usage};
use crate::metrics::Answerer;
use crate::models::{Answered, Ask};

/// Who answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The engine: there was no choice.
    Engine,
    /// The engine's base model, which was chosen.
    Base { asked: Instant },
    /// A model elsewhere.
    Remote,
}

impl Source {
    /// As what it is counted.
    pub fn counted(self) -> Answerer {
        match self {
            Self::Engine => Answerer::Engine,
            Self::Base { .. } => Answerer::Base,
            Self::Remote => Answerer::Remote,
        }
    }
}

/// An answer on its way.
pub(super) struct Opened {
    pub generation: Generation,
    pub source: Source,
    /// Time that others took in vain before.
    pub before: Duration,
}

impl Runner {
    /// Has the line answered.
    pub(super) async fn generate(
        &self,
        request: Generate,
        messages: &[Message],
    ) -> Result<Opened, EngineError> {
        let engine = &self.turns.engine;
        let generic = self.used.is_empty() && !request.ignore_end;
        let Some(models) = self.turns.models.as_ref().filter(|_| generic) else {
            let generation = engine.generate(request)?;
            return Ok(Opened { generation, source: Source::Engine, before: Duration::ZERO });
        };
        let (sampling, stop) = (request.sampling.clone(), request.stop.clone());
        let ask = Ask {
            archetype: &self.npc.info.archetype,
            messages,
            sampling: &sampling,
            stop: &stop,
            max_tokens: request.max_tokens,
            prompt_tokens: request.prompt.len() as u32,
        };
        // Its time for a row begins when it is asked.
        let local = || engine.generate(Generate { schedule: self.schedule(), ..request });
        let Answered { generation, is_local, before } = models.answer(&ask, local).await?;
        let source = if is_local { Source::Base { asked: Instant::now() } } else { Source::Remote };
        Ok(Opened { generation, source, before })
    }

    /// An answer ended: the next choice knows how fast it was.
    pub(super) fn measured(&self, source: Source, usage: &Usage) {
        if let (Some(models), Source::Base { asked }) = (&self.turns.models, source) {
            let first = Duration::from_secs_f64(usage.first_token_ms.max(0.0) / 1e3);
            let more = usage.generated_tokens.saturating_sub(1);
            models.measured(first, more, asked.elapsed().saturating_sub(first));
        }
    }
}
