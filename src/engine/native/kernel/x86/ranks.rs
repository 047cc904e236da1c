//! Adapters in 8 bits, once for each instruction set: they differ in how four products are added.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{Activations, GROUP, TILE};
use crate::engine::native::kernel::lora::RANKS;
use crate::engine::native::kernel::ranks::{ROWS, RankLine, UpRow};
use crate::engine::native::kernel::weights::{LINE, Line, PANEL};

macro_rules! kernels {
    ($module:ident, $features:literal, $dot:ident, starts: $starts:literal, { $($more:tt)* }) => {
        pub mod $module {
            #[allow(clippy::wildcard_imports)] // All that the file brings.
            use super::*;

            /// See [`crate::engine::native::kernel::Cpu::ranks_down`].
            ///
            /// # Safety
            /// The CPU has the features. `acts` has as many inputs as `lines`, and all `rows`, which are 1 to [`ROWS`].
            #[target_feature(enable = $features)]
            pub unsafe fn down(
                lines: &[RankLine],
                scales: &[f32; RANKS],
                acts: &Activations,
                rows: &[usize],
                out: &mut [[f32; RANKS]; ROWS],
            ) {
                // SAFETY: as the caller promises.
                unsafe {
                    match *rows {
                        [a] => rows_down::<1, 4>(lines, scales, acts, [a], out),
                        [a, b] => rows_down::<2, 4>(lines, scales, acts, [a, b], out),
                        [a, b, c] => rows_down::<3, 2>(lines, scales, acts, [a, b, c], out),
                        [a, b, c, d] => rows_down::<4, 2>(lines, scales, acts, [a, b, c, d], out),
                        _ => unreachable!("1 to {ROWS} rows"),
                    }
                }
            }

            /// `R` rows, each group's sums in `C` parts: one alone would wait for its own last addition.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn rows_down<const R: usize, const C: usize>(
                lines: &[RankLine],
                scales: &[f32; RANKS],
                acts: &Activations,
                rows: [usize; R],
                out: &mut [[f32; RANKS]; ROWS],
            ) {
                let mut places = [(0, 0); R];
                for r in 0..R {
                    places[r] = acts.place(rows[r]);
                }
                let mut total = [_mm256_setzero_ps(); R];
                for (group, lines) in lines.chunks(GROUP / LINE).enumerate() {
                    // SAFETY: the rows are there, with as many groups as the lines have, as the caller promises.
                    unsafe {
                        let mut sums = [[_mm256_setzero_si256(); C]; R];
                        if $starts {
                            for r in 0..R {
                                let start = acts.starts.get_unchecked(places[r].1 + group * TILE);
                                sums[r][0] = _mm256_set1_epi32(*start);
                            }
                        }
                        for (four, lines) in lines.chunks_exact(C).enumerate() {
                            for c in 0..C {
                                let weights = _mm256_load_si256(lines[c].0.as_ptr().cast());
                                let quad = group * (GROUP / LINE) + four * C + c;
                                for r in 0..R {
                                    let at = acts.codes.as_ptr().add(places[r].0 + quad * TILE * LINE);
                                    let codes = _mm256_set1_epi32(at.cast::<i32>().read_unaligned());
                                    sums[r][c] = $dot(sums[r][c], weights, codes);
                                }
                            }
                        }
                        for r in 0..R {
                            for c in 1..C {
                                sums[r][0] = _mm256_add_epi32(sums[r][0], sums[r][c]);
                            }
                            let scale = acts.scales.get_unchecked(places[r].1 + group * TILE);
                            let dot = _mm256_cvtepi32_ps(sums[r][0]);
                            total[r] = _mm256_fmadd_ps(dot, _mm256_set1_ps(*scale), total[r]);
                        }
                    }
                }
                for r in 0..R {
                    // SAFETY: the scales, and a row of `out`, are a register long.
                    unsafe {
                        let scaled = _mm256_mul_ps(total[r], _mm256_loadu_ps(scales.as_ptr()));
                        _mm256_storeu_ps(out[r].as_mut_ptr(), scaled);
                    }
                }
            }

            $($more)*
        }
    };
}

