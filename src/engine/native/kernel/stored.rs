//! How a number of the KV cache is stored.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, _mm_loadu_si128, _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_slli_epi32,
};

use npc_onnx::Architecture;

use super::acts::{ROUND, TileMut};
use super::math::{LANES, bf16_to_f32, f32_to_bf16};
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

/// A number of a key or a value. Those of one token in one head share a scale.
pub trait Stored: bytemuck::Pod {
    /// Rounds a token's numbers, of which there are as many as `out` has; returns their scale.
    fn round(values: &[f32], out: &mut [Self]) -> f32;

    /// How many of the scale it is.
    fn widen(self) -> f32;

    /// [`Self::widen`] of [`LANES`] of them.
    ///
    /// # Safety
    /// They can be read, and the CPU has AVX-512 F.
    #[cfg(target_arch = "x86_64")]
    unsafe fn wide(at: *const Self) -> __m512;
}

/// 127 of a scale are the largest magnitude.
impl Stored for i8 {
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
        let largest = lanes.iter().chain(rest).fold(0.0_f32, |most, x| most.max(x.abs()));
        let (scale, inverse) = TileMut::scale(largest);
        for (out, value) in out.iter_mut().zip(values) {
            *out = value.mul_add(inverse, ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as Self;
        }
        scale
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn wide(at: *const Self) -> __m512 {
        // SAFETY: as the caller promises.
        let values = unsafe { _mm_loadu_si128(at.cast()) };
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(values))
    }
}

/// `bf16`, the upper half of an `f32`; all scales are 1.
impl Stored for u16 {
    #[inline(always)]
    fn round(values: &[f32], out: &mut [Self]) -> f32 {
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32_to_bf16(*value);
        }
        1.0
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        bf16_to_f32(self)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn wide(at: *const Self) -> __m512 {
        // SAFETY: as the caller promises.
        let values = unsafe { _mm256_loadu_si256(at.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values)))
    }
}
