//! The step that is being computed: its tokens, and which adapters each of them has.

use std::ops::Range;
use std::sync::Arc;

use super::adapter::{Group, PackedAdapter};
use super::pages::Place;

/// The step that is being computed.
#[derive(Default)]
pub struct Plan {
    /// No other step has it.
    pub step: u64,
    pub tokens: Vec<Token>,
    /// The pages of every sequence, those in the step one after another.
    pub tables: Vec<u32>,
    /// Tokens of one sequence that stand side by side, a few together: they see about the same positions.
    pub neighbours: Vec<Neighbours>,
    /// Tokens of neighbours that are not alone.
    pub seen: Vec<usize>,
    /// Rows of one tile that stand side by side and have the same adapters.
    pub runs: Vec<Range<usize>>,
    /// The first run of each band.
    pub bands: Vec<usize>,
    /// Adapters in use, each once.
    pub adapters: Vec<Arc<PackedAdapter>>,
    /// Whether each of them has the same sizes in all layers.
    pub is_alike: bool,
    /// The most ranks that one has in a linear layer.
    pub ranks: usize,
    /// Every token's adapters, in the order of its mix.
    pub entries: Vec<Entry>,
}

/// See [`Plan::neighbours`].
#[derive(Debug, Clone)]
pub struct Neighbours {
    pub tokens: Range<usize>,
    /// Whether their sequence has no other tokens in the step: nobody else sees their keys and values.
    pub are_alone: bool,
}

/// One token of the step.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    pub position: usize,
    /// Where its key and value go.
    pub place: Place,
    /// The part of [`Plan::tables`] that is its sequence's.
    pub table: (usize, usize),
    /// The part of [`Plan::entries`] that is its own.
    pub entries: (usize, usize),
}

/// One adapter of one token.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Index into [`Plan::adapters`].
    pub adapter: usize,
    /// gᵢ.
    pub gate: f32,
}

impl Plan {
    /// The runs of a band.
    pub fn runs_of_band(&self, band: usize) -> Range<usize> {
        let first = |band: usize| self.bands.get(band).copied().unwrap_or(self.runs.len());
        first(band)..first(band + 1)
    }

    /// A token's adapters that have something in a layer's group: each with its place in the mix, and its index.
    pub fn used(
        &self,
        token: usize,
        layer: usize,
        group: usize,
    ) -> impl Iterator<Item = (usize, usize, Group<'_>)> + Clone {
        let (start, count) = self.tokens[token].entries;
        self.entries[start..start + count].iter().enumerate().filter_map(move |(place, entry)| {
            Some((place, entry.adapter, self.adapters[entry.adapter].group(layer, group)?))
        })
    }

    /// What a token weighs the adapter at a place of its mix with.
    pub fn gate(&self, token: usize, place: usize) -> f32 {
        self.entries[self.tokens[token].entries.0 + place].gate
    }
}