/// B, for the modules that have it in halves of a panel.
macro_rules! ups {
    ($features:literal, $dot:ident, starts: $starts:literal) => {
        /// See [`crate::engine::native::kernel::Cpu::ranks_up`].
        ///
        /// # Safety
        /// The CPU has the features. The rows, which are 1 to [`ROWS`], have a quad for each of a panel's lines.
        #[target_feature(enable = $features)]
        pub unsafe fn up(lines: &[&[Line]], panels: usize, rows: &mut [UpRow<'_>]) {
            // SAFETY: as the caller promises.
            unsafe {
                match rows {
                    [a] => rows_up::<1>(lines, panels, [a]),
                    [a, b] => rows_up::<2>(lines, panels, [a, b]),
                    [a, b, c] => rows_up::<3>(lines, panels, [a, b, c]),
                    [a, b, c, d] => rows_up::<4>(lines, panels, [a, b, c, d]),
                    _ => unreachable!("1 to {ROWS} rows"),
                }
            }
        }

        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn rows_up<const R: usize>(lines: &[&[Line]], panels: usize, rows: [&mut UpRow<'_>; R]) {
            let mut quads: [&[[i8; LINE]]; R] = [&[]; R];
            for r in 0..R {
                quads[r] = rows[r].quads;
            }
            for panel in 0..panels {
                let mut sums = [[_mm256_setzero_si256(); 2]; R];
                if $starts {
                    for r in 0..R {
                        sums[r] = [_mm256_set1_epi32(rows[r].start); 2];
                    }
                }
                let mut quad = 0;
                for lines in lines {
                    let own = lines.len() / panels;
                    for line in &lines[panel * own..][..own] {
                        // SAFETY: a line has two registers; there is a quad for it, as the caller promises.
                        unsafe {
                            let line = line.0.as_ptr();
                            let halves =
                                [_mm256_load_si256(line.cast()), _mm256_load_si256(line.add(32).cast())];
                            for r in 0..R {
                                let codes = *quads[r].get_unchecked(quad);
                                let codes = _mm256_set1_epi32(i32::from_le_bytes([
                                    codes[0] as u8,
                                    codes[1] as u8,
                                    codes[2] as u8,
                                    codes[3] as u8,
                                ]));
                                sums[r][0] = $dot(sums[r][0], halves[0], codes);
                                sums[r][1] = $dot(sums[r][1], halves[1], codes);
                            }
                        }
                        quad += 1;
                    }
                }
                for r in 0..R {
                    let scale = _mm256_set1_ps(rows[r].scale);
                    for half in 0..2 {
                        // SAFETY: a panel of `y` has two registers.
                        unsafe {
                            let y = rows[r].y.as_mut_ptr().add(panel * PANEL + half * 8);
                            let sum = _mm256_cvtepi32_ps(sums[r][half]);
                            _mm256_storeu_ps(y, _mm256_fmadd_ps(sum, scale, _mm256_loadu_ps(y)));
                        }
                    }
                }
            }
        }
    };
}

kernels!(avx512, "avx2,fma,avx512f,avx512vl,avx512vnni", dot_avx512, starts: true, {});

/// See [`crate::engine::native::kernel::Cpu::ranks_up`]: a whole panel at once.
///
/// # Safety
/// The CPU has AVX-512 F and VNNI. The rows, which are 1 to [`ROWS`], have a quad for each of a panel's lines.
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn wide_up(lines: &[&[Line]], panels: usize, rows: &mut [UpRow<'_>]) {
    // SAFETY: as the caller promises.
    unsafe {
        match rows {
            [a] if a.quads.len() == MIX_QUADS => wide_row(lines, panels, a),
            [a] => wide_rows(lines, panels, &mut [a]),
            [a, b] => wide_rows(lines, panels, &mut [a, b]),
            [a, b, c] => wide_rows(lines, panels, &mut [a, b, c]),
            [a, b, c, d] => wide_rows(lines, panels, &mut [a, b, c, d]),
            _ => unreachable!("1 to {ROWS} rows"),
        }
    }
}

/// Quads of four adapters of rank 8, the usual mix.
const MIX_QUADS: usize = 8;

/// One row with [`MIX_QUADS`] quads, which stay in registers.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn wide_row(lines: &[&[Line]], panels: usize, row: &mut UpRow<'_>) {
    let mut codes = [_mm512_setzero_si512(); MIX_QUADS];
    for (codes, quad) in codes.iter_mut().zip(row.quads) {
        // SAFETY: a quad is four bytes.
        *codes = unsafe { _mm512_set1_epi32(quad.as_ptr().cast::<i32>().read_unaligned()) };
    }
    // The first line of every quad, and how far the next panel's is.
    let mut firsts = [(std::ptr::null::<Line>(), 0); MIX_QUADS];
    let own = lines.iter().flat_map(|lines| (0..lines.len() / panels).map(move |quad| (lines, quad)));
    for (first, (lines, quad)) in firsts.iter_mut().zip(own) {
        *first = (lines[quad..].as_ptr(), lines.len() / panels);
    }
    let (start, scale) = (_mm512_set1_epi32(row.start), _mm512_set1_ps(row.scale));
    for (panel, y) in row.y.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
        // Two sums: one alone would wait for its own last addition.
        let mut sums = [start, _mm512_setzero_si512()];
        for quad in 0..MIX_QUADS {
            let (first, step) = firsts[quad];
            // SAFETY: every panel has a line for the quad, as the caller promises.
            let line = unsafe { _mm512_load_si512(first.add(panel * step).cast()) };
            sums[quad % 2] = _mm512_dpbusd_epi32(sums[quad % 2], line, codes[quad]);
        }
        let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], sums[1]));
        // SAFETY: a panel of `y` is a register.
        unsafe {
            let total = _mm512_fmadd_ps(sum, scale, _mm512_loadu_ps(y.as_ptr()));
            _mm512_storeu_ps(y.as_mut_ptr(), total);
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn wide_rows<const R: usize>(lines: &[&[Line]], panels: usize, rows: &mut [&mut UpRow<'_>; R]) {
    let mut quads = [std::ptr::null::<[i8; LINE]>(); R];
    for r in 0..R {
        quads[r] = rows[r].quads.as_ptr();
    }
    for panel in 0..panels {
        let mut sums = [_mm512_setzero_si512(); R];
        for r in 0..R {
            sums[r] = _mm512_set1_epi32(rows[r].start);
        }
        let mut quad = 0;
        for lines in lines {
            let own = lines.len() / panels;
            for line in &lines[panel * own..][..own] {
                // SAFETY: a line is a register; there is a quad for it, as the caller promises.
                unsafe {
                    let line = _mm512_load_si512(line.0.as_ptr().cast());
                    for r in 0..R {
                        let codes = _mm512_set1_epi32(quads[r].add(quad).cast::<i32>().read_unaligned());
                        sums[r] = _mm512_dpbusd_epi32(sums[r], line, codes);
                    }
                }
                quad += 1;
            }
        }
        for r in 0..R {
            // SAFETY: a panel of `y` is a register.
            unsafe {
                let y = rows[r].y.as_mut_ptr().add(panel * PANEL);
                let sum = _mm512_cvtepi32_ps(sums[r]);
                _mm512_storeu_ps(y, _mm512_fmadd_ps(sum, _mm512_set1_ps(rows[r].scale), _mm512_loadu_ps(y)));
            }
        }
    }
}

kernels!(avxvnni, "avx2,fma,avxvnni", dot_avxvnni, starts: true, {
    ups!("avx2,fma,avxvnni", dot_avxvnni, starts: true);
});
kernels!(avx2, "avx2,fma", dot_avx2, starts: false, {
    ups!("avx2,fma", dot_avx2, starts: false);
});

#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
#[inline]
fn dot_avx512(sum: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
    _mm256_dpbusd_epi32(sum, weights, codes)
}

#[target_feature(enable = "avx2,fma,avxvnni")]
#[inline]
fn dot_avxvnni(sum: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sum, weights, codes)
}

/// With weights around 0 instead of 128: see [`super::avx2`].
#[target_feature(enable = "avx2,fma")]
#[inline]
pub fn dot_avx2(sum: __m256i, weights: __m256i, codes: __m256i) -> __m256i {
    let signed = _mm256_xor_si256(weights, _mm256_set1_epi8(i8::MIN));
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(codes, signed));
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}
