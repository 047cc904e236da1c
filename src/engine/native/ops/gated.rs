//! SwiGLU's half of an MLP in one go: gates and ups of some columns are multiplied, gated and quantized while they are in the
//! nearest cache, and never written as floats.

use std::cell::RefCell;
use std::ops::Range;

use npc_onnx::packed::PANEL;

use super::super::kernel::{
    Activations, BAND, BAND_TILES, Cpu, GROUP, LINE, Line, Products, TILE, TileMut, Weights,
};
use super::prepare::Filling;

/// Panels of a block's gates, at most, and of its ups: as many as a group of the next layer's input takes.
const PANELS: usize = GROUP / PANEL;

/// Pairs of panels of a block, gates and ups.
const PAIRS: usize = PANELS;

/// Bands that a pair of panels is multiplied with one after the other, while its codes are in the nearest cache.
const BANDS: usize = 2;

/// A band's products with a pair of panels.
type Pair = [[[f32; PANEL]; BAND]; 2];

/// What a thread computes a block in.
struct Room {
    /// The codes of all panels, if they are not there as they are wanted.
    lines: Vec<Line>,
    products: Box<[[Pair; PAIRS]; BANDS]>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room {
        lines: Vec::new(),
        products: Box::new([[[[[0.0; PANEL]; BAND]; 2]; PAIRS]; BANDS]),
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
        let (columns, rows) = self.blocks(threads);
        let (block, part) = (piece / rows, piece % rows);
        let bands = self.rows.div_ceil(BAND);
        ROOM.with_borrow_mut(|room| {
            // SAFETY: nothing that is called meanwhile makes others.
            let mut products = unsafe { Products::new(self.cpu) };
            self.block(
                &mut products,
                room,
                block.min(columns),
                bands * part / rows..bands * (part + 1) / rows,
                acts,
            );
        });
    }

    /// The panels of a block: half of them gates, half of them ups.
    fn panels(&self, block: usize) -> [Range<usize>; 2] {
        let (all, first) = (self.outputs / PANEL, block * PANELS);
        let own = first.min(all)..(first + PANELS).min(all);
        [own.clone(), all + own.start..all + own.end]
    }

    fn block(
        &self,
        products: &mut Products,
        Room { lines, products: found }: &mut Room,
        block: usize,
        bands: Range<usize>,
        acts: &Activations,
    ) {
        let size = self.weights.inputs() / LINE;
        let halves = self.panels(block);
        let next = self.panels(block + 1).map(|panels| self.weights.part(panels, 0, 1));
        // Gates and ups are whole blocks of 32, so a pair of panels is of one of the two.
        let pairs = halves[0].len();
        let numbers: [usize; 2 * PANELS] =
            std::array::from_fn(|i| halves[usize::from(i >= pairs)].start + i % pairs.max(1));
        let is_there = self.weights.lines(numbers[0]).is_some();
        if !is_there && lines.len() < 2 * pairs * size {
            lines.resize(2 * pairs * size, Line::default());
        }
        let soon = (bands.len() * pairs).max(1);
        for (index, chunk) in bands.clone().step_by(BANDS).enumerate() {
            let chunk = chunk..(chunk + BANDS).min(bands.end);
            for pair in 0..pairs {
                let own = [numbers[2 * pair], numbers[2 * pair + 1]];
                let codes = if is_there { &mut [] } else { &mut lines[2 * pair * size..][..2 * size] };
                if index == 0 && !is_there {
                    for (panel, codes) in own.iter().zip(codes.chunks_exact_mut(size)) {
                        self.weights.expand(self.cpu, *panel, codes);
                    }
                }
                let mut panels = [(&[][..], [0.0; PANEL]); 2];
                for (i, (panel, place)) in own.iter().zip(&mut panels).enumerate() {
                    let expanded = codes.get(i * size..(i + 1) * size).unwrap_or_default();
                    *place = (self.weights.lines(*panel).unwrap_or(expanded), self.weights.scales(*panel));
                }
                for (band, found) in chunk.clone().zip(found.iter_mut()) {
                    // The next block comes while this one is multiplied.
                    let at = (band - bands.start) * pairs + pair;
                    let soon = next.map(|memory| part(memory, at, soon));
                    let rows = BAND.min(self.rows - band * BAND);
                    products.band(&panels, &acts.band(band), rows, soon, &mut found[pair]);
                }
            }
            for (band, found) in chunk.zip(found.iter()) {
                self.finish(block, band, &found[..pairs]);
            }
        }
    }

    /// Gates a band's products, and quantizes what comes of them.
    fn finish(&self, block: usize, band: usize, found: &[Pair]) {
        let columns = found.len() * PANEL;
        let end = self.rows.min((band + 1) * BAND);
        for tile in (band * BAND_TILES..(band + 1) * BAND_TILES).take_while(|tile| tile * TILE < end) {
            let quantize = |part: &mut TileMut<'_>| {
                for row in tile * TILE..end.min((tile + 1) * TILE) {
                    let (mut gate_up, mut values) = ([[0.0; PANEL]; 2 * PANELS], [0.0; GROUP]);
                    for (pair, found) in gate_up.as_chunks_mut::<2>().0.iter_mut().zip(found) {
                        *pair = [found[0][row - band * BAND], found[1][row - band * BAND]];
                    }
                    let gate_up = &mut gate_up.as_flattened_mut()[..2 * columns];
                    if let Some(bias) = self.bias {
                        let first = block * GROUP;
                        let gates = bias[first..first + columns].iter();
                        let ups = &bias[self.outputs + first..][..columns];
                        for (value, bias) in gate_up.iter_mut().zip(gates.chain(ups)) {
                            *value += bias;
                        }
                    }
                    self.cpu.swiglu(gate_up, &mut values[..columns]);
                    self.cpu.quantize(part, row % TILE, &values[..columns]);
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
