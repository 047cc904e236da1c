//! The products with AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to 32 bits, a whole
//! panel at once.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{self, GROUP, TILE, TileRef};
use crate::engine::native::kernel::attention::{self, Head, Query};
use crate::engine::native::kernel::lora::{self, Element, RANKS};
use crate::engine::native::kernel::math;
use crate::engine::native::kernel::soon::Soon;
use crate::engine::native::kernel::stored::Stored;
use crate::engine::native::kernel::weights::{LINE, Line, PANEL};

compiled!("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni", super::attend::Avx512, super::attend::Avx512);

/// See [`crate::engine::native::kernel::Cpu::products`].
///
/// # Safety
/// The CPU has AVX-512 F and VNNI. `acts` has as many codes and groups as every panel's lines have inputs; `rows` is 1 to
/// [`TILE`].
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn products<const P: usize>(
    lines: [&[Line]; P],
    scales: &[[f32; PANEL]; P],
    acts: &TileRef<'_>,
    rows: usize,
    soon: (&mut Soon<'_>, usize),
    out: [&mut [[f32; PANEL]; TILE]; P],
) {
    macro_rules! rows {
        ($($n:literal, $chains:literal;)*) => { match rows {
            // SAFETY: as the caller promises.
            $($n => unsafe { tile::<P, $n, $chains>(lines, scales, acts, soon, out) },)*
            _ => unreachable!("a tile has 1 to {TILE} rows"),
        } };
    }
    // Each addition takes four or five cycles and two may start in each: few rows are summed in several chains.
    rows!(1, 4; 2, 2; 3, 2; 4, 1; 5, 1; 6, 1; 7, 1; 8, 1;);
}

/// `R` rows of `P` panels, each group's sums in `C` parts.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn tile<const P: usize, const R: usize, const C: usize>(
    lines: [&[Line]; P],
    scales: &[[f32; PANEL]; P],
    acts: &TileRef<'_>,
    (soon, parts): (&mut Soon<'_>, usize),
    out: [&mut [[f32; PANEL]; TILE]; P],
) {
    let mut total = [[_mm512_setzero_ps(); R]; P];
    let (whole, rest) = (lines[0].len() / GROUP_LINES, lines[0].len() % GROUP_LINES);
    let pace = soon.pace(parts, whole * (GROUP_LINES / FETCHED));
    let mut is_over = soon.is_over();
    let mut fetch = || {
        if !is_over {
            super::fetch_soon(soon, pace);
            is_over = soon.is_over();
        }
    };
    for group in 0..whole {
        // SAFETY: the group's codes, starts and scales are those of its lines, as the caller promises.
        unsafe {
            self::group::<P, R, C>(lines, group, GROUP_LINES, acts, &mut total, &mut fetch);
        }
    }
    if rest > 0 {
        // SAFETY: as above.
        unsafe { self::group::<P, R, C>(lines, whole, rest, acts, &mut total, || ()) };
    }
    for (p, out) in out.into_iter().enumerate() {
        // SAFETY: the scales, and a row of `out`, are a register long.
        unsafe {
            let scales = _mm512_loadu_ps(scales[p].as_ptr());
            for r in 0..R {
                _mm512_storeu_ps(out[r].as_mut_ptr(), _mm512_mul_ps(total[p][r], scales));
            }
        }
    }
}

/// Lines of a group.
const GROUP_LINES: usize = GROUP / LINE;

/// Lines of weights after which something is fetched: many lines of memory at once may be too many for the CPU, and not come.
const FETCHED: usize = 4;

/// Adds the products of `count` lines, a group's, to the totals; `fetch` is called every [`FETCHED`].
///
/// # Safety
/// As [`products`]; `count` is a multiple of [`FETCHED`], and the group has so many lines.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn group<const P: usize, const R: usize, const C: usize>(
    lines: [&[Line]; P],
    group: usize,
    count: usize,
    acts: &TileRef<'_>,
    total: &mut [[__m512; R]; P],
    mut fetch: impl FnMut(),
) {
    // SAFETY: as the caller promises.
    unsafe {
        let codes = acts.codes.as_ptr().add(group * GROUP * TILE);
        let mut sums = [[[_mm512_setzero_si512(); C]; R]; P];
        for r in 0..R {
            let start = _mm512_set1_epi32(*acts.starts.get_unchecked(group * TILE + r));
            for p in 0..P {
                sums[p][r][0] = start;
            }
        }
        debug_assert!(count.is_multiple_of(FETCHED));
        const { assert!(FETCHED.is_multiple_of(C)) };
        for some in (0..count).step_by(FETCHED) {
            fetch();
            let codes = codes.add(some * TILE * LINE);
            let lines: [_; P] = std::array::from_fn(|p| lines[p].as_ptr().add(group * GROUP_LINES + some));
            for line in 0..FETCHED {
                let mut weights = [_mm512_setzero_si512(); P];
                for p in 0..P {
                    weights[p] = _mm512_load_si512(lines[p].add(line).cast());
                }
                for r in 0..R {
                    let at = codes.add((line * TILE + r) * LINE);
                    // Read once for all panels: reading takes as long as multiplying.
                    let quad = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                    for p in 0..P {
                        let sum = &mut sums[p][r][line % C];
                        *sum = _mm512_dpbusd_epi32(*sum, weights[p], quad);
                    }
                }
            }
        }
        for r in 0..R {
            let scale = _mm512_set1_ps(*acts.scales.get_unchecked(group * TILE + r));
            for p in 0..P {
                for c in 1..C {
                    sums[p][r][0] = _mm512_add_epi32(sums[p][r][0], sums[p][r][c]);
                }
                total[p][r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[p][r][0]), scale, total[p][r]);
            }
        }
    }
}

/// See [`crate::engine::native::kernel::Cpu::stream`].
///
/// # Safety
/// The CPU has AVX-512 F; the rest as there.
#[target_feature(enable = "avx512f")]
pub unsafe fn stream<'a>(product: &[[f32; PANEL]], out: impl Fn(usize) -> &'a mut [f32; PANEL]) {
    for (row, product) in product.iter().enumerate() {
        let out = out(row);
        if out.as_ptr().addr().is_multiple_of(size_of_val(out)) {
            // SAFETY: both are a register long, and the one that is written lies as such a write wants it.
            unsafe { _mm512_stream_ps(out.as_mut_ptr(), _mm512_loadu_ps(product.as_ptr())) };
        } else {
            *out = *product;
        }
    }
}
