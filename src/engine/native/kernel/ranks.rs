//! Low-rank adapters in 8 bits: u = A·x from the activations that the base product has quantized already, then
//! y += B·u for all adapters of a row at once.

use std::ops::Range;

use super::acts::{BAND, GROUP, ROUND, TILE, TileMut, TileRef};
use super::lora::RANKS;
use super::weights::{LINE, Line, PANEL};

/// [`INPUTS`] inputs of [`RANKS`] ranks of A, those of a rank side by side: codes around 128. A row's inputs are as many
/// bytes, which a register has once for each rank.
#[derive(Debug, Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub struct RankLine(pub [u8; RANKS * INPUTS]);

/// Inputs of a [`RankLine`].
pub const INPUTS: usize = 8;

/// [`RANKS`] ranks of an adapter's A, for all inputs.
#[derive(Debug, Clone, Copy)]
pub struct Octet<'a> {
    pub lines: &'a [RankLine],
    pub scales: &'a [f32; RANKS],
}

/// Rows, and octets, that [`super::Cpu::ranks_down`] takes at most.
pub const ROWS: usize = 4;
pub const OCTETS: usize = 3;

/// A panel's products with a band of rows.
pub type Product = [[f32; PANEL]; BAND];

/// What [`super::Cpu::ranks_down`] finds.
pub type Downs = [[[f32; RANKS]; ROWS]; OCTETS];

/// An adapter's B in a projection, `[panels][quads]`: four ranks of each of a panel's outputs, codes around 128.
///
/// It is kept from step to step, which no borrow can be: whoever reads it sees to it that the memory is still there.
#[derive(Debug, Clone, Copy)]
pub struct UpLines {
    pub first: *const Line,
    pub quads: usize,
}

// SAFETY: memory that is only read.
unsafe impl Send for UpLines {}
// SAFETY: as above.
unsafe impl Sync for UpLines {}

impl UpLines {
    /// `lines` are those of whole panels.
    pub fn new(lines: &[Line], quads: usize) -> Self {
        Self { first: lines.as_ptr(), quads }
    }

    /// The same so many lines behind, of which `first` is made too.
    #[must_use]
    pub fn behind(self, lines: usize) -> Self {
        Self { first: self.first.wrapping_add(lines), ..self }
    }

    /// The lines of some panels.
    ///
    /// # Safety
    /// The memory is still there, and has these panels.
    pub unsafe fn panels<'a>(self, panels: Range<usize>) -> &'a [Line] {
        // SAFETY: as the caller promises.
        unsafe {
            std::slice::from_raw_parts(self.first.add(panels.start * self.quads), panels.len() * self.quads)
        }
    }
}

/// A row of a tile.
#[derive(Debug, Clone, Copy)]
pub struct Lane<'a> {
    pub acts: TileRef<'a>,
    pub lane: usize,
}

/// What some rows of a band, 1 to [`TILE`], with the same adapters add to a projection: where it is in [`Ups`].
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// The projection's first panel among the layer's, and the one behind its last.
    pub panels: (usize, usize),
    /// The first of the rows in the band.
    pub first: usize,
    pub rows: usize,
    /// The first of its quads, and how many a row has.
    pub quads: usize,
    pub width: usize,
    /// The first of its starts and scales.
    pub at: usize,
    /// The first of its adapters, and how many they are.
    pub entries: usize,
    pub adapters: usize,
    /// Whether all of them have [`USUAL`] quads.
    pub is_usual: bool,
}

/// Quads of an adapter of rank 8, the usual one.
pub const USUAL: usize = 8 / LINE;

/// What the rows of a band add to a projection.
#[derive(Debug, Clone, Copy)]
pub struct Ups<'a> {
    /// B of all adapters.
    pub lines: &'a [UpLines],
    /// Which of them each slot has.
    pub entries: &'a [u32],
    /// u in 8 bits, of each slot `[rows][quads of all its adapters]`.
    pub quads: &'a [[i8; LINE]],
    /// -128 · Σ of all u, by row.
    pub starts: &'a [i32],
    /// By row.
    pub scales: &'a [f32],
}

/// What one slot adds.
#[derive(Debug, Clone, Copy)]
pub struct Up<'a> {
    lines: &'a [UpLines],
    entries: &'a [u32],
    pub quads: &'a [[i8; LINE]],
    pub starts: &'a [i32],
    pub scales: &'a [f32],
}

impl<'a> Ups<'a> {
    #[inline(always)]
    pub fn of(&self, slot: &Slot) -> Up<'a> {
        Up {
            lines: self.lines,
            entries: &self.entries[slot.entries..][..slot.adapters],
            quads: &self.quads[slot.quads..][..slot.rows * slot.width],
            starts: &self.starts[slot.at..][..slot.rows],
            scales: &self.scales[slot.at..][..slot.rows],
        }
    }
}

