//! What comes before a linear layer's product.

use super::super::super::kernel::BAND_TILES;
use super::super::prepare::Prepared;
use super::{Adapters, By};

/// What comes before a linear layer's product: its input, and u = A·x.
pub struct First<'a> {
    input: &'a Prepared<'a>,
    adapters: Option<&'a Adapters<'a>>,
    /// Whether u follows on the preparation of its band, and not in a stage of its own, for which all would wait.
    is_one: bool,
}

impl<'a> First<'a> {
    pub fn new(input: &'a Prepared<'a>, adapters: Option<&'a Adapters<'a>>) -> Self {
        let is_one = adapters.is_some_and(|adapters| adapters.by == By::Bands);
        Self { input, adapters, is_one }
    }

    /// How often [`Self::prepare`] is to be called.
    pub fn pieces(&self) -> usize {
        if self.is_one { self.input.tiles().div_ceil(BAND_TILES) } else { self.input.tiles() }
    }

    /// Prepares a tile, or a band.
    pub fn prepare(&self, piece: usize) {
        let Some(adapters) = self.adapters.filter(|_| self.is_one) else {
            return self.input.tile(piece);
        };
        let last = self.input.tiles() - 1;
        let tiles: [_; BAND_TILES] = std::array::from_fn(|i| piece * BAND_TILES + i);
        tiles.iter().filter(|tile| **tile <= last).for_each(|tile| self.input.tile(*tile));
        // SAFETY: they are prepared.
        adapters.band(piece, tiles.map(|tile| unsafe { self.input.input(tile.min(last)) }));
    }

    /// How often [`Self::compute`] is to be called, in a stage of its own.
    pub fn left(&self) -> usize {
        self.adapters.filter(|_| !self.is_one).map_or(0, Adapters::pieces)
    }

    /// Computes a piece of u, when all is prepared.
    pub fn compute(&self, piece: usize) {
        if let Some(adapters) = self.adapters {
            let last = self.input.tiles() - 1;
            // SAFETY: all is prepared.
            adapters.compute(piece, |tile| unsafe { self.input.input(tile.min(last)) });
        }
    }
}
