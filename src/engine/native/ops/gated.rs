//! SwiGLU's half of an MLP in one go: gates and ups of some columns are multiplied, gated and quantized while they are in the
//! nearest cache, and never written as floats.

use std::cell::RefCell;
use std::ops::Range;

use npc_onnx::packed::PANEL;

use super::super::kernel::{
    Activations, BAND, BAND_TILES, Cpu, GROUP, LINE, Line, Pair, Products, Soon, TILE, TileMut, Weights,
};
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
    pub rows: usize,
    /// Of the outputs.
    pub to: &'a Filling<'a>,
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

    /// Computes one of them, with the input in 8 bits.
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
        let next = self.panels(block + 1).map(|panels| self.weights.part(panels, 0, 1));
        let halves = own[0].len() / 2;
        let size = 2 * self.weights.inputs() / LINE;
        let is_there = self.weights.lines(own[0].start).is_some();
        // All pairs are kept only if there are more bands that need them.
        let kept = if bands.len() > BANDS { 2 * halves } else { 1 };
        if !is_there && room.lines.len() < kept * size {
            room.lines.resize(kept * size, Line::default());
        }
        let parts = (bands.len() * 2 * halves).max(1);
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
                        let soon = Soon::new(next.map(|memory| part(memory, at, parts)), &[]);
                        let rows = BAND.min(self.rows - band * BAND);
                        products.band(&both, (acts, band), rows, soon, &mut found[kind]);
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
        for tile in (band * BAND_TILES..(band + 1) * BAND_TILES).take_while(|tile| tile * TILE < end) {
            let quantize = |part: &mut TileMut<'_>| {
                for row in tile * TILE..end.min((tile + 1) * TILE) {
                    self.cpu.quantize(part, row % TILE, &gated[row - band * BAND][..columns]);
                }
            };
            // SAFETY: every block has its own group, and every band of it its own tiles.
            unsafe { self.to.fill(tile, block..block + 1, quantize) };
        }
    }
}

/// Part `part` of `parts` of some memory.
fn part(memory: &[u8], part: usize, parts: usize) -> &[u8] {
    let size = memory.len().div_ceil(parts);
    &memory[(part * size).min(memory.len())..((part + 1) * size).min(memory.len())]
}
