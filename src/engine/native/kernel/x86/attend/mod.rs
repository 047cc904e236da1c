//! The inner loops of attention, once for each instruction set that the compiler does not write them for by itself.

pub mod bf16;
pub mod int8;

/// Only for functions that are compiled for AVX-512.
pub struct Avx512;

/// Only for functions that are compiled for AVX2.
pub struct Avx2;
