//! Activations in 8 bits: what the integer products multiply.

pub use npc_onnx::packed::BLOCK;
use npc_onnx::packed::ZERO;

use super::math::{LANES, silu, sum_lanes};
use super::weights::PANEL;

/// 1.5 · 2²³: added to a small number, it leaves the nearest whole number in the lowest bits.
pub const ROUND: f32 = 12_582_912.0;

/// Rows that are multiplied together.
pub const TILE: usize = 8;

/// Tiles that are multiplied together where the CPU takes so many rows at once, and their rows.
pub const BAND_TILES: usize = 2;
pub const BAND: usize = BAND_TILES * TILE;

/// Values that share a scale; the last group of a row may be half as long.
pub const GROUP: usize = 2 * BLOCK;

/// Rows of activations, quantized for the products.
///
/// Rows stand in tiles of [`TILE`]: four values of each of a tile's rows, then the next four of each, so that the
/// product walks through memory in order. x ≈ scale · code, one scale for [`GROUP`] values.
#[derive(Debug, Default)]
pub struct Activations {
    pub rows: usize,
    pub inputs: usize,
    /// `[tiles][inputs / 4][TILE][4]`
    pub codes: Vec<i8>,
    /// `[tiles][groups][TILE]`
    pub scales: Vec<f32>,
    /// -128 · Σ codes, laid out as `scales`: where a product begins, since the weights' codes stand 128 too high.
    pub starts: Vec<i32>,
    /// The codes once more, `[bands][groups][BAND][GROUP]`, where the CPU multiplies a band at once; empty elsewhere.
    pub tall: Vec<i8>,
    is_tall: bool,
    /// The codes once more, `[tiles][groups][TILE][GROUP]`, where adapters multiply single rows; old
    /// or empty elsewhere.
    pub flat: Vec<i8>,
}

impl Activations {
    /// Makes room for `rows` rows of `inputs` values, a multiple of [`BLOCK`]; `tall`, `flat`: also for [`Self::tall`] and
    /// [`Self::flat`]. The vectors only grow: layers of different sizes take turns, and what is in them is written before it
    /// is read.
    pub fn resize(&mut self, rows: usize, inputs: usize, (tall, flat): (bool, bool)) {
        debug_assert!(inputs.is_multiple_of(BLOCK));
        let tiles = rows.div_ceil(TILE);
        self.rows = rows;
        self.inputs = inputs;
        self.is_tall = tall;
        grow(&mut self.codes, tiles * TILE * inputs);
        grow(&mut self.scales, tiles * TILE * groups(inputs));
        grow(&mut self.starts, tiles * TILE * groups(inputs));
        if tall {
            grow(&mut self.tall, tiles.div_ceil(BAND_TILES) * BAND * groups(inputs) * GROUP);
        }
        if flat {
            grow(&mut self.flat, tiles * TILE * groups(inputs) * GROUP);
        }
    }

    /// Whether [`Self::tall`] is filled.
    pub fn is_tall(&self) -> bool {
        self.is_tall
    }

    /// The tiles of a band, of which the last band may have one.
    #[inline]
    pub fn band(&self, band: usize) -> BandRef<'_> {
        let last = self.rows.div_ceil(TILE) - 1;
        let size = groups(self.inputs) * GROUP * BAND;
        BandRef {
            tiles: std::array::from_fn(|i| self.tile((band * BAND_TILES + i).min(last))),
            tall: if self.is_tall { &self.tall[band * size..][..size] } else { &[] },
        }
    }

    /// Where a row's first codes, and its first scale, stand.
    #[cfg(test)]
    pub fn place(&self, row: usize) -> (usize, usize) {
        let (tile, lane) = (row / TILE, row % TILE);
        (tile * TILE * self.inputs + lane * 4, tile * TILE * groups(self.inputs) + lane)
    }

    /// One tile.
    #[inline]
    pub fn tile(&self, tile: usize) -> TileRef<'_> {
        let groups = TILE * groups(self.inputs);
        TileRef {
            codes: &self.codes[tile * TILE * self.inputs..][..TILE * self.inputs],
            scales: &self.scales[tile * groups..][..groups],
            starts: &self.starts[tile * groups..][..groups],
            // The products do not read it.
            flat: &[],
        }
    }

    /// One tile with [`Self::flat`].
    #[cfg(test)]
    pub fn flat_tile(&self, tile: usize) -> TileRef<'_> {
        let size = TILE * groups(self.inputs) * GROUP;
        TileRef { flat: &self.flat[tile * size..][..size], ..self.tile(tile) }
    }
}

/// Makes a vector at least so long.
pub fn grow<T: Copy + Default>(values: &mut Vec<T>, length: usize) {
    if values.len() < length {
        values.resize(length, T::default());
    }
}

/// Scales of a row.
pub const fn groups(inputs: usize) -> usize {
    inputs.div_ceil(GROUP)
}

/// One tile's part of [`Activations`].
#[derive(Debug, Clone, Copy)]
pub struct TileRef<'a> {
    pub codes: &'a [i8],
    pub scales: &'a [f32],
    pub starts: &'a [i32],
    /// Its part of [`Activations::flat`]; empty where there is none.
    pub flat: &'a [i8],
}

/// Two neighbouring tiles.
#[derive(Debug, Clone, Copy)]
pub struct BandRef<'a> {
    /// The last one twice, if there is no other.
    pub tiles: [TileRef<'a>; BAND_TILES],
    /// Their part of [`Activations::tall`].
    pub tall: &'a [i8],
}

/// A [`TileRef`] to be filled.
#[derive(Debug)]
pub struct TileMut<'a> {
    pub codes: &'a mut [i8],
    pub scales: &'a mut [f32],
    pub starts: &'a mut [i32],
    pub flat: &'a mut [i8],
}

