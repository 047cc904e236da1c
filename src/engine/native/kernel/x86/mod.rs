//! What is compiled for certain x86-64 CPUs.

/// The plain functions once more, compiled for wider registers.
macro_rules! compiled {
    ($features:literal, $int8:ty, $bf16:ty) => {
        #[target_feature(enable = $features)]
        pub unsafe fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
            acts::rms_norm(x, weight, epsilon, out);
        }

        #[target_feature(enable = $features)]
        pub unsafe fn gate(
            found: [&[[[f32; PANEL]; acts::BAND]; 2]; 2],
            bias: Option<[&[f32; 2 * PANEL]; 2]>,
            first: usize,
            out: &mut [[f32; GROUP]],
        ) {
            acts::gate(found, bias, first, out);
        }

        #[target_feature(enable = $features)]
        pub unsafe fn rotate(values: &mut [f32], cos: &[f32], sin: &[f32]) {
            math::rotate(values, cos, sin);
        }

        #[target_feature(enable = $features)]
        pub unsafe fn exp_sum(values: &[f32], highest: f32) -> f64 {
            math::exp_sum(values, highest)
        }

        #[target_feature(enable = $features)]
        pub unsafe fn round<S: Stored>(values: &[f32], out: &mut [S]) -> f32 {
            S::round(values, out)
        }

        #[target_feature(enable = $features)]
        pub unsafe fn settle<'a>(
            product: &[[f32; PANEL]],
            bias: Option<&[f32; PANEL]>,
            residual: impl Fn(usize) -> Option<&'a [f32; PANEL]>,
            out: impl Fn(usize) -> &'a mut [f32; PANEL],
        ) {
            acts::settle(product, bias, residual, out);
        }

        #[target_feature(enable = $features)]
        pub unsafe fn tops(product: &[[f32; PANEL]], set: impl FnMut(usize, f32)) {
            acts::tops(product, set);
        }

        /// See [`crate::engine::native::kernel::Cpu::attend`].
        ///
        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub unsafe fn attend_int8<const N: usize, const P: usize, const C: usize>(
            head: Head<'_>,
            table: &[u32],
            queries: &[Query<'_>; N],
            room: &mut [f32],
            out: &mut [&mut [f32]; N],
        ) {
            // SAFETY: as the caller promises.
            unsafe { attention::int8::attend::<$int8, N, P, C>(head, table, queries, room, out) };
        }

        /// See [`crate::engine::native::kernel::Cpu::attend`].
        ///
        /// # Safety
        /// The CPU has the features.
        #[target_feature(enable = $features)]
        pub unsafe fn attend_bf16<const N: usize, const P: usize, const C: usize>(
            head: Head<'_>,
            table: &[u32],
            queries: &[Query<'_>; N],
            room: &mut [f32],
            out: &mut [&mut [f32]; N],
        ) {
            // SAFETY: as the caller promises.
            unsafe { attention::bf16::attend::<$bf16, N, P, C>(head, table, queries, room, out) };
        }

        #[target_feature(enable = $features)]
        pub unsafe fn lora_down<E: Element, const R: usize>(
            a: &[E],
            ranks: usize,
            first: usize,
            x: [&[f32]; R],
        ) -> [[f32; RANKS]; R] {
            lora::down(a, ranks, first, x)
        }

        #[target_feature(enable = $features)]
        pub unsafe fn lora_up<E: Element>(b: &[E], outputs: usize, first: usize, u: &[f32], y: &mut [f32]) {
            lora::up(b, outputs, first, u, y);
        }
    };
}

use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch, _mm_sfence};

use super::soon::{Pace, Soon};
use super::weights::PANEL;

/// Lets the two lines of two panels come to the nearest cache. Every x86-64 has these instructions, which read nothing.
#[inline]
pub fn fetch(read: Option<&[f32; 2 * PANEL]>, written: Option<&[f32; 2 * PANEL]>) {
    for panel in read.iter().flat_map(|read| read.as_chunks::<PANEL>().0) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(panel.as_ptr().cast()) };
    }
    for panel in written.iter().flat_map(|written| written.as_chunks::<PANEL>().0) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(panel.as_ptr().cast()) };
    }
}

/// Lets others see what was written past the caches, once they see what is written next.
#[inline]
pub fn streamed() {
    // SAFETY: every x86-64 has it.
    unsafe { _mm_sfence() };
}

/// Bytes of a line of memory.
pub const LINE: usize = 64;

/// Lets a line of memory come to the nearest cache.
#[inline(always)]
pub fn fetch_line(byte: *const u8) {
    // SAFETY: as above.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(byte.cast()) };
}

/// Lets a line of memory come to the nearest cache, to be written.
#[inline]
pub fn fetch_written(byte: *const u8) {
    // SAFETY: as above.
    unsafe { _mm_prefetch::<_MM_HINT_ET0>(byte.cast()) };
}

/// Lets a little come of what is read soon.
#[inline(always)] // A call would put the caller's registers into memory.
pub fn fetch_soon(soon: &mut Soon<'_>, pace: Pace) {
    soon.fetch(
        pace,
        // SAFETY: as above.
        |line| unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) },
        // SAFETY: as above.
        |line| unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) },
    );
}

pub mod amx;
pub mod attend;
pub mod expand;
pub mod peak;
pub mod quantize;
pub mod ranks;

// After the macro, which they use.
pub mod avx2;
pub mod avx512;
pub mod avxvnni;
