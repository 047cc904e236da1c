//! What a request goes through, as spans of level debug: `request`, and in it, one after the other, `queued`, `prefill`,
//! and `decode` or, of a choice, `options`. Where nobody wants them they cost a look at a flag.

use tracing::Span;
use tracing::field::{Empty, display};

use super::EngineError;

/// The spans of one request; they end when it is dropped. The default has none.
#[derive(Debug)]
pub struct RequestSpans {
    // Fields are dropped in their order: a part ends before the whole.
    phase: Span,
    request: Span,
}

impl Default for RequestSpans {
    fn default() -> Self {
        Self { phase: Span::none(), request: Span::none() }
    }
}

/// A count as OpenTelemetry has numbers: signed. It would be exported as a text otherwise.
pub fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// Ends one part and begins another one. A macro, because a span's name must be known when it is compiled.
macro_rules! enter {
    ($spans:ident, $name:literal) => {
        if !$spans.request.is_disabled() {
            $spans.phase = Span::none();
            $spans.phase = tracing::debug_span!(parent: &$spans.request, $name);
        }
    };
}

impl RequestSpans {
    /// A request is made, inside the caller's span: it waits for a row. `kind`: what it wants.
    pub fn begin(kind: &'static str, prompt_tokens: usize, background: bool) -> Self {
        let request = tracing::debug_span!(
            "request",
            kind,
            prompt_tokens = number(prompt_tokens),
            background,
            cached_tokens = Empty,
            generated_tokens = Empty,
            error = Empty
        );
        let mut spans = Self { phase: Span::none(), request };
        spans.queued();
        spans
    }

    /// It waits for a row.
    pub fn queued(&mut self) {
        enter!(self, "queued");
    }

    /// It has one, and so many tokens of its prompt were there.
    pub fn prefill(&mut self, cached_tokens: usize) {
        self.request.record("cached_tokens", number(cached_tokens));
        enter!(self, "prefill");
    }

    /// Its prompt is computed; tokens come.
    pub fn decode(&mut self) {
        enter!(self, "decode");
    }

    /// Its prompt is computed; options are scored.
    pub fn options(&mut self) {
        enter!(self, "options");
    }

    /// It was answered with so many tokens.
    pub fn finished(&self, generated_tokens: u32) {
        self.request.record("generated_tokens", number(generated_tokens));
    }

    pub fn failed(&self, error: &EngineError) {
        self.request.record("error", display(error));
    }

    /// A step computes a part of it.
    pub fn in_step(&self, step: &Span) {
        step.follows_from(&self.request);
    }
}
