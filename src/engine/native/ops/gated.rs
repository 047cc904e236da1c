//! SwiGLU's half of an MLP in one go: gates and ups of some columns are multiplied, gated and quantized while they are in the
//! nearest cache, and never written as floats.

use std::cell::RefCell;
use std::ops::Range;

use npc_onnx::packed::PANEL;

use super::super::disjoint::Disjoint;
use super::super::kernel::{
    Activations, BAND, BAND_TILES, Cpu, GROUP, LINE, Line, Lines, Pair, Products, Soon, TILE, TileMut,
    Weights,
};
use super::super::mixes::{Ahead, PARTS};
use super::adapters::Adapters;
use super::prepare::Filling;

/// Columns of a half of a block: of its gates, and as many of its ups.
const COLUMNS: usize = 2 * PANEL;

/// Bands whose rows are computed one after the other, while a pair of panels is in the nearest cache.
const BANDS: usize = 2;

/// A band's products with a pair of panels.
type Found = [[[f32; PANEL]; BAND]; 2];

/// What a thread computes a block in.
struct Room {
    /// The codes of panels, if they are not there as they are wanted.
    lines: Vec<Line>,
    /// Of half a block, gates and ups.
    products: Box<[[Found; 2]; BANDS]>,
    /// Of a block, by row.
    gated: Box<[[f32; GROUP]; BANDS * BAND]>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room {
        lines: Vec::new(),
        products: Box::new([[[[[0.0; PANEL]; BAND]; 2]; 2]; BANDS]),
        gated: Box::new([[0.0; GROUP]; BANDS * BAND]),
    });
}

/// What the threads share.
pub struct Gated<'a> {
    pub cpu: Cpu,
    /// The gates, then the ups.
    pub weights: Weights<'a>,
    /// Of each.
    pub outputs: usize,
    pub bias: Option<&'a [f32]>,
    /// What is added before the bias.
    pub adapters: Option<&'a Adapters<'a>>,
    /// What adapters read next, a piece for every two panels and band.
    pub ahead: Ahead<'a>,
    pub rows: usize,
    /// Of the outputs.
    pub to: &'a Filling<'a>,
    /// The outputs in floats, `[rows][outputs]`, if anyone wants them.
    pub values: Option<&'a Disjoint<'a, f32>>,
}

