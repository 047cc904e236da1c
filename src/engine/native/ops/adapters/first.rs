//! What comes before a linear layer's product.

use super::super::super::kernel::BAND_TILES;
use super::super::prepare::Prepared;
use super::{Adapters, By};

/// What comes before a linear layer's product: its input, and u = A·x.
pub struct First<'a> {
    pub input: Prepared<'a>,
    pub adapters: Option<Adapters<'a>>,
    /// Whether u follows on the preparation of its band, and not in a stage of its own, for which all would wait.
    is_one: bool,
}

impl<'a> First<'a> {
    pub fn new(input: Prepared<'a>, adapters: Option<Adapters<'a>>) -> Self {
        let is_one = adapters.as_ref().is_some_and(|adapters| adapters.by == By::Bands);
        Self { input, adapters, is_one }
    }

    /// How often [`Self::prepare`] is to be called.
    pub fn pieces(&self) -> usize {
        if self.is_one { self.input.tiles().div_ceil(BAND_TILES) } else { self.input.tiles() }
    }

    /// Prepares a tile of the input `x`, or a band.
    pub fn prepare(&self, piece: usize, x: &[f32]) {
        let Some(adapters) = self.adapters.as_ref().filter(|_| self.is_one) else {
            return self.input.tile(piece, x);
        };
        let last = self.input.tiles() - 1;
        let tiles: [_; BAND_TILES] = std::array::from_fn(|i| piece * BAND_TILES + i);
        tiles.iter().filter(|tile| **tile <= last).for_each(|tile| self.input.tile(*tile, x));
        // SAFETY: they are prepared.
        adapters.band(piece, tiles.map(|tile| unsafe { self.input.input(tile.min(last), x) }));
    }

    /// How often [`Self::compute`] is to be called, in a stage of its own.
    pub fn left(&self) -> usize {
        self.adapters.as_ref().filter(|_| !self.is_one).map_or(0, Adapters::pieces)
    }

    /// Computes a piece of u, when all of the input `x` is prepared.
    pub fn compute(&self, piece: usize, x: &[f32]) {
        if let Some(adapters) = &self.adapters {
            let last = self.input.tiles() - 1;
            // SAFETY: all is prepared.
            adapters.compute(piece, |tile| unsafe { self.input.input(tile.min(last), x) });
        }
    }
}
