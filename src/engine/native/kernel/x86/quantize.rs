//! Quantization of activations, which the compiler does not vectorize by itself.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use npc_onnx::packed::ZERO;

use crate::engine::native::kernel::acts::{BLOCK, GROUP, ROUND, TILE, TileMut};

/// Registers of a block.
const REGISTERS: usize = BLOCK / 8;

/// See [`TileMut::quantize`].
///
/// # Safety
/// The CPU has AVX2 and FMA.
// Loops instead of `map`, whose closures may be called instead of inlined.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2(tile: &mut TileMut<'_>, row: usize, values: &[f32]) {
    let round = _mm256_set1_ps(ROUND);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (group, values) in values.chunks(GROUP).enumerate() {
        let blocks = values.as_chunks::<BLOCK>().0;
        let (scale, inverse) = TileMut::scale(largest(blocks));
        let inverse = _mm256_set1_ps(inverse);
        let mut sums = _mm256_setzero_si256();
        for (block, values) in blocks.iter().enumerate() {
            let mut codes = [_mm256_setzero_si256(); REGISTERS];
            for i in 0..REGISTERS {
                // SAFETY: the read stays in the block.
                let x = unsafe { _mm256_loadu_ps(values.as_ptr().add(i * 8)) };
                let rounded = _mm256_castps_si256(_mm256_fmadd_ps(x, inverse, round));
                codes[i] = _mm256_sub_epi32(rounded, _mm256_castps_si256(round));
            }
            let bytes = _mm256_packs_epi16(
                _mm256_packs_epi32(codes[0], codes[1]),
                _mm256_packs_epi32(codes[2], codes[3]),
            );
            // The packing works on both halves of a register by themselves.
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            let mut quads = [[0_i8; 4]; BLOCK / 4];
            // SAFETY: the quads are the register's 32 bytes.
            unsafe { _mm256_storeu_si256(quads.as_mut_ptr().cast(), bytes) };
            tile.store(group * (GROUP / BLOCK) + block, row, &quads);
        }
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)));
        tile.close(group, row, scale, sum);
    }
}

/// See [`TileMut::quantize`].
///
/// # Safety
/// The CPU has AVX-512 F, BW and VL.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl")]
pub unsafe fn avx512(tile: &mut TileMut<'_>, row: usize, values: &[f32]) {
    /// Registers of a group.
    const ALL: usize = GROUP / 16;
    let round = _mm512_set1_ps(ROUND);
    let (groups, rest) = values.as_chunks::<GROUP>();
    for (group, values) in groups.iter().enumerate() {
        let mut x = [_mm512_setzero_ps(); ALL];
        let mut largest = _mm512_setzero_ps();
        for i in 0..ALL {
            // SAFETY: the read stays in the group.
            x[i] = unsafe { _mm512_loadu_ps(values.as_ptr().add(i * 16)) };
            // In this order a NaN is passed over, as `f32::max` does.
            largest = _mm512_max_ps(_mm512_abs_ps(x[i]), largest);
        }
        let half = _mm256_max_ps(
            _mm512_castps512_ps256(largest),
            _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b11_10_11_10>(largest, largest)),
        );
        let quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
        let pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
        let (scale, inverse) = TileMut::scale(_mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair))));
        let inverse = _mm512_set1_ps(inverse);
        let mut sums = _mm512_setzero_si512();
        let mut quads = [[[0_i8; 4]; 4]; ALL];
        let flat = if tile.flat.is_empty() {
            &mut []
        } else {
            tile.flat[(group * TILE + row) * GROUP..][..GROUP].as_chunks_mut::<16>().0
        };
        for i in 0..ALL {
            let rounded = _mm512_castps_si512(_mm512_fmadd_ps(x[i], inverse, round));
            let codes = _mm512_sub_epi32(rounded, _mm512_castps_si512(round));
            // Of what is no number codes may be any.
            let codes =
                _mm512_max_epi32(_mm512_min_epi32(codes, _mm512_set1_epi32(127)), _mm512_set1_epi32(-128));
            sums = _mm512_add_epi32(sums, codes);
            let codes = _mm512_cvtepi32_epi8(codes);
            // SAFETY: the quads are the register's 16 bytes.
            unsafe { _mm_storeu_si128(quads[i].as_mut_ptr().cast(), codes) };
            if let Some(flat) = flat.get_mut(i) {
                // SAFETY: as above.
                unsafe { _mm_storeu_si128(flat.as_mut_ptr().cast(), codes) };
            }
        }
        let own = &mut tile.codes[group * GROUP * TILE..][..GROUP * TILE];
        for (codes, quad) in own.as_chunks_mut::<{ TILE * 4 }>().0.iter_mut().zip(quads.as_flattened()) {
            codes[row * 4..row * 4 + 4].copy_from_slice(quad);
        }
        tile.close(group, row, scale, _mm512_reduce_add_epi32(sums));
    }
    if !rest.is_empty() {
        // SAFETY: the CPU has more than that.
        unsafe { half_group(tile, row, groups.len(), rest) };
    }
}