impl Gated<'_> {
    /// Into how many blocks of columns, and of rows, it is cut.
    fn blocks(&self, threads: usize) -> (usize, usize) {
        let (columns, bands) = (self.outputs.div_ceil(GROUP), self.rows.div_ceil(BAND));
        // A block's weights are expanded once for each block of rows: only where there would be too few for the threads.
        (columns, (threads * 4).div_ceil(columns).min(bands.div_ceil(BANDS)).max(1))
    }

    /// How many pieces threads can take.
    pub fn pieces(&self, threads: usize) -> usize {
        let (columns, rows) = self.blocks(threads);
        columns * rows
    }

    /// Computes one of them, with the input in 8 bits. The adapters' u is there.
    pub fn piece(&self, piece: usize, threads: usize, acts: &Activations) {
        let (_, rows) = self.blocks(threads);
        let (block, part) = (piece / rows, piece % rows);
        let bands = self.rows.div_ceil(BAND);
        ROOM.with_borrow_mut(|room| {
            // SAFETY: nothing that is called meanwhile makes others.
            let mut products = unsafe { Products::new(self.cpu) };
            self.block(&mut products, room, block, bands * part / rows..bands * (part + 1) / rows, acts);
        });
    }

    /// The panels of a block's gates, and of its ups.
    fn panels(&self, block: usize) -> [Range<usize>; 2] {
        let (all, first) = (self.outputs / PANEL, block * GROUP / PANEL);
        let own = first.min(all)..(first + GROUP / PANEL).min(all);
        [own.clone(), all + own.start..all + own.end]
    }

    fn block(
        &self,
        products: &mut Products,
        room: &mut Room,
        block: usize,
        bands: Range<usize>,
        acts: &Activations,
    ) {
        let own = self.panels(block);
        let next = self.panels(block + 1);
        let halves = own[0].len() / 2;
        let size = 2 * self.weights.inputs() / LINE;
        let is_there = self.weights.lines(own[0].start).is_some();
        // All pairs are kept only if there are more bands that need them.
        let kept = if bands.len() > BANDS { 2 * halves } else { 1 };
        if !is_there && room.lines.len() < kept * size {
            room.lines.resize(kept * size, Line::default());
        }
        let (parts, all) = ((bands.len() * 2 * halves).max(1), self.rows.div_ceil(BAND));
        for first in bands.clone().step_by(BANDS) {
            let chunk = first..(first + BANDS).min(bands.end);
            for half in 0..halves {
                for (kind, panels) in own.iter().enumerate() {
                    let pair = 2 * half + kind;
                    let start = panels.start + 2 * half;
                    let codes = if is_there { 0..0 } else { pair % kept * size..(pair % kept + 1) * size };
                    let is_expanded = kept > 1 && first > bands.start;
                    let both = Pair::new(
                        self.cpu,
                        &self.weights,
                        start..start + 2,
                        &mut room.lines[codes],
                        is_expanded,
                    );
                    for (band, found) in chunk.clone().zip(room.products.iter_mut()) {
                        // The next block comes while this one is multiplied.
                        let at = (band - bands.start) * 2 * halves + pair;
                        let next = next.clone().map(|panels| self.weights.part(panels, at, parts));
                        let (pair, mut far) = (start..start + 2, [Lines::default(); PARTS]);
                        let far = self.ahead.piece(start / 2 * all + band, &mut far);
                        let mut soon = Soon::new(next, far);
                        if let Some(adapters) = self.adapters.filter(|_| band == bands.start) {
                            soon = adapters.fetched(&pair, soon);
                        }
                        let rows = BAND.min(self.rows - band * BAND);
                        products.band(&both, (acts, band), rows, soon, &mut found[kind]);
                        if let Some(adapters) = self.adapters {
                            // SAFETY: the stage before this one is over.
                            unsafe { adapters.add(pair, band, &mut found[kind]) };
                        }
                    }
                }
                for (band, (found, gated)) in
                    chunk.clone().zip(room.products.iter().zip(room.gated.as_chunks_mut::<BAND>().0))
                {
                    let rows = BAND.min(self.rows - band * BAND);
                    self.gate(block * GROUP + half * COLUMNS, half, found, &mut gated[..rows]);
                }
            }
            for (band, gated) in chunk.zip(room.gated.as_chunks::<BAND>().0) {
                self.quantize(block, band, gated, halves * COLUMNS);
            }
        }
    }

    /// SwiGLU of half a block's products with a band, whose columns begin at `first`.
    fn gate(&self, first: usize, half: usize, [gates, ups]: &[Found; 2], gated: &mut [[f32; GROUP]]) {
        let bias = |first: usize| self.bias.and_then(|bias| bias[first..].first_chunk());
        let bias = bias(first).zip(bias(self.outputs + first)).map(|(gates, ups)| [gates, ups]);
        self.cpu.gate([gates, ups], bias, half * COLUMNS, gated);
    }

    /// Quantizes a band's rows of a block, of so many columns.
    fn quantize(&self, block: usize, band: usize, gated: &[[f32; GROUP]; BAND], columns: usize) {
        let end = self.rows.min((band + 1) * BAND);
        if let Some(values) = self.values {
            for (row, gated) in (band * BAND..end).zip(gated) {
                let first = row * self.outputs + block * GROUP;
                // SAFETY: every block has its own columns, and every band its own rows.
                unsafe { values.part(first, columns) }.copy_from_slice(&gated[..columns]);
            }
        }
        for tile in (band * BAND_TILES..(band + 1) * BAND_TILES).take_while(|tile| tile * TILE < end) {
            let quantize = |part: &mut TileMut<'_>| {
                let rows = &gated[tile % BAND_TILES * TILE..][..TILE];
                if (tile + 1) * TILE <= end {
                    return self.cpu.quantize_tile(part, &std::array::from_fn(|row| &rows[row][..columns]));
                }
                for row in tile * TILE..end.min((tile + 1) * TILE) {
                    self.cpu.quantize(part, row % TILE, &gated[row - band * BAND][..columns]);
                }
            };
            // SAFETY: every block has its own group, and every band of it its own tiles.
            unsafe { self.to.fill(tile, block..block + 1, quantize) };
        }
    }
}

#[cfg(test)]
mod tests {
    use npc_onnx::packed::{Packed, pack};

    use super::super::super::disjoint::Disjoint;
    use super::super::super::kernel::silu;
    use super::super::super::mixes::Ahead;
    use super::super::super::state::Room;
    use super::super::prepare::{Prepare, Prepared};
    use super::super::product::{Product, pieces};
    use super::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// Gates and ups; in four bits of 16 levels.
    fn matrix(is_four: bool, outputs: usize, inputs: usize) -> Packed {
        let mut numbers = wave(outputs * inputs, 0.37);
        if is_four {
            for x in &mut numbers {
                *x = (*x * 7.5).round() * 0.01;
            }
        }
        pack(&numbers, inputs)
    }