impl Up<'_> {
    /// B of its adapters.
    #[inline(always)]
    pub fn lines(&self) -> impl Iterator<Item = UpLines> {
        self.entries.iter().map(|entry| self.lines[*entry as usize])
    }
}

/// See [`super::Cpu::ranks_down`].
pub fn down(octets: &[Octet<'_>], rows: &[Lane<'_>], out: &mut Downs) {
    for (octet, out) in octets.iter().zip(out) {
        for (Lane { acts, lane }, out) in rows.iter().zip(out) {
            for rank in 0..RANKS {
                let mut total = 0.0_f32;
                for (group, lines) in octet.lines.chunks(GROUP / INPUTS).enumerate() {
                    let at = group * TILE + lane;
                    let mut dot = acts.starts[at];
                    let codes = acts.flat[at * GROUP..].as_chunks::<INPUTS>().0;
                    for (line, codes) in lines.iter().zip(codes) {
                        for i in 0..INPUTS {
                            dot += i32::from(line.0[rank * INPUTS + i]) * i32::from(codes[i]);
                        }
                    }
                    total = (dot as f32).mul_add(acts.scales[at], total);
                }
                out[rank] = total * octet.scales[rank];
            }
        }
    }
}

/// See [`super::Cpu::ranks_up`].
///
/// # Safety
/// As there.
pub unsafe fn up(ups: &Ups<'_>, slots: &[Slot], panels: Range<usize>, products: &mut [Product]) {
    for slot in slots {
        let up = ups.of(slot);
        for (panel, product) in panels.clone().zip(&mut *products) {
            let panel = panel - slot.panels.0;
            for (row, scale) in up.scales.iter().enumerate() {
                // SAFETY: as the caller promises.
                let own = up.lines().flat_map(|lines| unsafe { lines.panels(panel..panel + 1) });
                let mut dots = [up.starts[row]; PANEL];
                for (line, quad) in own.zip(&up.quads[row * slot.width..]) {
                    for (column, dot) in dots.iter_mut().enumerate() {
                        for i in 0..LINE {
                            *dot += i32::from(line.0[column * LINE + i]) * i32::from(quad[i]);
                        }
                    }
                }
                for (y, dot) in product[slot.first + row].iter_mut().zip(dots) {
                    *y = (dot as f32).mul_add(*scale, *y);
                }
            }
        }
    }
}

/// Some ranks of a row's u, and what it weighs them with.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    pub first: usize,
    pub ranks: usize,
}

/// See [`super::Cpu::ranks_round`].
#[inline(always)]
pub fn round(u: &[f32], pieces: &[Piece], gates: &[f32], codes: &mut [[i8; LINE]]) -> (f32, i32) {
    let mut lanes = [0.0_f32; RANKS];
    for (piece, gate) in pieces.iter().zip(gates) {
        let (eights, rest) = u[piece.first..][..piece.ranks].as_chunks::<RANKS>();
        for eight in eights {
            for i in 0..RANKS {
                let value = (gate * eight[i]).abs();
                lanes[i] = if value > lanes[i] { value } else { lanes[i] };
            }
        }
        for (lane, u) in lanes.iter_mut().zip(rest) {
            let value = (gate * u).abs();
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let (scale, inverse) = TileMut::scale(lanes.into_iter().fold(0.0, f32::max));
    let code = |gate: f32, u: f32| {
        let code = (gate * u).mul_add(inverse, ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i8;
        // Of what is no number too: not every CPU can change the sign of -128.
        if code > -127 { code } else { -127 }
    };
    let (mut sum, mut codes) = (0, codes.as_flattened_mut());
    for (piece, gate) in pieces.iter().zip(gates) {
        let (own, behind) = codes.split_at_mut(piece.ranks.next_multiple_of(LINE));
        codes = behind;
        let (eights, rest) = u[piece.first..][..piece.ranks].as_chunks::<RANKS>();
        let (own, last) = own.split_at_mut(eights.len() * RANKS);
        for (own, eight) in own.as_chunks_mut::<RANKS>().0.iter_mut().zip(eights) {
            *own = std::array::from_fn(|i| code(*gate, eight[i]));
            sum += own.iter().map(|code| i32::from(*code)).sum::<i32>();
        }
        for (i, own) in last.iter_mut().enumerate() {
            // Codes behind the last rank meet zeros.
            *own = rest.get(i).map_or(0, |u| code(*gate, *u));
            sum += i32::from(*own);
        }
    }
    (scale, -128 * sum)
}
