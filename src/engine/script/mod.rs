//! Plays given text at a given rate in the place of a model: a tool to load everything above the engine with.
//!
//! A line is spoken word by word, a word being a token. Which one is chosen by `generation.seed`, so that who set it
//! knows the answer; without a seed it is the next in turn.

mod play;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
pub mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub use self::play::Play;
use self::text::{Lines, MAX_BYTES};
use super::checks::{bad, check_stops};
use super::{Choice, Choose, EngineError, EngineStats, Generate, Generation, MAX_OPTIONS, Usage};
use crate::config;
use crate::metrics::{Class, EngineMetrics, Kind, Refused};

/// When a caller may try again for whom there was no place.
const RETRY_MS: u64 = 1000;

/// A handle to the script; a clone is cheap.
#[derive(Debug, Clone)]
pub struct Script {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lines: Lines,
    /// 0: as fast as it can.
    tokens_per_second: f64,
    delta_tokens: u32,
    max_turns: usize,
    /// Tokens of an answer at most, as the model's context bounds them.
    context: u32,
    running: AtomicBool,
    /// Answers that are being played.
    live: AtomicUsize,
    /// Tokens played so far.
    tokens: AtomicU64,
    /// Answers without a seed so far.
    unseeded: AtomicU64,
    metrics: EngineMetrics,
    /// Who sees the prompts, in tests.
    #[cfg(test)]
    watch: Option<watch::Watch>,
}

/// One of `engine.script_max_turns`, given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Script {
    /// Reads the script.
    ///
    /// # Errors
    /// [`EngineError::BadScript`] if the file cannot be read, is larger than 1 MiB or has no line.
    pub fn start(config: &config::Engine) -> Result<Self, EngineError> {
        let file = &config.script_file;
        let bad = |reason: String| EngineError::BadScript { path: file.clone(), reason };
        let lines = if file.as_os_str().is_empty() {
            Lines::built_in().map_err(|empty| bad(empty.to_string()))?
        } else {
            let text = read(file).map_err(&bad)?;
            Lines::parse(&text).map_err(|empty| bad(empty.to_string()))?
        };
        tracing::warn!(
            tokens_per_second = config.script_tokens_per_second,
            file = %file.display(),
            "engine.kind = \"scripted\": no model answers, a script does; this is for load tests alone"
        );
        let shared = Shared {
            lines,
            tokens_per_second: config.script_tokens_per_second,
            delta_tokens: config.script_delta_tokens,
            max_turns: config.script_max_turns,
            context: config.context as u32,
            running: AtomicBool::new(true),
            live: AtomicUsize::new(0),
            tokens: AtomicU64::new(0),
            unseeded: AtomicU64::new(0),
            metrics: EngineMetrics::default(),
            #[cfg(test)]
            watch: None,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Starts an answer.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] if `engine.script_max_turns` are being played, [`EngineError::BadRequest`],
    /// [`EngineError::Stopped`].
    pub fn generate(&self, request: &Generate) -> Result<Generation, EngineError> {
        request.sampling.check()?;
        if request.max_tokens == 0 {
            return Err(bad("max_tokens", 0, "at least 1"));
        }
        check_stops(&request.stop)?;
        let place = self.place(Kind::Generate, request.schedule.background)?;
        #[cfg(test)]
        if let Some(shared) = self.shared.watched(request) {
            return Ok(Play::new(&shared, request, 0, place).into());
        }
        let line =
            request.sampling.seed.unwrap_or_else(|| self.shared.unseeded.fetch_add(1, Ordering::Relaxed));
        Ok(Play::new(&self.shared, request, line, place).into())
    }

    /// A distribution over the options that depends on their texts alone.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn choose(&self, request: &Choose) -> Result<Choice, EngineError> {
        if request.options.is_empty() || request.options.len() > MAX_OPTIONS {
            return Err(bad("options", request.options.len(), format!("1 to {MAX_OPTIONS} texts")));
        }
        let _place = self.place(Kind::Choose, request.schedule.background)?;
        #[cfg(test)]
        self.shared.watch_choice(request);
        let weight = |text: &String| 1.0 + text.bytes().map(f32::from).sum::<f32>() % 7.0;
        let weights: Vec<f32> = request.options.iter().map(weight).collect();
        let sum: f32 = weights.iter().sum();
        Ok(Choice { probs: weights.iter().map(|weight| weight / sum).collect(), usage: Usage::default() })
    }

    /// Whether it takes requests.
    pub fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::Acquire)
    }

    /// Ends every answer with [`EngineError::Stopped`] at its next token.
    pub fn stop(&self) {
        self.shared.running.store(false, Ordering::Release);
    }

    /// `live` and `tokens`; a script has no more.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            live: self.shared.live.load(Ordering::Acquire),
            tokens: self.shared.tokens.load(Ordering::Relaxed),
            ..EngineStats::default()
        }
    }

    pub(super) fn metrics(&self) -> &EngineMetrics {
        &self.shared.metrics
    }

    /// Tokens of an answer at most.
    pub(super) fn context(&self) -> usize {
        self.shared.context as usize
    }

    fn place(&self, kind: Kind, background: bool) -> Result<Place, EngineError> {
        if !self.is_running() {
            return Err(EngineError::Stopped);
        }
        let most = self.shared.max_turns;
        let metrics = &self.shared.metrics;
        self.shared
            .live
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |live| (live < most).then_some(live + 1))
            .map_err(|_| {
                metrics.refused.of(Refused::QueueFull, Class::of(background)).inc();
                EngineError::Overloaded { retry_after_ms: RETRY_MS }
            })?;
        metrics.requests.of(kind).inc();
        Ok(Place(Arc::clone(&self.shared)))
    }
}

/// The text of a script's file, or why there is none.
fn read(file: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if bytes > MAX_BYTES {
        return Err(format!("it has {bytes} bytes, at most {MAX_BYTES} are read"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}
