//! Adapters in 8 bits, once for each instruction set.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;
use std::ops::Range;

use crate::engine::native::kernel::acts::{GROUP, ROUND, TILE, TileMut};
use crate::engine::native::kernel::lora::RANKS;
use crate::engine::native::kernel::ranks::{
    self, Downs, INPUTS, Lane, OCTETS, Octet, Piece, Product, ROWS, RankLine, Slot, USUAL, Up, Ups,
};
use crate::engine::native::kernel::weights::{LINE as QUAD, PANEL};

/// # Safety
/// There are more than `at` values.
#[inline(always)]
unsafe fn acts_at<T>(values: &[T], at: usize) -> &T {
    // SAFETY: as the caller promises.
    unsafe { values.get_unchecked(at) }
}

/// With registers of eight numbers: they differ in how four products are added.
macro_rules! narrow {
    ($module:ident, $features:literal, $dot:ident, starts: $starts:literal) => {
        pub mod $module {
            #[allow(clippy::wildcard_imports)] // All that the file brings.
            use super::*;

            /// See [`crate::engine::native::kernel::Cpu::ranks_down`].
            ///
            /// # Safety
            /// The CPU has the features. The rows, which are 1 to [`ROWS`], have as many inputs as the octets.
            #[target_feature(enable = $features)]
            pub unsafe fn down(octets: &[Octet<'_>], rows: &[Lane<'_>], out: &mut Downs) {
                for (octet, out) in octets.iter().zip(out) {
                    // SAFETY: as the caller promises.
                    unsafe {
                        match *rows {
                            [a] => rows_down(octet, [a], out),
                            [a, b] => rows_down(octet, [a, b], out),
                            [a, b, c] => rows_down(octet, [a, b, c], out),
                            [a, b, c, d] => rows_down(octet, [a, b, c, d], out),
                            _ => unreachable!("1 to {ROWS} rows"),
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn rows_down<const R: usize>(
                octet: &Octet<'_>,
                rows: [Lane<'_>; R],
                out: &mut [[f32; RANKS]; ROWS],
            ) {
                let mut total = [_mm256_setzero_ps(); R];
                for (group, lines) in octet.lines.chunks(GROUP / INPUTS).enumerate() {
                    // SAFETY: a row has as many groups as the lines have, as the caller promises; a line is two registers.
                    unsafe {
                        let mut sums = [[_mm256_setzero_si256(); 2]; R];
                        let mut codes = [std::ptr::null::<i64>(); R];
                        for r in 0..R {
                            let at = group * TILE + rows[r].lane;
                            codes[r] = rows[r].acts.flat.as_ptr().add(at * GROUP).cast();
                            if $starts {
                                // Of a line's first four inputs alone.
                                let start = i64::from(*acts_at(rows[r].acts.starts, at) as u32);
                                sums[r] = [_mm256_set1_epi64x(start); 2];
                            }
                        }
                        for (i, line) in lines.iter().enumerate() {
                            let line = line.0.as_ptr();
                            let halves =
                                [_mm256_load_si256(line.cast()), _mm256_load_si256(line.add(32).cast())];
                            for r in 0..R {
                                let codes = _mm256_set1_epi64x(codes[r].add(i).read_unaligned());
                                for half in 0..2 {
                                    sums[r][half] = $dot(sums[r][half], halves[half], codes);
                                }
                            }
                        }
                        for r in 0..R {
                            let at = group * TILE + rows[r].lane;
                            let scale = _mm256_set1_ps(*acts_at(rows[r].acts.scales, at));
                            // Both sums of every rank: of 0 and 1, 4 and 5, 2 and 3, 6 and 7.
                            let dot = _mm256_cvtepi32_ps(_mm256_hadd_epi32(sums[r][0], sums[r][1]));
                            total[r] = _mm256_fmadd_ps(dot, scale, total[r]);
                        }
                    }
                }
                for r in 0..R {
                    let order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
                    let total = _mm256_permutevar8x32_ps(total[r], order);
                    // SAFETY: the scales, and a row of `out`, are a register long.
                    unsafe {
                        let scaled = _mm256_mul_ps(total, _mm256_loadu_ps(octet.scales.as_ptr()));
                        _mm256_storeu_ps(out[r].as_mut_ptr(), scaled);
                    }
                }
            }

            /// See [`crate::engine::native::kernel::Cpu::ranks_round`].
            ///
            /// # Safety
            /// The CPU has the features.
            #[target_feature(enable = $features)]
            pub unsafe fn round(
                u: &[f32],
                pieces: &[Piece],
                gates: &[f32],
                codes: &mut [[i8; QUAD]],
            ) -> (f32, i32) {
                ranks::round(u, pieces, gates, codes)
            }

            /// See [`crate::engine::native::kernel::Cpu::ranks_up`].
            ///
            /// # Safety
            /// The CPU has the features; all else as there.
            #[target_feature(enable = $features)]
            pub unsafe fn up(ups: &Ups<'_>, slots: &[Slot], panels: Range<usize>, products: &mut [Product]) {
                for slot in slots {
                    let up = ups.of(slot);
                    for (panel, product) in panels.clone().zip(&mut *products) {
                        let (panel, product) = (panel - slot.panels.0, &mut product[slot.first..]);
                        let mut row = 0;
                        while row < slot.rows {
                            // SAFETY: as the caller promises.
                            unsafe {
                                row += match slot.rows - row {
                                    1 => rows_up::<1>(&up, row, panel, product),
                                    2 => rows_up::<2>(&up, row, panel, product),
                                    3 => rows_up::<3>(&up, row, panel, product),
                                    _ => rows_up::<4>(&up, row, panel, product),
                                };
                            }
                        }
                    }
                }
            }

            /// `R` rows from `first` on; returns how many they are.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn rows_up<const R: usize>(
                up: &Up<'_>,
                first: usize,
                panel: usize,
                product: &mut [[f32; PANEL]],
            ) -> usize {
                let width = up.quads.len() / up.scales.len();
                let mut sums = [[_mm256_setzero_si256(); 2]; R];
                if $starts {
                    for r in 0..R {
                        sums[r] = [_mm256_set1_epi32(up.starts[first + r]); 2];
                    }
                }
                let mut quad = 0;
                for lines in up.lines() {
                    // SAFETY: the memory is there, as the caller promises.
                    for line in unsafe { lines.panels(panel..panel + 1) } {
                        // SAFETY: a line has two registers; every row has a quad for it, as the caller promises.
                        unsafe {
                            let line = line.0.as_ptr();
                            let halves =
                                [_mm256_load_si256(line.cast()), _mm256_load_si256(line.add(32).cast())];
                            for r in 0..R {
                                let codes = up.quads.as_ptr().add((first + r) * width + quad);
                                let codes = _mm256_set1_epi32(codes.cast::<i32>().read_unaligned());
                                sums[r][0] = $dot(sums[r][0], halves[0], codes);
                                sums[r][1] = $dot(sums[r][1], halves[1], codes);
                            }
                        }
                        quad += 1;
                    }
                }
                for r in 0..R {
                    let scale = _mm256_set1_ps(up.scales[first + r]);
                    for half in 0..2 {
                        let y = &mut product[first + r][half * 8..half * 8 + 8];
                        // SAFETY: a half of a panel is a register.
                        unsafe {
                            let sum = _mm256_cvtepi32_ps(sums[r][half]);
                            let total = _mm256_fmadd_ps(sum, scale, _mm256_loadu_ps(y.as_ptr()));
                            _mm256_storeu_ps(y.as_mut_ptr(), total);
                        }
                    }
                }
                R
            }
        }
    };
}

narrow!(avxvnni, "avx2,fma,avxvnni", dot_avxvnni, starts: true);
narrow!(avx2, "avx2,fma", dot_avx2, starts: false);

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

/// With registers of sixteen numbers.
pub mod avx512 {
    #[allow(clippy::wildcard_imports)] // All that the file brings.
    use super::*;

    /// See [`crate::engine::native::kernel::Cpu::ranks_down`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F, VL and VNNI. The 1 to [`OCTETS`] octets have the same inputs, and as many have the
    /// rows, which are 1 to [`ROWS`].
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
    pub unsafe fn down(octets: &[Octet<'_>], rows: &[Lane<'_>], next: &[u8], out: &mut Downs) {
        let (next_is_empty, first) = (next.is_empty(), next.as_ptr());
        macro_rules! octets {
            ($($m:literal)*) => { match octets.len() {
                $($m => {
                    let octets = std::array::from_fn::<_, $m, _>(|m| octets[m]);
                    // A line for every line that is read, as if as many octets lay there side by side; if there is nothing,
                    // the line itself, which is there.
                    let next = octets.map(|octet| octet.lines.as_ptr().cast::<u8>());
                    let next = if next_is_empty { next } else {
                        std::array::from_fn(|m| first.wrapping_add(m * size_of_val(octets[m].lines)))
                    };
                    // SAFETY: as the caller promises.
                    unsafe {
                        match *rows {
                            [a] => octets_down(octets, [a], next, out),
                            [a, b] => octets_down(octets, [a, b], next, out),
                            [a, b, c] => octets_down(octets, [a, b, c], next, out),
                            [a, b, c, d] => octets_down(octets, [a, b, c, d], next, out),
                            _ => unreachable!("1 to {ROWS} rows"),
                        }
                    }
                })*
                _ => unreachable!("1 to {OCTETS} octets"),
            } };
        }
        octets!(1 2 3);
    }

    /// `R` rows and `M` octets.
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn octets_down<const M: usize, const R: usize>(
        octets: [Octet<'_>; M],
        rows: [Lane<'_>; R],
        next: [*const u8; M],
        out: &mut Downs,
    ) {
        /// The numbers of a line's first four inputs.
        const FIRST: u16 = 0x5555;
        let lines = octets[0].lines.len();
        let mut total = [[_mm512_setzero_ps(); R]; M];
        for group in 0..lines.div_ceil(GROUP / INPUTS) {
            let from = group * (GROUP / INPUTS);
            let mut sums = [[_mm512_setzero_si512(); R]; M];
            let mut codes = [std::ptr::null::<i64>(); R];
            for r in 0..R {
                let at = group * TILE + rows[r].lane;
                // SAFETY: the row has as many groups as the lines have, as the caller promises.
                let start = unsafe {
                    codes[r] = rows[r].acts.flat.as_ptr().add(at * GROUP).cast();
                    _mm512_maskz_set1_epi32(FIRST, *acts_at(rows[r].acts.starts, at))
                };
                for m in 0..M {
                    sums[m][r] = start;
                }
            }
            for i in 0..(lines - from).min(GROUP / INPUTS) {
                // SAFETY: a line is a register, and eight bytes of the row belong to it.
                unsafe {
                    let mut weights = [_mm512_setzero_si512(); M];
                    for m in 0..M {
                        weights[m] = _mm512_load_si512(octets[m].lines.as_ptr().add(from + i).cast());
                        let line = (from + i) * size_of::<RankLine>();
                        _mm_prefetch::<_MM_HINT_T0>(next[m].wrapping_add(line).cast());
                    }
                    for r in 0..R {
                        let codes = _mm512_set1_epi64(codes[r].add(i).read_unaligned());
                        for m in 0..M {
                            sums[m][r] = _mm512_dpbusd_epi32(sums[m][r], weights[m], codes);
                        }
                    }
                }
            }
            for r in 0..R {
                // SAFETY: as above.
                let scale = unsafe { *acts_at(rows[r].acts.scales, group * TILE + rows[r].lane) };
                for m in 0..M {
                    // Both sums of every rank, twice.
                    let other = _mm512_shuffle_epi32::<0b10_11_00_01>(sums[m][r]);
                    let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[m][r], other));
                    total[m][r] = _mm512_fmadd_ps(dot, _mm512_set1_ps(scale), total[m][r]);
                }
            }
        }
        for m in 0..M {
            for r in 0..R {
                let sums = _mm512_castps512_ps256(_mm512_maskz_compress_ps(FIRST, total[m][r]));
                // SAFETY: the scales, and a row of `out`, are a register long.
                unsafe {
                    let scaled = _mm256_mul_ps(sums, _mm256_loadu_ps(octets[m].scales.as_ptr()));
                    _mm256_storeu_ps(out[m][r].as_mut_ptr(), scaled);
                }
            }
        }
    }

    /// See [`crate::engine::native::kernel::Cpu::ranks_up`].
    ///
    /// # Safety
    /// The CPU has AVX-512 F and VNNI; all else as there.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn up(ups: &Ups<'_>, slots: &[Slot], panels: Range<usize>, products: &mut [Product]) {
        for slot in slots {
            let up = ups.of(slot);
            let panel = panels.start - slot.panels.0;
            macro_rules! rows {
                ($($r:literal)*) => { match slot.rows {
                    // SAFETY: as the caller promises.
                    $($r => unsafe {
                        match (panels.len(), slot.is_usual) {
                            (2, true) => rows_up::<2, $r, USUAL>(&up, panel, products, slot.first),
                            (2, false) => rows_up::<2, $r, 0>(&up, panel, products, slot.first),
                            _ => rows_up::<1, $r, 0>(&up, panel, products, slot.first),
                        }
                    },)*
                    _ => unreachable!("1 to {TILE} rows"),
                } };
            }
            rows!(1 2 3 4 5 6 7 8);
        }
    }

    /// See [`crate::engine::native::kernel::Cpu::ranks_round`].
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and AVX-512 F, BW and VL.
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl")]
    pub unsafe fn round(u: &[f32], pieces: &[Piece], gates: &[f32], codes: &mut [[i8; QUAD]]) -> (f32, i32) {
        macro_rules! eights {
            ($($n:literal)*) => { match pieces.len() {
                $($n if pieces.iter().all(|piece| piece.ranks == RANKS) => round_eights::<$n>(u, pieces, gates, codes),)*
                _ => ranks::round(u, pieces, gates, codes),
            } };
        }
        eights!(1 2 3 4 5 6 7 8)
    }

    /// `N` pieces of [`RANKS`] ranks each, which stay in registers.
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl")]
    #[inline]
    fn round_eights<const N: usize>(
        u: &[f32],
        pieces: &[Piece],
        gates: &[f32],
        codes: &mut [[i8; QUAD]],
    ) -> (f32, i32) {
        let mut values = [_mm256_setzero_ps(); N];
        let mut largest = _mm256_setzero_ps();
        for ((value, piece), gate) in values.iter_mut().zip(pieces).zip(&gates[..N]) {
            // SAFETY: as many numbers as the register has.
            let own = unsafe { _mm256_loadu_ps(u[piece.first..][..RANKS].as_ptr()) };
            *value = _mm256_mul_ps(_mm256_set1_ps(*gate), own);
            // Of two of which one is no number this takes the second.
            largest = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0), *value), largest);
        }
        let halves = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps::<1>(largest));
        let pairs = _mm_max_ps(halves, _mm_movehl_ps(halves, halves));
        let (scale, inverse) = TileMut::scale(_mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs))));
        let (inverse, magic) = (_mm256_set1_ps(inverse), _mm256_set1_ps(ROUND));
        let mut sums = _mm_setzero_si128();
        let eights = codes.as_flattened_mut().as_chunks_mut::<RANKS>().0;
        for (codes, value) in eights[..N].iter_mut().zip(values) {
            let code = _mm256_castps_si256(_mm256_fmadd_ps(value, inverse, magic));
            let code = _mm256_cvtepi32_epi8(_mm256_sub_epi32(code, _mm256_castps_si256(magic)));
            let code = _mm_max_epi8(code, _mm_set1_epi8(-127));
            // SAFETY: eight bytes.
            unsafe { _mm_storel_epi64(codes.as_mut_ptr().cast(), code) };
            // Of the codes with 128 more, as bytes without sign: the lower half has those of this piece.
            let high = _mm_xor_si128(code, _mm_set1_epi8(i8::MIN));
            sums = _mm_add_epi64(sums, _mm_sad_epu8(high, _mm_setzero_si128()));
        }
        let sum = _mm_cvtsi128_si32(sums) - 128 * (N * RANKS) as i32;
        (scale, -128 * sum)
    }

    /// `R` rows of `P` panels; `Q`: quads of each adapter, or 0 if they have different numbers of them.
    #[target_feature(enable = "avx512f,avx512vnni")]
    #[inline]
    unsafe fn rows_up<const P: usize, const R: usize, const Q: usize>(
        up: &Up<'_>,
        panel: usize,
        products: &mut [Product],
        first: usize,
    ) {
        let width = up.quads.len() / R;
        let mut sums = [[_mm512_setzero_si512(); R]; P];
        for r in 0..R {
            let start = _mm512_set1_epi32(up.starts[r]);
            for p in 0..P {
                sums[p][r] = start;
            }
        }
        let mut codes = up.quads.as_ptr();
        for lines in up.lines() {
            let quads = if Q > 0 { Q } else { lines.quads };
            // SAFETY: the memory is there, and every row has a quad for each line, as the caller promises.
            unsafe {
                let first = lines.first.add(panel * quads);
                for quad in 0..quads {
                    let mut weights = [_mm512_setzero_si512(); P];
                    for p in 0..P {
                        weights[p] = _mm512_load_si512(first.add(p * quads + quad).cast());
                    }
                    for r in 0..R {
                        let codes = codes.add(r * width + quad).cast::<i32>().read_unaligned();
                        let codes = _mm512_set1_epi32(codes);
                        for p in 0..P {
                            sums[p][r] = _mm512_dpbusd_epi32(sums[p][r], weights[p], codes);
                        }
                    }
                }
                codes = codes.add(quads);
            }
        }
        for p in 0..P {
            for r in 0..R {
                let (y, scale) = (&mut products[p][first + r], _mm512_set1_ps(up.scales[r]));
                // SAFETY: a panel is a register.
                unsafe {
                    let sum = _mm512_cvtepi32_ps(sums[p][r]);
                    let total = _mm512_fmadd_ps(sum, scale, _mm512_loadu_ps(y.as_ptr()));
                    _mm512_storeu_ps(y.as_mut_ptr(), total);
                }
            }
        }
    }
}