/// See [`crate::engine::native::kernel::Cpu::quantize_tile`].
///
/// # Safety
/// The CPU has AVX-512 F, BW, VL and VNNI. The rows are as long as the tile's.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn avx512_tile(tile: &mut TileMut<'_>, rows: &[&[f32]; TILE]) {
    let (groups, is_half) = (rows[0].len() / GROUP, !rows[0].len().is_multiple_of(GROUP));
    for group in 0..groups {
        // SAFETY: as the caller promises.
        unsafe { whole_group(tile, rows, group) };
    }
    for (row, values) in rows.iter().enumerate().filter(|_| is_half) {
        // SAFETY: the CPU has more than that.
        unsafe { half_group(tile, row, groups, &values[groups * GROUP..]) };
    }
}

/// A group of all rows. What a row waits for, its largest number, the rows find together; and their codes are put side by
/// side in registers.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn whole_group(tile: &mut TileMut<'_>, rows: &[&[f32]; TILE], group: usize) {
    /// Registers of a row.
    const ALL: usize = GROUP / 16;
    // SAFETY: every read stays in a row, as the caller promises.
    let load =
        |row: usize, i: usize| unsafe { _mm512_loadu_ps(rows[row].as_ptr().add(group * GROUP + i * 16)) };
    let mut largest = [_mm256_setzero_ps(); TILE];
    for row in 0..TILE {
        let mut most = _mm512_setzero_ps();
        for i in 0..ALL {
            // In this order a NaN is passed over, as `f32::max` does.
            most = _mm512_max_ps(_mm512_abs_ps(load(row, i)), most);
        }
        let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(most, most);
        largest[row] = _mm256_max_ps(_mm512_castps512_ps256(most), _mm512_castps512_ps256(high));
    }
    let scales = _mm256_div_ps(largest_of_rows(largest), _mm256_set1_ps(127.0));
    // As `f32::is_normal`; none is negative.
    let is_normal = _mm256_cmp_ps_mask::<_CMP_GE_OQ>(scales, _mm256_set1_ps(f32::MIN_POSITIVE))
        & _mm256_cmp_ps_mask::<_CMP_LT_OQ>(scales, _mm256_set1_ps(f32::INFINITY));
    let scales = _mm256_maskz_mov_ps(is_normal, scales);
    let inverses = _mm256_maskz_div_ps(is_normal, _mm256_set1_ps(1.0), scales);

    let round = _mm512_set1_ps(ROUND);
    let mut codes = [_mm512_setzero_si512(); TILE];
    for row in 0..TILE {
        let lane = _mm256_set1_epi32(row as i32);
        let inverse = _mm512_broadcastss_ps(_mm256_castps256_ps128(_mm256_permutevar8x32_ps(inverses, lane)));
        let mut quads = [_mm_setzero_si128(); ALL];
        for i in 0..ALL {
            let rounded = _mm512_castps_si512(_mm512_fmadd_ps(load(row, i), inverse, round));
            // Of what is no number codes may be any.
            quads[i] = _mm512_cvtsepi32_epi8(_mm512_sub_epi32(rounded, _mm512_castps_si512(round)));
        }
        let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(quads[0]), quads[1]);
        let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(quads[2]), quads[3]);
        codes[row] = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
        if !tile.flat.is_empty() {
            let flat = &mut tile.flat[(group * TILE + row) * GROUP..][..GROUP];
            // SAFETY: a register's 64 bytes.
            unsafe { _mm512_storeu_si512(flat.as_mut_ptr().cast(), codes[row]) };
        }
    }
    let mut sums = _mm512_setzero_si512();
    let ones = _mm512_set1_epi8(1);
    let room = tile.codes[group * GROUP * TILE..][..GROUP * TILE].as_chunks_mut::<GROUP>().0;
    for (room, lines) in room.iter_mut().zip(side_by_side(&codes)) {
        sums = _mm512_dpbusd_epi32(sums, ones, lines);
        // SAFETY: a register's 64 bytes.
        unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), lines) };
    }
    let sums = _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    let starts = _mm256_mullo_epi32(sums, _mm256_set1_epi32(-i32::from(ZERO)));
    let (own_scales, own_starts) =
        (&mut tile.scales[group * TILE..][..TILE], &mut tile.starts[group * TILE..][..TILE]);
    // SAFETY: eight numbers each, as many as a tile has rows.
    unsafe {
        _mm256_storeu_ps(own_scales.as_mut_ptr(), scales);
        _mm256_storeu_si256(own_starts.as_mut_ptr().cast(), starts);
    }
}