    fn prepared(cpu: Cpu, x: &[f32], inputs: usize) -> Activations {
        let (rows, mut room) = (x.len() / inputs, Room::default());
        let prepared = Prepared::new(cpu, Prepare::Nothing, (rows, inputs), (false, false), &mut room);
        (0..prepared.tiles()).for_each(|tile| prepared.tile(tile, x));
        room.acts
    }

    /// The products in floats, then SwiGLU row by row, then 8 bits.
    fn one_by_one(
        cpu: Cpu,
        weights: Weights<'_>,
        bias: Option<&[f32]>,
        acts: &Activations,
    ) -> (Vec<f32>, Activations) {
        let (rows, outputs) = (acts.rows, weights.outputs());
        let mut found = vec![0.0; rows * outputs];
        let (residual, tops, adapters, ahead) = (None, None, None, Ahead::default());
        let product = Product { cpu, weights, rows, bias, residual, tops, adapters, ahead };
        let pieces = pieces(&weights, 3);
        let to = Disjoint::new(&mut found);
        (0..pieces).for_each(|piece| product.piece(piece, pieces, acts, &to));
        let gated: Vec<f32> = found
            .chunks_exact(outputs)
            .flat_map(|row| {
                let (gates, ups) = row.split_at(outputs / 2);
                gates.iter().zip(ups).map(|(gate, up)| silu(*gate) * up)
            })
            .collect();
        let out = prepared(cpu, &gated, outputs / 2);
        (gated, out)
    }

    /// What is gated at once has the bits of what is gated one by one.
    #[test]
    fn gated_at_once_is_gated_the_same() {
        let inputs = 96;
        for (outputs, is_four) in [(32, true), (64, false), (96, true), (160, true), (160, false)] {
            let packed = matrix(is_four, 2 * outputs, inputs);
            assert_eq!(packed.bits == npc_onnx::packed::Bits::Four, is_four);
            let weights = Weights::new(packed.bits, 2 * outputs, inputs, &packed.bytes).unwrap();
            let bias = wave(2 * outputs, 0.11);
            for rows in [1, 7, 8, 9, 16, 17, 33, 49, 80] {
                let x = wave(rows * inputs, 0.7);
                let mut expected: Option<Activations> = None;
                // With a bias where there is a whole group.
                let bias = outputs.is_multiple_of(GROUP).then_some(&bias[..]);
                for cpu in Cpu::all() {
                    let acts = prepared(cpu, &x, inputs);
                    let (values, by_stages) = one_by_one(cpu, weights, bias, &acts);
                    for threads in [1, 2, 16] {
                        let mut out = Activations::default();
                        let to = Filling::new(cpu, (rows, outputs), false, &mut out);
                        let mut floats = vec![0.0; rows * outputs];
                        let room = Disjoint::new(&mut floats);
                        let gated = Gated {
                            cpu,
                            weights,
                            outputs,
                            bias,
                            adapters: None,
                            ahead: Ahead::default(),
                            rows,
                            to: &to,
                            values: Some(&room),
                        };
                        (0..gated.pieces(threads)).rev().for_each(|piece| gated.piece(piece, threads, &acts));
                        let what = format!("{cpu:?}, {rows} rows, {outputs} outputs, {threads} threads");
                        assert_eq!(floats, values, "{what}");
                        for row in 0..rows {
                            let (codes, first) = out.place(row);
                            for quad in 0..outputs / 4 {
                                let at = codes + quad * TILE * 4;
                                assert_eq!(out.codes[at..at + 4], by_stages.codes[at..at + 4], "{what}");
                            }
                            for group in 0..outputs.div_ceil(GROUP) {
                                let at = first + group * TILE;
                                let found = (out.scales[at].to_bits(), out.starts[at]);
                                assert_eq!(
                                    found,
                                    (by_stages.scales[at].to_bits(), by_stages.starts[at]),
                                    "{what}"
                                );
                            }
                        }
                    }
                    // And on every CPU.
                    if let Some(expected) = &expected {
                        for row in 0..rows {
                            let (codes, _) = by_stages.place(row);
                            for quad in 0..outputs / 4 {
                                let at = codes + quad * TILE * 4;
                                assert_eq!(
                                    by_stages.codes[at..at + 4],
                                    expected.codes[at..at + 4],
                                    "{cpu:?}"
                                );
                            }
                        }
                    }
                    expected = Some(by_stages);
                }
            }
        }
    }
}
