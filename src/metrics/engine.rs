//! The engine: counted by its handles and by its thread.

use std::fmt;

use super::bounds;
use super::by::{By, By2};
use super::kinds::{Counter, Histogram};
use super::labels::label;
use super::page::Page;

/// Who waits for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Player,
    /// Nobody does.
    Background,
}

label!(Class, "class" { Player = "player", Background = "background" });

impl Class {
    pub fn of(background: bool) -> Self {
        if background { Self::Background } else { Self::Player }
    }
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Generate,
    Choose,
    Warm,
}

label!(Kind, "kind" { Generate = "generate", Choose = "choose", Warm = "warm" });

/// What a token is computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPhase {
    Prefill,
    Decode,
    /// Of an option of a choice.
    Option,
}

label!(TokenPhase, "phase" { Prefill = "prefill", Decode = "decode", Option = "option" });

/// Why a request found no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    QueueFull,
    /// Its row would come too late.
    Deadline,
    /// The queue stands.
    Overload,
    /// Adapters in use leave no room for its own.
    AdapterMemory,
}

label!(Refused, "cause" {
    QueueFull = "queue_full",
    Deadline = "deadline",
    Overload = "overload",
    AdapterMemory = "adapter_memory",
});

/// See the module's documentation. What the engine can be asked for is not here.
#[derive(Debug)]
pub struct EngineMetrics {
    pub requests: By<Kind>,
    pub refused: By2<Refused, Class>,
    /// From a request to its row.
    pub queue_wait: By<Class, Histogram>,
    pub steps_failed: Counter,
    pub step: Histogram,
    pub tokens: By<TokenPhase>,
    /// Of requests that had a row.
    pub prompt_tokens: By<Kind>,
    pub cached_tokens: By<Kind>,
    pub adapter_load_failures: Counter,
    pub adapter_evictions: Counter,
    pub adapter_load: Histogram,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        Self {
            requests: By::default(),
            refused: By2::default(),
            queue_wait: By::histograms(bounds::WAIT),
            steps_failed: Counter::default(),
            step: Histogram::new(bounds::STEP),
            tokens: By::default(),
            prompt_tokens: By::default(),
            cached_tokens: By::default(),
            adapter_load_failures: Counter::default(),
            adapter_evictions: Counter::default(),
            adapter_load: Histogram::new(bounds::WAIT),
        }
    }
}

impl EngineMetrics {
    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer.
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.by("engine_requests", "Requests that took a place in the queue", &self.requests)?;
        page.by2("engine_refused", "Requests that found no place", &self.refused)?;
        page.histograms_by("engine_queue_wait_seconds", "Time from a request to its row", &self.queue_wait)?;
        page.counter(
            "engine_steps_failed",
            "Steps that could not be computed; their requests ended",
            &self.steps_failed,
        )?;
        page.histogram("engine_step_seconds", "Time of a step", &self.step)?;
        page.by("engine_tokens", "Tokens computed", &self.tokens)?;
        page.by(
            "engine_prompt_tokens",
            "Tokens of the prompts of requests that had a row",
            &self.prompt_tokens,
        )?;
        page.by("engine_cached_tokens", "Of these, how many were there already", &self.cached_tokens)?;
        page.counter(
            "engine_adapter_load_failures",
            "Adapters that could not be read again",
            &self.adapter_load_failures,
        )?;
        page.counter(
            "engine_adapter_evictions",
            "Adapters that left memory because others needed it",
            &self.adapter_evictions,
        )?;
        page.histogram("engine_adapter_load_seconds", "Time that reading an adapter took", &self.adapter_load)
    }
}
