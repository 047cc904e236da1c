//! How fast a model answers, as it was measured.

use std::time::{Duration, Instant};

/// The share that the newest answer has.
const SHARE: f64 = 0.2;

/// Tokens of the line for which models are compared.
pub const LINE_TOKENS: f64 = 48.0;

/// Moving averages over a model's answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Milliseconds until the first token.
    pub first_ms: f64,
    /// Tokens a second from then on.
    pub tokens_per_s: f64,
}

impl Latency {
    /// Milliseconds that a line takes.
    pub fn line_ms(&self) -> f64 {
        self.first_ms + LINE_TOKENS * 1e3 / self.tokens_per_s
    }
}

/// What is known of a model's speed. Time is given to it.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    first_ms: Option<f64>,
    tokens_per_s: Option<f64>,
    last: Option<Instant>,
}

impl Measured {
    /// An answer came: its first token after so long, and so many more tokens within so long.
    pub fn note(&mut self, first: Duration, more: u32, within: Duration, now: Instant) {
        self.first_ms = Some(average(self.first_ms, first.as_secs_f64() * 1e3));
        if more > 0 && !within.is_zero() {
            self.tokens_per_s = Some(average(self.tokens_per_s, f64::from(more) / within.as_secs_f64()));
        }
        self.last = Some(now);
    }

    /// What was measured, if the last time was not longer ago than that.
    pub fn within(&self, age: Duration, now: Instant) -> Option<Latency> {
        self.last.filter(|last| now.saturating_duration_since(*last) <= age)?;
        // One that has only said single words is taken for one that says the rest at once.
        let tokens_per_s = self.tokens_per_s.unwrap_or(f64::INFINITY);
        Some(Latency { first_ms: self.first_ms?, tokens_per_s })
    }
}

fn average(before: Option<f64>, new: f64) -> f64 {
    before.map_or(new, |before| before + SHARE * (new - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_answers_count_more_and_old_ones_no_more() {
        let (mut measured, now) = (Measured::default(), Instant::now());
        let age = Duration::from_mins(1);
        assert_eq!(measured.within(age, now), None);
        let seconds = Duration::from_secs;
        measured.note(seconds(1), 0, Duration::ZERO, now);
        let one_word = measured.within(age, now).unwrap();
        assert_eq!((one_word.first_ms, one_word.line_ms()), (1e3, 1e3));
        measured.note(seconds(2), 100, seconds(2), now);
        measured.note(seconds(2), 100, seconds(1), now);
        let latency = measured.within(age, now).unwrap();
        assert!((latency.first_ms - 1360.0).abs() < 1e-9 && (latency.tokens_per_s - 60.0).abs() < 1e-9);
        assert!((latency.line_ms() - 2160.0).abs() < 1e-9);
        assert_eq!(measured.within(age, now + seconds(60)), Some(latency));
        assert_eq!(measured.within(age, now + seconds(61)), None);
    }
}