/// The largest number of each of eight registers.
#[target_feature(enable = "avx2")]
#[inline]
fn largest_of_rows(rows: [__m256; TILE]) -> __m256 {
    // Of two rows each, of four, of eight: by halves, until a row has one number left.
    let mut two = [_mm256_setzero_ps(); 4];
    for i in 0..4 {
        let (a, b) = (rows[2 * i], rows[2 * i + 1]);
        two[i] = _mm256_max_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    }
    let mut four = [_mm256_setzero_ps(); 2];
    for i in 0..2 {
        let (a, b) = (_mm256_castps_pd(two[2 * i]), _mm256_castps_pd(two[2 * i + 1]));
        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        four[i] = _mm256_max_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
    }
    let low = _mm256_permute2f128_ps::<0x20>(four[0], four[1]);
    let high = _mm256_permute2f128_ps::<0x31>(four[0], four[1]);
    _mm256_max_ps(low, high)
}

/// Sixteen quads each of eight rows, as [`TileMut::codes`] has them: of two quads those of all rows in a register.
#[target_feature(enable = "avx512f")]
#[inline]
fn side_by_side(rows: &[__m512i; TILE]) -> [__m512i; TILE] {
    // Of four rows, in every quarter of a register: the first quads of it, the second, the third and the fourth.
    let mut fours = [[_mm512_setzero_si512(); 4]; 2];
    for half in 0..2 {
        let [a, b, c, d] = [rows[4 * half], rows[4 * half + 1], rows[4 * half + 2], rows[4 * half + 3]];
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        fours[half] = [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab2, cd2),
            _mm512_unpackhi_epi64(ab2, cd2),
        ];
    }
    let mut out = [_mm512_setzero_si512(); TILE];
    for pair in 0..2 {
        let [a, b] = [fours[0][2 * pair], fours[1][2 * pair]];
        let [c, d] = [fours[0][2 * pair + 1], fours[1][2 * pair + 1]];
        // The quarters of four registers, the first ones together and so on.
        let (ab, cd) =
            (_mm512_shuffle_i64x2::<0b01_00_01_00>(a, b), _mm512_shuffle_i64x2::<0b01_00_01_00>(c, d));
        let (ab2, cd2) =
            (_mm512_shuffle_i64x2::<0b11_10_11_10>(a, b), _mm512_shuffle_i64x2::<0b11_10_11_10>(c, d));
        out[pair] = _mm512_shuffle_i64x2::<0b10_00_10_00>(ab, cd);
        out[2 + pair] = _mm512_shuffle_i64x2::<0b11_01_11_01>(ab, cd);
        out[4 + pair] = _mm512_shuffle_i64x2::<0b10_00_10_00>(ab2, cd2);
        out[6 + pair] = _mm512_shuffle_i64x2::<0b11_01_11_01>(ab2, cd2);
    }
    out
}

/// The last group, if it is half as long.
#[target_feature(enable = "avx2,fma")]
unsafe fn half_group(tile: &mut TileMut<'_>, row: usize, group: usize, values: &[f32]) {
    let own = (group * GROUP * TILE, group * TILE);
    let mut part = TileMut {
        codes: &mut tile.codes[own.0..],
        scales: &mut tile.scales[own.1..],
        starts: &mut tile.starts[own.1..],
        flat: tile.flat.get_mut(own.1 * GROUP..).unwrap_or_default(),
    };
    // SAFETY: as the caller promises.
    unsafe { avx2(&mut part, row, values) };
}

/// The largest magnitude.
#[target_feature(enable = "avx2")]
#[inline]
fn largest(blocks: &[[f32; BLOCK]]) -> f32 {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let mut lanes = [_mm256_setzero_ps(); 2];
    for values in blocks {
        for i in 0..REGISTERS {
            // SAFETY: the read stays in the block.
            let x = unsafe { _mm256_loadu_ps(values.as_ptr().add(i * 8)) };
            // In this order a NaN is passed over, as `f32::max` does.
            lanes[i % 2] = _mm256_max_ps(_mm256_and_ps(x, magnitude), lanes[i % 2]);
        }
    }
    let lanes = _mm256_max_ps(lanes[0], lanes[1]);
    let largest = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
    _mm_cvtss_f32(_mm_max_ss(largest, _mm_movehdup_ps(largest)))
}
