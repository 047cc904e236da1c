//! Examples that begin alike, side by side in one sequence: what they have in common is there once, and each sees it and
//! itself. The result is that of each alone, for a fraction of the tokens.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use crate::Example;
use crate::ops::Spans;

/// How many tokens all of them begin with, at most all but the last of the shortest.
pub(crate) fn common_prefix<'a>(examples: impl IntoIterator<Item = &'a Example>) -> usize {
    let mut examples = examples.into_iter();
    let Some(first) = examples.next() else { return 0 };
    let same = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let mut prefix = first.tokens.len().saturating_sub(1);
    for example in examples {
        prefix = prefix.min(same(&first.tokens, &example.tokens)).min(example.tokens.len().saturating_sub(1));
    }
    prefix
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Batch {
    /// `[n]`: the common beginning, then the rest of each.
    pub tokens: Tensor,
    /// `[n]`.
    pub positions: Tensor,
    /// What each token sees.
    pub spans: Arc<[Spans]>,
    /// Rows whose next token is learned; a row may be there several times.
    pub rows: Tensor,
    /// What these see.
    pub asked_spans: Arc<[Spans]>,
    /// What is learned there.
    pub targets: Tensor,
    /// The example of each target.
    pub owners: Vec<usize>,
}

impl Batch {
    /// `prefix`: tokens that all begin with. `window`: tokens that a position may look back, itself included.
    pub fn new(examples: &[&Example], prefix: usize, window: Option<usize>, device: &Device) -> Result<Self> {
        let mut tokens: Vec<u32> =
            examples.first().map(|first| first.tokens[..prefix].to_vec()).unwrap_or_default();
        let mut positions: Vec<u32> = (0..prefix as u32).collect();
        let from = |position: usize| window.map_or(0, |window| (position + 1).saturating_sub(window));
        let mut spans: Vec<Spans> = (0..prefix).map(|at| [from(at)..at + 1, 0..0]).collect();
        let (mut rows, mut targets, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        for (number, example) in examples.iter().enumerate() {
            let start = tokens.len();
            for (at, (token, learned)) in example.tokens.iter().zip(&example.learned).enumerate() {
                // What is learned of the beginning would be learned once for each.
                if *learned && at > 0 {
                    rows.push(if at <= prefix { at - 1 } else { start + at - 1 - prefix } as u32);
                    targets.push(*token);
                    owners.push(number);
                }
            }
            tokens.extend(&example.tokens[prefix..]);
            positions.extend(prefix as u32..example.tokens.len() as u32);
            // Of the beginning, and of its own tokens up to itself.
            spans.extend((prefix..example.tokens.len()).map(|at| {
                let first = from(at);
                [first.min(prefix)..prefix, start + first.saturating_sub(prefix)..start + at + 1 - prefix]
            }));
        }
        let n = tokens.len();
        let asked_spans = rows.iter().map(|row: &u32| spans[*row as usize].clone()).collect();
        Ok(Self {
            tokens: Tensor::from_vec(tokens, n, device)?,
            positions: Tensor::from_vec(positions, n, device)?,
            spans: spans.into(),
            rows: Tensor::from_vec(rows.clone(), rows.len(), device)?,
            asked_spans,
            targets: Tensor::from_vec(targets, rows.len(), device)?,
            owners,
        })
    }

    /// The tokens that it computes.
    pub fn len(&self) -> usize {
        self.tokens.elem_count()
    }
}
