//! How a number of the KV cache is stored.

use npc_onnx::Architecture;

use super::acts::{ROUND, TileMut};
use super::attention::PAGE;
use super::math::{LANES, f32_to_bf16, max_lanes};
use crate::config::KvPrecision;

/// The kinds of [`Stored`] numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Int8,
    Bf16,
}

impl Kept {
    /// What a model of this family keeps.
    pub fn of(precision: KvPrecision, architecture: Architecture) -> Self {
        match (precision, architecture) {
            // Its keys come out of biases that are far larger than all else in a head.
            (KvPrecision::Bf16, _) | (KvPrecision::Auto, Architecture::Qwen2) => Self::Bf16,
            (KvPrecision::Int8 | KvPrecision::Auto, _) => Self::Int8,
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::Int8 => size_of::<i8>(),
            Self::Bf16 => size_of::<u16>(),
        }
    }
}

/// Numbers of a key that stand together, in 8 bits.
pub const QUAD: usize = 4;

/// Tokens whose values stand together, in 8 bits.
pub const PAIR: usize = 2;

/// A number of a key or a value, as a page keeps it. Those of one token in one head share a scale.
pub trait Stored: bytemuck::Pod {
    /// Rounds a token's numbers, of which there are as many as `out` has; returns their scale.
    fn round(values: &[f32], out: &mut [Self]) -> f32;

    /// A rounded number as a key has it.
    fn key(self) -> Self;

    /// Numbers of a key that stand together: keys are `[head_dim / KEY][PAGE][KEY]`, so that the scores of a page's tokens
    /// are computed side by side.
    const KEY: usize;

    /// Tokens whose values stand together: values are `[PAGE / VALUE][head_dim][VALUE]`.
    const VALUE: usize;

    /// Where number `d` of the key of token `slot` stands among those of a page.
    #[inline(always)]
    fn key_at(d: usize, slot: usize) -> usize {
        (d / Self::KEY * PAGE + slot) * Self::KEY + d % Self::KEY
    }

    /// Where number `d` of the value of token `slot` stands among those of a page, in a head of `dim` numbers.
    #[inline(always)]
    fn value_at(d: usize, slot: usize, dim: usize) -> usize {
        (slot / Self::VALUE * dim + d) * Self::VALUE + slot % Self::VALUE
    }
}

/// 127 of a scale are the largest magnitude. Keys stand 128 too high, as the products want them.
impl Stored for i8 {
    const KEY: usize = QUAD;
    const VALUE: usize = PAIR;

    #[inline(always)]
    fn round(values: &[f32], out: &mut [Self]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                let x = chunk[lane].abs();
                lanes[lane] = if x > lanes[lane] { x } else { lanes[lane] };
            }
        }
        let mut largest = max_lanes(lanes);
        for value in rest {
            largest = largest.max(value.abs());
        }
        let (scale, inverse) = TileMut::scale(largest);
        for (out, value) in out.iter_mut().zip(values) {
            let code = value.mul_add(inverse, ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as Self;
            // Of what is no number too: not every CPU can change the sign of -128.
            *out = if code > -127 { code } else { -127 };
        }
        scale
    }

    #[inline(always)]
    fn key(self) -> Self {
        self ^ Self::MIN
    }
}

/// `bf16`, the upper half of an `f32`; all scales are 1.
impl Stored for u16 {
    const KEY: usize = 1;
    const VALUE: usize = 1;

    #[inline(always)]
    fn round(values: &[f32], out: &mut [Self]) -> f32 {
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32_to_bf16(*value);
        }
        1.0
    }

    #[inline(always)]
    fn key(self) -> Self {
        self
    }
}
