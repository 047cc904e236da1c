//! One answer of a script on its way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::text::Line;
use super::{Place, Shared};
use crate::engine::{EngineError, Event, FinishReason, Generate, Usage};

/// An answer that is being played. It has no task and no channel of its own: whoever asks for the next event waits for
/// its time, so that many thousands cost a timer each.
#[derive(Debug)]
pub struct Play {
    shared: Arc<Shared>,
    /// Which line of the script.
    line: u64,
    /// Bytes of the line that are played.
    bytes: usize,
    /// Begins again at the end.
    endless: bool,
    max_tokens: u32,
    stage: Stage,
    asked: Instant,
    /// Made with the first wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// The next token of the line.
    next: usize,
    tokens: u32,
    first_token_ms: f64,
    _place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    Speaking,
    Ended,
}

impl Play {
    pub(super) fn new(shared: &Arc<Shared>, request: &Generate, line: u64, place: Place) -> Self {
        let text = &shared.lines.pick(line).text;
        let stops = request.stop.iter().filter(|_| !request.ignore_end);
        let bytes = stops.filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
        Self {
            line,
            bytes,
            endless: request.ignore_end,
            max_tokens: request.max_tokens.min(shared.context),
            stage: Stage::Asked,
            asked: Instant::now(),
            timer: None,
            next: 0,
            tokens: 0,
            first_token_ms: 0.0,
            shared: Arc::clone(shared),
            _place: place,
        }
    }

    /// The next event when its time has come; `None` after the last. A future that is dropped loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        match self.stage {
            Stage::Ended => return None,
            Stage::Asked => {
                self.stage = Stage::Speaking;
                return Some(Event::Started { prompt_tokens: 0, cached_tokens: 0 });
            }
            Stage::Speaking => {}
        }
        if let Some(reason) = self.end() {
            return Some(self.finish(reason));
        }
        let tokens = self.shared.delta_tokens.min(self.max_tokens - self.tokens);
        self.until(self.tokens + tokens).await;
        if !self.shared.running.load(Ordering::Acquire) {
            self.stage = Stage::Ended;
            return Some(Event::Failed { error: EngineError::Stopped });
        }
        let shared = Arc::clone(&self.shared);
        let (text, tokens) = self.take(shared.lines.pick(self.line), tokens);
        if self.tokens == 0 {
            self.first_token_ms = self.elapsed_ms();
        }
        self.tokens += tokens;
        Some(Event::Text { text, tokens })
    }

    /// Whether everything was played.
    fn end(&self) -> Option<FinishReason> {
        let start = self.start(self.shared.lines.pick(self.line));
        if start >= self.bytes && !self.endless {
            Some(FinishReason::Stop)
        } else if self.tokens >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    /// Where the next token of the line begins.
    fn start(&self, line: &Line) -> usize {
        self.next.checked_sub(1).map_or(0, |last| line.ends[last])
    }

    /// The text of the next tokens, as many of these as there are.
    fn take(&mut self, line: &Line, tokens: u32) -> (String, u32) {
        let mut text = String::new();
        for taken in 0..tokens {
            let mut start = self.start(line);
            if start >= self.bytes {
                if !self.endless {
                    return (text, taken);
                }
                text.push(' ');
                (self.next, start) = (0, 0);
            }
            text.push_str(&line.text[start..line.ends[self.next].min(self.bytes)]);
            self.next += 1;
        }
        (text, tokens)
    }

    /// Waits until so many tokens are due.
    async fn until(&mut self, tokens: u32) {
        let rate = self.shared.tokens_per_second;
        if rate <= 0.0 {
            return;
        }
        let due = self.asked + Duration::from_secs_f64(f64::from(tokens) / rate);
        if due <= Instant::now() {
            return;
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(due.into()),
            None => self.timer = Some(Box::pin(sleep_until(due.into()))),
        }
        if let Some(timer) = &mut self.timer {
            timer.as_mut().await;
        }
    }

    fn finish(&mut self, reason: FinishReason) -> Event {
        self.stage = Stage::Ended;
        let usage = Usage {
            generated_tokens: self.tokens,
            first_token_ms: self.first_token_ms,
            first_token_steps: 1,
            steps: self.tokens,
            ..Usage::default()
        };
        Event::Finished { reason, usage }
    }

    fn elapsed_ms(&self) -> f64 {
        self.asked.elapsed().as_secs_f64() * 1e3
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.shared.tokens.fetch_add(self.tokens.into(), Ordering::Relaxed);
    }
}
