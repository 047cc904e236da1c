//! Weights the way the native decoder's integer products read them.
//!
//! A matrix `[outputs, inputs]` is cut into panels of [`PANEL`] outputs and blocks of [`BLOCK`] inputs. Each panel's
//! part of a block is one record: 16 scales and 16 minima in `f16` (32 bytes each), then the codes, four inputs of
//! each output side by side: byte `(i / 4 · 16 + output) · 4 + i % 4` for input `i`. A weight is
//! `scale · code + minimum`. Records stand by panel, then by block. Outputs that fill no panel are followed by zeros.
//!
//! Four-bit codes: the low nibbles hold a block's inputs 0 to 15, the high ones its inputs 16 to 31. They are used
//! where they lose nothing, that is for checkpoints that are 4-bit themselves.

use half::f16;
use rayon::prelude::*;

/// Inputs that share a scale.
pub const BLOCK: usize = 32;

/// Outputs that are computed together.
pub const PANEL: usize = 16;

/// How far, in steps, a weight may lie from its four-bit code before the matrix takes eight bits.
///
/// A checkpoint's own four-bit weights come back from `f32` within 1e-4 of a step.
const TOLERANCE: f32 = 2e-3;

/// Bits of a weight's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    Four,
    Eight,
}

impl Bits {
    /// Bytes of one record.
    pub const fn record(self) -> usize {
        match self {
            Self::Four => 64 + PANEL * BLOCK / 2,
            Self::Eight => 64 + PANEL * BLOCK,
        }
    }