impl TileMut<'_> {
    /// A group's scale and what to multiply its values with, from the largest magnitude in it.
    #[inline(always)]
    pub fn scale(largest: f32) -> (f32, f32) {
        let scale = largest / 127.0;
        // Of a group of zeros, or of numbers so small that their scale would be none. (Of NaN and infinity come
        // codes that mean nothing, as with any integers.)
        if scale.is_normal() { (scale, scale.recip()) } else { (0.0, 0.0) }
    }

    /// Stores a block's codes.
    #[inline(always)]
    pub fn store(&mut self, block: usize, row: usize, quads: &[[i8; 4]; BLOCK / 4]) {
        let room = &mut self.codes[block * BLOCK * TILE..][..BLOCK * TILE];
        for (codes, quad) in room.as_chunks_mut::<{ TILE * 4 }>().0.iter_mut().zip(quads) {
            codes[row * 4..row * 4 + 4].copy_from_slice(quad);
        }
        if !self.flat.is_empty() {
            let at = (block * BLOCK / GROUP * TILE + row) * GROUP + block * BLOCK % GROUP;
            self.flat[at..at + BLOCK].copy_from_slice(quads.as_flattened());
        }
    }

    /// Stores a group's scale, and where its products begin, from Σ codes.
    #[inline(always)]
    pub fn close(&mut self, group: usize, row: usize, scale: f32, sum: i32) {
        self.scales[group * TILE + row] = scale;
        self.starts[group * TILE + row] = sum * -i32::from(ZERO);
    }

    /// Copies a group's codes, row by row, to its part of [`Activations::tall`]: `[TILE][GROUP]`.
    pub fn write_tall(&self, group: usize, tall: &mut [i8]) {
        let codes = self.codes[group * GROUP * TILE..].as_chunks::<4>().0;
        for (row, tall) in tall.as_chunks_mut::<GROUP>().0.iter_mut().enumerate().take(TILE) {
            for (quad, tall) in tall.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *tall = codes[quad * TILE + row];
            }
        }
    }

    /// Quantizes row `row` (below [`TILE`]) of the tile.
    pub fn quantize(&mut self, row: usize, values: &[f32]) {
        for (group, values) in values.chunks(GROUP).enumerate() {
            let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let (scale, inverse) = Self::scale(largest);
            let mut sum = 0_i32;
            for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
                let mut quads = [[0_i8; 4]; BLOCK / 4];
                for (code, value) in quads.as_flattened_mut().iter_mut().zip(values) {
                    let rounded =
                        value.mul_add(inverse, ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
                    *code = rounded.clamp(-128, 127) as i8;
                    sum += i32::from(*code);
                }
                self.store(group * (GROUP / BLOCK) + block, row, &quads);
            }
            self.close(group, row, scale, sum);
        }
    }
}

/// RMS norm (Zhang and Sennrich 2019): out = x / sqrt(mean(x²) + epsilon) · weight.
#[inline(always)]
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = x.mul_add(*x, *lane);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = x.mul_add(*x, *lane);
    }
    let inverse = (sum_lanes(lanes) / x.len() as f32 + epsilon).sqrt().recip();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * inverse * weight;
    }
}

/// See [`super::Cpu::gate`].
#[inline(always)]
pub fn gate(
    [gates, ups]: [&[[[f32; PANEL]; BAND]; 2]; 2],
    bias: Option<[&[f32; 2 * PANEL]; 2]>,
    first: usize,
    out: &mut [[f32; GROUP]],
) {
    for (row, out) in out.iter_mut().enumerate().take(BAND) {
        let out = out[first..first + 2 * PANEL].as_chunks_mut::<PANEL>().0;
        for p in 0..2 {
            let (mut gate, mut up) = (gates[p][row], ups[p][row]);
            if let Some([gates, ups]) = bias {
                for i in 0..PANEL {
                    gate[i] += gates[p * PANEL + i];
                    up[i] += ups[p * PANEL + i];
                }
            }
            for i in 0..PANEL {
                out[p][i] = silu(gate[i]) * up[i];
            }
        }
    }
}

/// Writes a panel's product for some rows, and what is added to it: a bias for each output and a residual for each
/// row and output.
#[inline(always)]
pub fn settle<'a>(
    product: &[[f32; PANEL]],
    bias: Option<&[f32; PANEL]>,
    residual: impl Fn(usize) -> Option<&'a [f32; PANEL]>,
    out: impl Fn(usize) -> &'a mut [f32; PANEL],
) {
    for (row, product) in product.iter().enumerate() {
        let mut sum = *product;
        if let Some(bias) = bias {
            for i in 0..PANEL {
                sum[i] += bias[i];
            }
        }
        if let Some(residual) = residual(row) {
            for i in 0..PANEL {
                sum[i] += residual[i];
            }
        }
        *out(row) = sum;
    }
}

/// The largest number of every row of a panel's product; -∞ if none is a number.
#[inline(always)]
pub fn tops(product: &[[f32; PANEL]], mut set: impl FnMut(usize, f32)) {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    for (row, product) in product.iter().enumerate() {
        // By halves: then all are compared on registers, instead of one after the other.
        let sixteen = product.map(|number| larger(number, f32::NEG_INFINITY));
        let eight: [f32; 8] = std::array::from_fn(|i| larger(sixteen[i], sixteen[i + 8]));
        let four: [f32; 4] = std::array::from_fn(|i| larger(eight[i], eight[i + 4]));
        set(row, larger(larger(four[0], four[2]), larger(four[1], four[3])));
    }
}
