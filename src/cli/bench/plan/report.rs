//! What was predicted beside what was seen, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::super::report::Machine;
use super::super::steps::Drift;
use crate::planner::steps::StepTimes;

/// A figure twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    pub predicted: f64,
    pub seen: f64,
    /// (predicted − seen) / seen; `None` of nothing seen.
    pub error: Option<f64>,
}

impl Pair {
    pub fn new(predicted: f64, seen: f64) -> Self {
        Self { predicted, seen, error: (seen > 0.0).then(|| (predicted - seen) / seen) }
    }

    fn cells(self) -> String {
        let error = self.error.map_or_else(|| "–".to_owned(), |error| format!("{:+.0} %", error * 100.0));
        format!("{:.1} | {:.1} | {error}", self.predicted, self.seen)
    }
}

/// One load.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Of what should be possible.
    pub share: f64,
    /// How much longer steps took around it than when they were measured; the prediction takes that into account.
    pub drift: Drift,
    pub offered_lines_per_s: f64,
    /// That were answered.
    pub lines: u64,
    /// Of those offered: refused, failed, or nobody was free to say them.
    pub not_answered: u64,
    /// Means of the answered lines, as `turn.done` told them.
    pub prompt_tokens: f64,
    pub cached_tokens: f64,
    pub generated_tokens: f64,
    /// Answers to choices that came with a line.
    pub choices: f64,
    pub first_token_p50_ms: Pair,
    pub first_token_p95_ms: Pair,
    pub lines_per_s: Pair,
    /// Share of the time in which a step is computed.
    pub predicted_busy: f64,
}

/// All of them.
#[derive(Debug, Serialize)]
pub struct Checks {
    pub version: u32,
    pub machine: Machine,
    pub model: String,
    pub decoder: String,
    pub answer_tokens: u32,
    /// Of each load.
    pub seconds: f64,
    /// What a turn adds to the engine's first token, from lines one at a time.
    pub turn_overhead_ms: f64,
    /// Of as many clients as there are rows, each with the next line at once.
    pub capacity_lines_per_s: Pair,
    pub loads: Vec<Check>,
    pub steps: StepTimes,
}

impl Checks {
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} on the {} decoder, {} × {}; answers of {} tokens, {} s for each load\n\
             a turn adds {:.1} ms; lines/s of as many clients as rows, predicted | seen | error: {}\n\n\
             | load | steps took, decode, prefill | offered lines/s | lines | prompt / cached / answered / choices | first token p50 ms, predicted | seen | error \
             | p95 ms, predicted | seen | error | lines/s, predicted | seen | error |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
            self.model,
            self.decoder,
            self.machine.cores,
            self.machine.cpu,
            self.answer_tokens,
            self.seconds,
            self.turn_overhead_ms,
            self.capacity_lines_per_s.cells(),
        );
        for check in &self.loads {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {:.0} % | {:.2}×, {:.2}× | {:.2} | {} | {:.0} / {:.0} / {:.0} / {:.1} | {} | {} | {} |",
                check.share * 100.0,
                check.drift.decode,
                check.drift.prefill,
                check.offered_lines_per_s,
                check.lines,
                check.prompt_tokens,
                check.cached_tokens,
                check.generated_tokens,
                check.choices,
                check.first_token_p50_ms.cells(),
                check.first_token_p95_ms.cells(),
                check.lines_per_s.cells(),
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shares_of_what_was_seen() {
        assert_eq!(Pair::new(90.0, 100.0).error, Some(-0.1));
        assert_eq!(Pair::new(90.0, 100.0).cells(), "90.0 | 100.0 | -10 %");
        assert_eq!(Pair::new(1.0, 0.0).cells(), "1.0 | 0.0 | –");
    }
}
