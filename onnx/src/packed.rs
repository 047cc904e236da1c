//! Weights the way the native decoder's integer products read them.
//!
//! A matrix `[outputs, inputs]` is cut into panels of [`PANEL`] outputs. A panel begins with a scale in `f32` for each
//! of its outputs; then comes a record for every [`BLOCK`] inputs. A weight is `scale · (code - 128)`, with a code of 8
//! bits. Outputs that fill no panel are followed by zeros.
//!
//! Eight bits: a record holds the codes, four inputs of each output side by side: byte
//! `(i / 4 · 16 + output) · 4 + i % 4` for input `i`.
//!
//! Four bits: a record holds a factor and an offset of each output (16 `u16` each), then the codes' indices, of which the
//! low nibbles hold a block's inputs 0 to 15 in the order above, the high ones its inputs 16 to 31. A code is
//! `(factor · index + offset) / 256`, rounded down. They are used where they lose nothing beside 8 bits, that is for
//! checkpoints that are 4-bit themselves, and give the very codes that 8 bits would: only the memory is half.

use rayon::prelude::*;

/// Inputs of a record.
pub const BLOCK: usize = 32;

/// Outputs that are computed together.
pub const PANEL: usize = 16;

/// Bytes of a panel's scales.
pub const SCALES: usize = PANEL * size_of::<f32>();

/// Bytes of a four-bit record before its indices: factors, then offsets.
pub const LEVELS: usize = PANEL * 2 * size_of::<u16>();

/// The code of zero.
pub const ZERO: u8 = 128;

/// The largest step away from zero, as many on both sides.
const STEPS: f32 = 127.0;

/// Factors and offsets count in steps of 1/256.
const FINE: f32 = 256.0;

/// How far, in steps, a weight may lie from its four-bit level before the matrix takes eight bits.
///
/// A checkpoint's own four-bit weights come back from `f32` within 1e-4 of a step.
const TOLERANCE: f32 = 2e-3;

/// Bits that a weight takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    Four,
    Eight,
}

impl Bits {
    /// Bytes of one record.
    pub const fn record(self) -> usize {
        match self {
            Self::Four => LEVELS + PANEL * BLOCK / 2,
            Self::Eight => PANEL * BLOCK,
        }
    }

    /// The number itself.
    pub const fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Bytes of one panel.
    pub const fn panel(self, inputs: usize) -> usize {
        SCALES + inputs / BLOCK * self.record()
    }

    /// Bytes of a packed matrix.
    pub const fn bytes(self, outputs: usize, inputs: usize) -> usize {
        outputs.div_ceil(PANEL) * self.panel(inputs)
    }
}

/// A packed matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub bits: Bits,
    pub bytes: Vec<u8>,
}

/// Packs a row-major matrix whose rows are `inputs` long, a multiple of [`BLOCK`]. Weights must be finite.
pub fn pack(weights: &[f32], inputs: usize) -> Packed {
    debug_assert!(inputs.is_multiple_of(BLOCK), "{inputs} inputs are no whole blocks");
    let four = weights.as_chunks::<BLOCK>().0.par_iter().all(|block| Grid::find(block).is_some());
    let bits = if four { Bits::Four } else { Bits::Eight };
    let outputs = weights.len() / inputs;
    let mut bytes = vec![0; bits.bytes(outputs, inputs)];
    let panels = bytes.par_chunks_mut(bits.panel(inputs));
    panels.zip(weights.par_chunks(PANEL * inputs)).for_each(|(panel, rows)| {
        let (scales, records) = panel.split_at_mut(SCALES);
        for (column, row) in rows.chunks_exact(inputs).enumerate() {
            let scale = scale(row);
            scales[column * 4..][..4].copy_from_slice(&scale.to_le_bytes());
            for (weights, record) in
                row.as_chunks::<BLOCK>().0.iter().zip(records.chunks_exact_mut(bits.record()))
            {
                match bits {
                    Bits::Four => four_bits(weights, scale, record, column),
                    Bits::Eight => eight_bits(weights, scale, record, column),
                }
            }
        }
    });
    Packed { bits, bytes }
}

/// What one step of an output's codes is worth; 0 for an output of zeros.
fn scale(row: &[f32]) -> f32 {
    let scale = row.iter().fold(0.0_f32, |largest, w| largest.max(w.abs())) / STEPS;
    if scale.is_normal() { scale } else { 0.0 }
}

/// The levels that a block's weights lie on: `lowest + step · index`.
struct Grid {
    lowest: f32,
    step: f32,
    indices: [u8; BLOCK],
}

impl Grid {
    /// Finds the grid of 16 levels or fewer that the weights lie on. `None`: there is none.
    fn find(weights: &[f32; BLOCK]) -> Option<Self> {
        let lowest = weights.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = highest - lowest;
        if range == 0.0 {
            return Some(Self { lowest, step: 0.0, indices: [0; BLOCK] });
        }
        (1..=15_u8).find_map(|levels| {
            let step = range / f32::from(levels);
            let mut indices = [0; BLOCK];
            for (index, weight) in indices.iter_mut().zip(weights) {
                let exact = (weight - lowest) / step;
                let nearest = exact.round();
                if (exact - nearest).abs() > TOLERANCE {
                    return None;
                }
                *index = nearest as u8;
            }
            Some(Self { lowest, step, indices })
        })
    }
}

