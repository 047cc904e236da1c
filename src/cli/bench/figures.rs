//! What the requests of a closed loop saw, and the figures of it.

use serde::Serialize;

use super::Workload;
use super::stats::{Percentiles, median, percentiles};

/// What one request saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub first_token_ms: f64,
    /// One for every further token.
    pub gaps_ms: Vec<f64>,
    pub tokens: u32,
    pub cached: u32,
    pub prompt: u32,
    /// Adapters that took part.
    pub adapters: usize,
    pub reply: String,
}

/// What one closed loop gave.
#[derive(Debug)]
pub struct Loop {
    /// From the first request to the end of the last cold answer.
    pub seconds: f64,
    pub cold: Vec<Seen>,
    /// The next line of every client's last conversation, all at once.
    pub warm: Vec<Seen>,
}

/// One number of rows with one kind of adapters.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Conversations at the same time.
    pub rows: usize,
    pub adapters: Workload,
    /// Adapters of one request, as the gateway or the engine took them.
    pub adapters_each: f64,
    pub prompt_tokens: f64,
    /// Prompt tokens of a cold request that were not computed for it: what all prompts begin with.
    pub cached_tokens: f64,
    pub answer_tokens: f64,
    /// Generated tokens over the whole time, prompts included.
    pub tokens_per_second: f64,
    /// Rows over the median time between two tokens of one row.
    pub decode_tokens_per_second: f64,
    pub first_token_ms: Percentiles,
    pub inter_token_ms: Percentiles,
    /// Of the next line of the same conversation.
    pub warm_first_token_ms: Percentiles,
    /// Share of that line's prompt that was not computed again.
    pub warm_cached_share: f64,
}

impl Seen {
    /// Notes a piece of text that came `gap_ms` after the one before, or after the request.
    ///
    /// A piece may hold several tokens, of which the first ones had no whole character.
    pub fn piece(&mut self, text: &str, tokens: u32, gap_ms: f64) {
        if self.reply.is_empty() {
            self.first_token_ms = gap_ms;
        } else {
            self.gaps_ms.extend((0..tokens).map(|_| gap_ms / f64::from(tokens)));
        }
        self.reply += text;
    }

    /// When each token came, in milliseconds after the request.
    pub fn times_ms(&self) -> impl Iterator<Item = f64> {
        let first = (!self.reply.is_empty()).then_some(self.first_token_ms);
        let gaps = self.gaps_ms.iter().copied();
        first.into_iter().chain(gaps).scan(0.0, |at, gap| {
            *at += gap;
            Some(*at)
        })
    }

    pub fn cached_share(&self) -> f64 {
        f64::from(self.cached) / f64::from(self.prompt.max(1))
    }
}

impl Figures {
    pub fn new(rows: usize, adapters: Workload, measured: &Loop) -> Self {
        let Loop { seconds, cold, warm } = measured;
        let tokens: u32 = cold.iter().map(|seen| seen.tokens).sum();
        let middle = |value: fn(&Seen) -> f64| median(cold.iter().map(value).collect());
        let step = percentiles(cold.iter().flat_map(|seen| seen.gaps_ms.iter().copied()).collect());
        Self {
            rows,
            adapters,
            adapters_each: middle(|seen| seen.adapters as f64),
            prompt_tokens: middle(|seen| f64::from(seen.prompt)),
            cached_tokens: middle(|seen| f64::from(seen.cached)),
            answer_tokens: middle(|seen| f64::from(seen.tokens)),
            tokens_per_second: if *seconds > 0.0 { f64::from(tokens) / seconds } else { 0.0 },
            decode_tokens_per_second: if step.p50 > 0.0 { rows as f64 * 1e3 / step.p50 } else { 0.0 },
            first_token_ms: percentiles(cold.iter().map(|seen| seen.first_token_ms).collect()),
            inter_token_ms: step,
            warm_first_token_ms: percentiles(warm.iter().map(|seen| seen.first_token_ms).collect()),
            warm_cached_share: median(warm.iter().map(Seen::cached_share).collect()),
        }
    }

    /// The median of each figure over the repeats of one case; `None` of none.
    pub fn median(all: &[Self]) -> Option<Self> {
        let first = all.first()?;
        let of = |value: fn(&Self) -> f64| median(all.iter().map(value).collect());
        let three =
            |value: fn(&Self) -> Percentiles| Percentiles::median(&all.iter().map(value).collect::<Vec<_>>());
        Some(Self {
            rows: first.rows,
            adapters: first.adapters,
            adapters_each: of(|f| f.adapters_each),
            prompt_tokens: of(|f| f.prompt_tokens),
            cached_tokens: of(|f| f.cached_tokens),
            answer_tokens: of(|f| f.answer_tokens),
            tokens_per_second: of(|f| f.tokens_per_second),
            decode_tokens_per_second: of(|f| f.decode_tokens_per_second),
            first_token_ms: three(|f| f.first_token_ms),
            inter_token_ms: three(|f| f.inter_token_ms),
            warm_first_token_ms: three(|f| f.warm_first_token_ms),
            warm_cached_share: of(|f| f.warm_cached_share),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(first_ms: f64, gap_ms: f64, tokens: u32) -> Seen {
        let mut seen = Seen { tokens, prompt: 120, cached: 30, adapters: 4, ..Seen::default() };
        seen.piece("a", 1, first_ms);
        for _ in 1..tokens {
            seen.piece("b", 1, gap_ms);
        }
        seen
    }

    #[test]
    fn a_loop_becomes_figures() {
        let cold = vec![seen(100.0, 10.0, 11), seen(300.0, 10.0, 11)];
        let measured = Loop { seconds: 0.5, cold, warm: vec![seen(20.0, 0.0, 1)] };
        let figures = Figures::new(2, Workload::Different, &measured);
        assert_eq!((figures.tokens_per_second, figures.decode_tokens_per_second), (44.0, 200.0));
        assert_eq!((figures.first_token_ms.p50, figures.inter_token_ms.p99), (200.0, 10.0));
        assert_eq!(
            (figures.prompt_tokens, figures.cached_tokens, figures.answer_tokens),
            (120.0, 30.0, 11.0)
        );
        assert_eq!((figures.adapters_each, figures.warm_cached_share), (4.0, 0.25));
        assert_eq!(figures.warm_first_token_ms.p50, 20.0);
    }

    #[test]
    fn a_piece_of_several_tokens_counts_for_each() {
        let mut seen = Seen::default();
        seen.piece("é", 2, 40.0);
        seen.piece("…", 3, 30.0);
        assert_eq!((seen.first_token_ms, &seen.gaps_ms[..]), (40.0, &[10.0, 10.0, 10.0][..]));
        assert_eq!(seen.reply, "é…");
        assert_eq!(seen.times_ms().collect::<Vec<_>>(), [40.0, 50.0, 60.0, 70.0]);
        assert_eq!(Seen::default().times_ms().count(), 0);
    }

    #[test]
    fn repeats_become_their_medians() {
        let of = |seconds| {
            let measured = Loop { seconds, cold: vec![seen(seconds, 1.0, 4)], warm: Vec::new() };
            Figures::new(1, Workload::None, &measured)
        };
        let median = Figures::median(&[of(4.0), of(1.0), of(2.0)]).unwrap();
        assert_eq!((median.tokens_per_second, median.first_token_ms.p95), (2.0, 2.0));
        assert!(Figures::median(&[]).is_none());
    }
}
