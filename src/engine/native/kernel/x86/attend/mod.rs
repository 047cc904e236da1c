//! The inner loops of attention, once for each instruction set that the compiler does not write them for by itself.

pub mod bf16;
pub mod int8;

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::attention::Fetch;

/// Only for functions that are compiled for AVX-512.
pub struct Avx512;

/// Only for functions that are compiled for AVX2.
pub struct Avx2;

impl Fetch for Avx512 {
    #[inline(always)]
    fn fetch(memory: &[u8]) {
        for line in memory.chunks(64) {
            // SAFETY: every x86-64 has this instruction, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }
}

impl Fetch for Avx2 {}
