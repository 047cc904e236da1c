//! One answer of a script on its way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::text::Line;
use super::{Place, Shared};
use crate::engine::{EngineError, Event, FinishReason, Generate, Usage};
use crate::metrics::TokenPhase;

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
        if let Some(due) = self.due() {
            self.until(due).await;
        }
        self.play()
    }

    /// The next event if its time has come.
    pub fn ready(&mut self) -> Option<Event> {
        if self.due().is_some_and(|due| due > Instant::now()) { None } else { self.play() }
    }

    /// When the next event is due; `None`: now.
    fn due(&self) -> Option<Instant> {
        let rate = self.shared.tokens_per_second;
        if rate <= 0.0 || self.stage != Stage::Speaking || self.end().is_some() {
            return None;
        }
        let tokens = self.tokens + self.piece();
        Some(self.asked + Duration::from_secs_f64(f64::from(tokens) / rate))
    }

    /// Tokens of the next piece.
    fn piece(&self) -> u32 {
        self.shared.delta_tokens.min(self.max_tokens - self.tokens)
    }

    /// The next event, which is due.
    fn play(&mut self) -> Option<Event> {
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
        if !self.shared.running.load(Ordering::Acquire) {
            self.stage = Stage::Ended;
            return Some(Event::Failed { error: EngineError::Stopped });
        }
        let (text, tokens) = self.take(self.piece());
        if self.tokens == 0 {
            self.first_token_ms = self.elapsed_ms();
        }
        self.tokens += tokens;
        Some(Event::Text { text, tokens })
    }

    /// Whether everything was played.
    fn end(&self) -> Option<FinishReason> {
        let start = start(self.shared.lines.pick(self.line), self.next);
        if start >= self.bytes && !self.endless {
            Some(FinishReason::Stop)
        } else if self.tokens >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    /// The text of the next tokens, as many of these as there are.
    fn take(&mut self, tokens: u32) -> (String, u32) {
        let line = self.shared.lines.pick(self.line);
        let mut text = String::new();
        for taken in 0..tokens {
            let mut start = start(line, self.next);
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

    /// Waits until then.
    async fn until(&mut self, due: Instant) {
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

/// Where a token of a line begins.
fn start(line: &Line, token: usize) -> usize {
    token.checked_sub(1).map_or(0, |last| line.ends[last])
}

impl Drop for Play {
    fn drop(&mut self) {
        self.shared.tokens.fetch_add(self.tokens.into(), Ordering::Relaxed);
        self.shared.metrics.tokens.of(TokenPhase::Decode).add(self.tokens.into());
    }
}