/// Where an input of an output stands among a record's codes.
const fn place(column: usize, input: usize) -> usize {
    (input / 4 * PANEL + column) * 4 + input % 4
}

fn four_bits(weights: &[f32; BLOCK], scale: f32, record: &mut [u8], column: usize) {
    // Only called where every block has a grid.
    let Some(grid) = Grid::find(weights) else { return };
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    // No weight is further from zero than 127 steps, so factor · 15 + offset stays below 2¹⁶.
    let factor = (grid.step * inverse * FINE).round() as u16;
    let offset = ((grid.lowest * inverse + f32::from(ZERO)) * FINE + FINE / 2.0).round() as u16;
    let (levels, indices) = record.split_at_mut(LEVELS);
    levels[column * 2..][..2].copy_from_slice(&factor.to_le_bytes());
    levels[(PANEL + column) * 2..][..2].copy_from_slice(&offset.to_le_bytes());
    let (low, high) = grid.indices.split_at(BLOCK / 2);
    for (input, (low, high)) in low.iter().zip(high).enumerate() {
        indices[place(column, input)] = low | high << 4;
    }
}

fn eight_bits(weights: &[f32; BLOCK], scale: f32, record: &mut [u8], column: usize) {
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    for (input, weight) in weights.iter().enumerate() {
        let code = (weight * inverse).round_ties_even().clamp(-STEPS, STEPS) + f32::from(ZERO);
        record[place(column, input)] = code as u8;
    }
}

/// The scale of one output of a panel.
pub fn scale_of(panel: &[u8], column: usize) -> f32 {
    let at = column * 4;
    f32::from_le_bytes([panel[at], panel[at + 1], panel[at + 2], panel[at + 3]])
}

/// The code of one weight of a panel, for whoever reads few of them.
pub fn code(bits: Bits, panel: &[u8], column: usize, input: usize) -> u8 {
    let record = &panel[SCALES + input / BLOCK * bits.record()..][..bits.record()];
    let input = input % BLOCK;
    match bits {
        Bits::Eight => record[place(column, input)],
        Bits::Four => {
            let level = |at: usize| u32::from(u16::from_le_bytes([record[at * 2], record[at * 2 + 1]]));
            let both = record[LEVELS + place(column, input % (BLOCK / 2))];
            let index = if input < BLOCK / 2 { both & 15 } else { both >> 4 };
            ((level(column) * u32::from(index) + level(PANEL + column)) >> 8) as u8
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, Bits, PANEL, Packed, ZERO, code, pack, scale_of};

    fn unpack(packed: &Packed, outputs: usize, inputs: usize) -> Vec<f32> {
        (0..outputs * inputs)
            .map(|i| {
                let (output, input) = (i / inputs, i % inputs);
                let panel = &packed.bytes[output / PANEL * packed.bits.panel(inputs)..];
                let code = code(packed.bits, panel, output % PANEL, input);
                scale_of(panel, output % PANEL) * (f32::from(code) - f32::from(ZERO))
            })
            .collect()
    }

    /// The largest step of an output.
    fn step(row: &[f32]) -> f32 {
        row.iter().fold(0.0_f32, |largest, w| largest.max(w.abs())) / 127.0
    }

    proptest! {
        #[test]
        fn four_bit_checkpoints_come_back(
            blocks in prop::collection::vec((0.001_f32..0.1, -1.0_f32..0.0, prop::collection::vec(0_u8..16, BLOCK)), 34),
        ) {
            // As Q4_1 dequantizes: half-precision scale and minimum, computed in single precision.
            let weights: Vec<f32> = blocks
                .iter()
                .flat_map(|(d, m, codes)| {
                    let (d, m) = (half::f16::from_f32(*d).to_f32(), half::f16::from_f32(*m).to_f32());
                    codes.iter().map(move |code| d * f32::from(*code) + m)
                })
                .collect();
            let packed = pack(&weights, 64);
            prop_assert_eq!(packed.bits, Bits::Four);
            for (row, back) in weights.chunks(64).zip(unpack(&packed, 17, 64).chunks(64)) {
                for (w, back) in row.iter().zip(back) {
                    // Half a step, and what 15 rounded factors are off.
                    prop_assert!((w - back).abs() <= step(row) * 0.54, "{} came back as {}", w, back);
                }
            }
        }

        #[test]
        fn other_weights_are_within_half_a_step(weights in prop::collection::vec(-1e2_f32..1e2, 192)) {
            let packed = pack(&weights, 96);
            prop_assert_eq!(packed.bits, Bits::Eight);
            for (row, back) in weights.chunks(96).zip(unpack(&packed, 2, 96).chunks(96)) {
                for (w, back) in row.iter().zip(back) {
                    prop_assert!((w - back).abs() <= step(row) * 0.501, "{} came back as {}", w, back);
                }
            }
        }
    }

    #[test]
    fn outputs_that_fill_no_panel_are_padded() {
        let packed = pack(&[1.0; 3 * 32], 32);
        assert_eq!((packed.bits, packed.bytes.len()), (Bits::Four, Bits::Four.panel(32)));
        assert!(unpack(&packed, 3, 32).iter().all(|w| (w - 1.0).abs() < 1e-6));
    }

    #[test]
    fn zeros_stay_zero() {
        let packed = pack(&[0.0; 64], 64);
        assert_eq!(unpack(&packed, 1, 64), [0.0; 64]);
    }
}
