//! How a step is cut into runs of the graph. Pure.

use std::ops::Range;

use crate::engine::decoder::StepToken;

/// One run of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Several tokens of one sequence: `GroupQueryAttention` takes a past and several new tokens only for
    /// a batch of one.
    Prefill {
        /// Indices into the step's tokens.
        tokens: Range<usize>,
    },
    /// One token for each sequence from `rows.start` to `rows.end`, which lie side by side in memory.
    Decode {
        rows: Range<usize>,
        /// For each row its index in the step's tokens; `None`: a row that only fills a gap.
        tokens: Vec<Option<usize>>,
    },
}

/// The longest gap between two rows that is filled with idle rows instead of starting another run.
///
/// A run reads all weights once whatever its rows, so an idle row or two cost less than a run.
const MAX_GAP: usize = 2;

/// Cuts a step into runs. `may_idle(row)`: the row has room for a token that will be overwritten later.
pub fn cut(tokens: &[StepToken], may_idle: impl Fn(usize) -> bool) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut single: Vec<(usize, usize)> = Vec::new();
    let mut start = 0;
    while start < tokens.len() {
        let sequence = tokens[start].sequence;
        let length = tokens[start..].iter().take_while(|t| t.sequence == sequence).count();
        if length == 1 {
            single.push((sequence, start));
        } else {
            runs.push(Run::Prefill { tokens: start..start + length });
        }
        start += length;
    }
    single.sort_unstable();
    let mut open: Option<(Range<usize>, Vec<Option<usize>>)> = None;
    for (row, token) in single {
        open = Some(match open.take() {
            Some((rows, mut entries)) if row - rows.end <= MAX_GAP && (rows.end..row).all(&may_idle) => {
                entries.extend((rows.end..row).map(|_| None));
                entries.push(Some(token));
                (rows.start..row + 1, entries)
            }
            previous => {
                runs.extend(previous.map(|(rows, tokens)| Run::Decode { rows, tokens }));
                (row..row + 1, vec![Some(token)])
            }
        });
    }
    runs.extend(open.map(|(rows, tokens)| Run::Decode { rows, tokens }));
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(sequence: usize, position: usize) -> StepToken {
        StepToken { sequence, position, token: 1, wants_logits: true }
    }

    #[test]
    fn neighbours_share_a_run_and_prefills_stand_alone() {
        let tokens = [token(2, 9), token(0, 0), token(0, 1), token(3, 4), token(1, 7)];
        let runs = cut(&tokens, |_| true);
        assert_eq!(
            runs,
            [
                Run::Prefill { tokens: 1..3 },
                Run::Decode { rows: 1..4, tokens: vec![Some(4), Some(0), Some(3)] },
            ]
        );
    }

    #[test]
    fn small_gaps_are_filled_and_large_ones_split() {
        let tokens = [token(0, 5), token(3, 5), token(9, 5)];
        assert_eq!(
            cut(&tokens, |_| true),
            [
                Run::Decode { rows: 0..4, tokens: vec![Some(0), None, None, Some(1)] },
                Run::Decode { rows: 9..10, tokens: vec![Some(2)] },
            ]
        );
    }

    #[test]
    fn a_full_row_is_never_filled() {
        let tokens = [token(0, 5), token(2, 5)];
        assert_eq!(
            cut(&tokens, |row| row != 1),
            [
                Run::Decode { rows: 0..1, tokens: vec![Some(0)] },
                Run::Decode { rows: 2..3, tokens: vec![Some(1)] },
            ]
        );
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(cut(&[], |_| true).is_empty());
    }
}