    /// The number itself.
    pub const fn count(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Bytes of a packed matrix.
    pub const fn bytes(self, outputs: usize, inputs: usize) -> usize {
        outputs.div_ceil(PANEL) * (inputs / BLOCK) * self.record()
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
    let four = weights.as_chunks::<BLOCK>().0.par_iter().all(|block| four_bits(block).is_some());
    let bits = if four { Bits::Four } else { Bits::Eight };
    let outputs = weights.len() / inputs;
    let mut bytes = vec![0; bits.bytes(outputs, inputs)];
    let panels = bytes.par_chunks_mut(inputs / BLOCK * bits.record());
    panels.zip(weights.par_chunks(PANEL * inputs)).for_each(|(panel, rows)| {
        for (block, record) in panel.chunks_exact_mut(bits.record()).enumerate() {
            for (column, row) in rows.chunks_exact(inputs).enumerate() {
                let weights = &row.as_chunks::<BLOCK>().0[block];
                let coded = match bits {
                    Bits::Four => four_bits(weights).unwrap_or_else(|| eight_bits(weights)),
                    Bits::Eight => eight_bits(weights),
                };
                write(bits, record, column, &coded);
            }
        }
    });
    Packed { bits, bytes }
}

/// One output's part of a block.
struct Coded {
    scale: f16,
    minimum: f16,
    codes: [u8; BLOCK],
}

/// Finds the grid of 16 levels or fewer that the weights lie on. `None`: there is none.
fn four_bits(weights: &[f32; BLOCK]) -> Option<Coded> {
    let lowest = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = highest - lowest;
    if range == 0.0 {
        let minimum = f16::from_f32(lowest);
        return minimum.is_finite().then_some(Coded { scale: f16::ZERO, minimum, codes: [0; BLOCK] });
    }
    (1..=15_u8).find_map(|levels| {
        let step = range / f32::from(levels);
        let mut codes = [0; BLOCK];
        for (code, weight) in codes.iter_mut().zip(weights) {
            let exact = (weight - lowest) / step;
            let nearest = exact.round();
            if (exact - nearest).abs() > TOLERANCE {
                return None;
            }
            *code = nearest as u8;
        }
        let (scale, minimum) = (f16::from_f32(step), f16::from_f32(lowest));
        // A step too small or a minimum too large for half precision loses what the codes would keep.
        let kept =
            scale.to_f32().is_normal() && (scale.to_f32() / step - 1.0).abs() < 1e-3 && minimum.is_finite();
        kept.then_some(Coded { scale, minimum, codes })
    })
}

/// Rounds to 255 levels around zero.
fn eight_bits(weights: &[f32; BLOCK]) -> Coded {
    /// The largest step away from zero, as many on both sides.
    const STEPS: f32 = 127.0;
    let largest = weights.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
    let scale = f16::from_f32((largest / STEPS).min(f16::MAX.to_f32() / 128.0));
    // Of a block of zeros, or of numbers so small that their scale would be none.
    let inverse = if scale.to_f32() > 0.0 { scale.to_f32().recip() } else { 0.0 };
    let codes = weights.map(|w| ((w * inverse).round_ties_even().clamp(-128.0, STEPS) + 128.0) as u8);
    Coded { scale, minimum: f16::from_f32(scale.to_f32() * -128.0), codes }
}

fn write(bits: Bits, record: &mut [u8], column: usize, coded: &Coded) {
    record[column * 2..][..2].copy_from_slice(&coded.scale.to_le_bytes());
    record[PANEL * 2 + column * 2..][..2].copy_from_slice(&coded.minimum.to_le_bytes());
    let codes = &mut record[PANEL * 4..];
    let at = |input: usize| (input / 4 * PANEL + column) * 4 + input % 4;
    for (input, code) in coded.codes.iter().enumerate() {
        match bits {
            Bits::Eight => codes[at(input)] = *code,
            Bits::Four if input < BLOCK / 2 => codes[at(input)] |= code,
            Bits::Four => codes[at(input - BLOCK / 2)] |= code << 4,
        }
    }
}

/// One weight of a packed matrix, for whoever reads few of them.
pub fn weight(bits: Bits, record: &[u8], column: usize, input: usize) -> f32 {
    let half = |at: usize| f16::from_le_bytes([record[at * 2], record[at * 2 + 1]]).to_f32();
    let codes = &record[PANEL * 4..];
    let at = |input: usize| (input / 4 * PANEL + column) * 4 + input % 4;
    let code = match bits {
        Bits::Eight => codes[at(input)],
        Bits::Four if input < BLOCK / 2 => codes[at(input)] & 15,
        Bits::Four => codes[at(input - BLOCK / 2)] >> 4,
    };
    half(column).mul_add(f32::from(code), half(PANEL + column))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, Bits, PANEL, Packed, pack, weight};

    fn unpack(packed: &Packed, outputs: usize, inputs: usize) -> Vec<f32> {
        let blocks = inputs / BLOCK;
        let record = |output: usize, input: usize| {
            let at = (output / PANEL * blocks + input / BLOCK) * packed.bits.record();
            &packed.bytes[at..][..packed.bits.record()]
        };
        (0..outputs * inputs)
            .map(|i| {
                let (output, input) = (i / inputs, i % inputs);
                weight(packed.bits, record(output, input), output % PANEL, input % BLOCK)
            })
            .collect()
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
            for (w, back) in weights.iter().zip(unpack(&packed, 17, 64)) {
                prop_assert!((w - back).abs() <= 1.5 * 0.001, "{} came back as {}", w, back);
            }
        }

        #[test]
        fn other_weights_are_within_half_a_step(weights in prop::collection::vec(-1e2_f32..1e2, 192)) {
            let packed = pack(&weights, 96);
            prop_assert_eq!(packed.bits, Bits::Eight);
            let back = unpack(&packed, 2, 96);
            for (weights, back) in weights.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let step = weights.iter().fold(0.0_f32, |l, w| l.max(w.abs())) / 127.0;
                for (w, back) in weights.iter().zip(back) {
                    prop_assert!((w - back).abs() <= step * 0.57, "{} came back as {}, step {}", w, back, step);
                }
            }
        }
    }

    #[test]
    fn outputs_that_fill_no_panel_are_padded() {
        let packed = pack(&[1.0; 3 * 32], 32);
        assert_eq!((packed.bits, packed.bytes.len()), (Bits::Four, Bits::Four.record()));
        assert_eq!(unpack(&packed, 3, 32), [1.0; 96]);
    }
}
