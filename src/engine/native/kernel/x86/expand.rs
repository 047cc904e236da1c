//! Four-bit records into codes, which the compiler does not vectorize by itself. Even and odd bytes are computed apart,
//! in 16 bits.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use npc_onnx::packed::{BLOCK, LEVELS};

use crate::engine::native::kernel::weights::{Bits, LINE, Line, PANEL};

/// Lines of a record.
const LINES: usize = BLOCK / LINE;

/// Every level twice: for the two pairs of bytes of a column.
const TWICE: [i16; 2 * PANEL] = {
    let mut order = [0; 2 * PANEL];
    let mut i = 0;
    while i < order.len() {
        order[i] = (i / 2) as i16;
        i += 1;
    }
    order
};

/// See [`crate::engine::native::kernel::weights::expand`].
///
/// # Safety
/// The CPU has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn avx512(records: &[u8], lines: &mut [Line]) {
    let (nibble, low_byte) = (_mm512_set1_epi8(15), _mm512_set1_epi16(0xff));
    // SAFETY: 32 numbers of 16 bits are a register's 64 bytes.
    let factors = unsafe { _mm512_loadu_si512(TWICE.as_ptr().cast()) };
    let offsets = _mm512_add_epi16(factors, _mm512_set1_epi16(PANEL as i16));
    let records = records.as_chunks::<{ Bits::Four.record() }>().0;
    for (record, lines) in records.iter().zip(lines.as_chunks_mut::<LINES>().0) {
        // SAFETY: a record has 64 bytes of levels, then four times 64 bytes of indices; a line has 64 bytes.
        unsafe {
            let levels = _mm512_loadu_si512(record.as_ptr().cast());
            let factor = _mm512_permutexvar_epi16(factors, levels);
            let offset = _mm512_permutexvar_epi16(offsets, levels);
            for pair in 0..LINES / 2 {
                let both = _mm512_loadu_si512(record.as_ptr().add(LEVELS + pair * 64).cast());
                let high = _mm512_srli_epi16::<4>(both);
                for (line, indices) in [(pair, both), (pair + LINES / 2, high)] {
                    let indices = _mm512_and_si512(indices, nibble);
                    let even = _mm512_mullo_epi16(_mm512_and_si512(indices, low_byte), factor);
                    let even = _mm512_srli_epi16::<8>(_mm512_add_epi16(even, offset));
                    let odd = _mm512_mullo_epi16(_mm512_srli_epi16::<8>(indices), factor);
                    let odd = _mm512_add_epi16(odd, offset);
                    let codes = _mm512_mask_mov_epi8(even, 0xaaaa_aaaa_aaaa_aaaa, odd);
                    _mm512_store_si512(lines[line].0.as_mut_ptr().cast(), codes);
                }
            }
        }
    }
}

/// See [`crate::engine::native::kernel::weights::expand`].
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn avx2(records: &[u8], lines: &mut [Line]) {
    let (nibble, low_byte) = (_mm256_set1_epi8(15), _mm256_set1_epi16(0xff));
    let records = records.as_chunks::<{ Bits::Four.record() }>().0;
    for (record, lines) in records.iter().zip(lines.as_chunks_mut::<LINES>().0) {
        for half in 0..2 {
            // SAFETY: a record has 64 bytes of levels, then four times 64 bytes of indices; a line has 64 bytes.
            unsafe {
                let factor = twice(_mm_loadu_si128(record.as_ptr().add(half * 16).cast()));
                let offset = twice(_mm_loadu_si128(record.as_ptr().add(LEVELS / 2 + half * 16).cast()));
                for pair in 0..LINES / 2 {
                    let both = _mm256_loadu_si256(record.as_ptr().add(LEVELS + pair * 64 + half * 32).cast());
                    let high = _mm256_srli_epi16::<4>(both);
                    for (line, indices) in [(pair, both), (pair + LINES / 2, high)] {
                        let indices = _mm256_and_si256(indices, nibble);
                        let even = _mm256_mullo_epi16(_mm256_and_si256(indices, low_byte), factor);
                        let even = _mm256_srli_epi16::<8>(_mm256_add_epi16(even, offset));
                        let odd = _mm256_mullo_epi16(_mm256_srli_epi16::<8>(indices), factor);
                        let odd = _mm256_andnot_si256(low_byte, _mm256_add_epi16(odd, offset));
                        let codes = _mm256_or_si256(even, odd);
                        _mm256_store_si256(lines[line].0.as_mut_ptr().add(half * 32).cast(), codes);
                    }
                }
            }
        }
    }
}

/// Every level of eight columns twice: for the two pairs of bytes of a column.
#[target_feature(enable = "avx2")]
#[inline]
fn twice(levels: __m128i) -> __m256i {
    let wide = _mm256_cvtepu16_epi32(levels);
    _mm256_or_si256(wide, _mm256_slli_epi32::<16>(wide))
}
