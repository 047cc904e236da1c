//! A matrix times the rows of a step, in pieces that threads take.

use std::cell::RefCell;
use std::ops::Range;

use npc_onnx::packed::PANEL;

use super::super::disjoint::Disjoint;
use super::super::kernel::{Activations, BAND, Cpu, LINE, Line, Lines, Pair, Products, Soon, Weights};
use super::super::mixes::{Ahead, PARTS};
use super::adapters::Adapters;
use crate::engine::sampler::largest;

/// Panels are computed in twos, of which the last may be one.
pub fn pairs(weights: &Weights<'_>) -> usize {
    weights.panels().div_ceil(2)
}

/// Into how many pieces a product is cut. Many for each thread: at the end all wait for the last one, and one thread always
/// begins a little later.
pub fn pieces(weights: &Weights<'_>, threads: usize) -> usize {
    (threads * 16).min(pairs(weights))
}

thread_local! {
    /// Room for the codes of two panels.
    static EXPANDED: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// What the threads share while they compute a product.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    pub cpu: Cpu,
    pub weights: Weights<'a>,
    pub rows: usize,
    pub bias: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    /// Of the head, if it has neither bias nor residual: the largest of every panel's outputs, by row.
    pub tops: Option<Disjoint<'a, f32>>,
    /// What is added before bias and residual.
    pub adapters: Option<&'a Adapters<'a>>,
    /// What adapters read next, a piece for every two panels and band.
    pub ahead: Ahead<'a>,
}

impl Product<'_> {
    /// Computes piece `piece` of `pieces`: some panels' outputs of all rows, whose inputs are `acts`. The adapters' u is
    /// there.
    pub fn piece(&self, piece: usize, pieces: usize, acts: &Activations, out: &Disjoint<'_, f32>) {
        let pairs = pairs(&self.weights);
        let (first, end) = (pairs * piece / pieces * 2, pairs * (piece + 1) / pieces * 2);
        self.panels(first..end.min(self.weights.panels()), acts, out);
    }

    /// Computes the outputs of some panels of all rows: the weights are read once.
    fn panels(&self, panels: Range<usize>, acts: &Activations, out: &Disjoint<'_, f32>) {
        // SAFETY: nothing that is called meanwhile makes others.
        let mut products = unsafe { Products::new(self.cpu) };
        let mut product = [[[0.0; PANEL]; BAND]; 2];
        EXPANDED.with_borrow_mut(|room| {
            for panel in panels.clone().step_by(2) {
                let pair = panel..(panel + 2).min(panels.end);
                self.pair(&mut products, &mut product, pair, acts, room, out);
            }
        });
        if self.tops.is_some() {
            self.cpu.streamed();
        }
    }

    /// Computes the outputs of one panel, or two, of all rows. `product` is room for a band's; `room` for the codes, if they
    /// are not there as they are wanted.
    #[allow(clippy::too_many_arguments)] // What it reads, and where it writes.
    fn pair(
        &self,
        products: &mut Products,
        product: &mut [[[f32; PANEL]; BAND]; 2],
        pair: Range<usize>,
        acts: &Activations,
        room: &mut Vec<Line>,
        out: &Disjoint<'_, f32>,
    ) {
        let size = self.weights.inputs() / LINE;
        if self.weights.lines(pair.start).is_none() && room.len() < 2 * size {
            room.resize(2 * size, Line::default());
        }
        let panels = Pair::new(self.cpu, &self.weights, pair.clone(), room, false);
        let bands = self.rows.div_ceil(BAND);
        for index in 0..bands {
            let rows = BAND.min(self.rows - index * BAND);
            // The next panels, and adapters, come while these are multiplied.
            let next = self.weights.part(pair.end..pair.end + 2, index, bands);
            let mut far = [Lines::default(); PARTS];
            let far = self.ahead.piece(pair.start / 2 * bands + index, &mut far);
            let mut soon = Soon::new([next, &[]], far);
            if let (0, Some(adapters)) = (index, self.adapters) {
                soon = adapters.fetched(&pair, soon);
            }
            self.fetch(pair.start * PANEL, index * BAND..index * BAND + rows, out);
            products.band(&panels, (acts, index), rows, soon, product);
            if let Some(adapters) = self.adapters {
                // SAFETY: the stage before this one is over.
                unsafe { adapters.add(pair.clone(), index, product) };
            }
            for (panel, product) in pair.clone().zip(&*product) {
                self.settle(&product[..rows], panel, index * BAND, out);
            }
        }
    }

    /// Lets what [`Self::settle`] adds, and where it writes, come to the nearest cache: by then others have read and written
    /// these rows, and much has been read since.
    fn fetch(&self, first: usize, rows: Range<usize>, out: &Disjoint<'_, f32>) {
        let is_streamed = self.tops.is_some() && self.cpu.streams();
        if first + 2 * PANEL > self.weights.outputs() || is_streamed {
            return;
        }
        for row in rows {
            let residual = self
                .residual
                .and_then(|residual| residual[row * self.weights.outputs() + first..].first_chunk());
            // SAFETY: this call alone computes these columns.
            let written = unsafe { out.array(row * self.weights.outputs() + first) };
            self.cpu.fetch(residual, Some(written));
        }
    }

    /// Writes a panel's product for the rows from `first` on, with bias and residual.
    fn settle(&self, product: &[[f32; PANEL]], panel: usize, first: usize, out: &Disjoint<'_, f32>) {
        debug_assert!(self.tops.is_none() || self.bias.is_none() && self.residual.is_none());
        let (start, outputs) = (panel * PANEL, self.weights.outputs());
        let at = |row| (first + row) * outputs + start;
        let columns = PANEL.min(outputs - start);
        if let Some(tops) = &self.tops {
            // SAFETY: this call alone computes this panel of these rows.
            let set = |row, top| unsafe { tops.set((first + row) * self.weights.panels() + panel, top) };
            if columns == PANEL {
                self.cpu.tops(product, set);
            } else {
                product.iter().enumerate().for_each(|(row, product)| set(row, largest(&product[..columns])));
            }
        }
        if columns == PANEL {
            let bias = self.bias.and_then(|bias| bias[start..].first_chunk());
            let residual = |row| self.residual.and_then(|residual| residual[at(row)..].first_chunk());
            // SAFETY: this call alone computes these columns.
            let out = |row| unsafe { out.array(at(row)) };
            // Of 200 KB for each row of the head little is read again, thanks to the tops.
            return match self.tops {
                // SAFETY: `panels` ends it before anybody knows that they are computed.
                Some(_) => unsafe { self.cpu.stream(product, out) },
                None => self.cpu.settle(product, bias, residual, out),
            };
        }
        for (row, product) in product.iter().enumerate() {
            // SAFETY: as above.
            let out = unsafe { out.part(at(row), columns) };
            for (i, (out, product)) in out.iter_mut().zip(product).enumerate() {
                let bias = self.bias.map_or(0.0, |bias| bias[start + i]);
                let residual = self.residual.map_or(0.0, |residual| residual[at(row) + i]);
                *out = product + bias + residual;
            }
        }
    }
}
