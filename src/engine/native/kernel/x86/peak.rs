//! Nothing but the instructions that the products are made of, on registers: what the CPU can do at best.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;
use std::hint::black_box;

/// Sums beside each other: enough that none waits for its own last addition.
const SUMS: usize = 12;

macro_rules! peak {
    ($name:ident, $features:literal, $register:ty, $set:ident, $dot:expr) => {
        /// See [`crate::engine::native::kernel::Cpu::peak`].
        ///
        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub unsafe fn $name(rounds: u64) -> u64 {
            let (x, y) = (black_box($set(3)), black_box($set(5)));
            let mut sums: [$register; SUMS] = [$set(0); SUMS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = $dot(*sum, x, y);
                }
            }
            black_box(sums);
            // Every byte is multiplied and added.
            rounds * (SUMS * size_of::<$register>() * 2) as u64
        }
    };
}

peak!(avx512, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_set1_epi8, _mm512_dpbusd_epi32);
peak!(avxvnni, "avx2,avxvnni", __m256i, _mm256_set1_epi8, _mm256_dpbusd_avx_epi32);
peak!(avx2, "avx2,fma", __m256i, _mm256_set1_epi8, super::ranks::dot_avx2);
