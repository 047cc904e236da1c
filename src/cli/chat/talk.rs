//! One turn that is running: where it stands and how fast it came.

use std::time::Instant;

use crate::wire::{Cid, ErrorPayload, TurnDone};

/// A turn that is running.
pub(super) struct Talk {
    pub(super) cid: Cid,
    pub(super) turn: String,
    said: Instant,
    pub(super) started: bool,
    pub(super) cancelled: bool,
    /// Where the screen stands: characters of the answer so far, and whether a line is open.
    pub(super) chars: u64,
    pub(super) open_line: bool,
    /// When the first tokens came, and how many came at once.
    first: Option<(Instant, u32)>,
    last: Instant,
    tokens: u32,
    pub(super) error: Option<String>,
}

impl Talk {
    /// A turn that is said now.
    pub(super) fn new(cid: Cid, turn: String) -> Self {
        let now = Instant::now();
        Self {
            cid,
            turn,
            said: now,
            started: false,
            cancelled: false,
            chars: 0,
            open_line: false,
            first: None,
            last: now,
            tokens: 0,
            error: None,
        }
    }

    /// Some tokens came.
    pub(super) fn count(&mut self, tokens: u32, now: Instant) {
        self.first.get_or_insert((now, tokens));
        self.last = now;
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// How fast the answer came, as it was seen here.
    pub(super) fn stats(&self, done: &TurnDone) -> String {
        let tokens = done.usage.generated_tokens.max(self.tokens);
        let mut parts = vec![format!("{tokens} tokens")];
        if let Some((first, at_once)) = self.first {
            // The tokens of the first piece came together with it: they took no time after it.
            let seconds = self.last.duration_since(first).as_secs_f64();
            let after = self.tokens.saturating_sub(at_once);
            if after > 0 && seconds > 0.0 {
                parts.push(format!("{:.1} tokens/s", f64::from(after) / seconds));
            }
            parts.push(format!("first after {} ms", first.duration_since(self.said).as_millis()));
        }
        parts
            .push(format!("prompt {} tokens, {} cached", done.usage.prompt_tokens, done.usage.cached_tokens));
        format!("[{}]", parts.join(", "))
    }
}

/// An error of the gateway in one line.
pub(super) fn describe(error: &ErrorPayload) -> String {
    let mut text = error.message.clone();
    if let Some(field) = &error.field
        && !text.contains(field.as_str())
    {
        text = format!("{field}: {text}");
    }
    if let Some(ms) = error.retry_after_ms {
        text = format!("{text} (try again in {} s)", ms.div_ceil(1000));
    }
    text
}
