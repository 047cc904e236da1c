//! Low-rank adapters in 8 bits: u = A·x from the activations that the base product has quantized already, then
//! y += B·u for all adapters of a row at once.

use super::acts::{Activations, GROUP, TILE, groups};
use super::lora::RANKS;
use super::weights::{LINE, Line, PANEL};

/// Four inputs of [`RANKS`] ranks of A: codes around 128.
#[derive(Debug, Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(32))]
pub struct RankLine(pub [u8; RANKS * LINE]);

impl RankLine {
    pub fn bytes(lines: &[Self]) -> &[u8] {
        bytemuck::cast_slice(lines)
    }
}

/// Rows that [`super::Cpu::ranks_down`] takes at most.
pub const ROWS: usize = 4;

/// A row that several adapters add to.
#[derive(Debug, Default)]
pub struct UpRow<'a> {
    /// u in 8 bits, adapter by adapter.
    pub quads: &'a [[i8; LINE]],
    /// -128 · Σ of all u.
    pub start: i32,
    pub scale: f32,
    /// Whole panels.
    pub y: &'a mut [f32],
}

impl Activations {
    /// Where a row's first codes, and its first scale, stand.
    #[inline(always)]
    pub fn place(&self, row: usize) -> (usize, usize) {
        let (tile, lane) = (row / TILE, row % TILE);
        (tile * TILE * self.inputs + lane * LINE, tile * TILE * groups(self.inputs) + lane)
    }
}

/// See [`super::Cpu::ranks_down`].
pub fn down(
    lines: &[RankLine],
    scales: &[f32; RANKS],
    acts: &Activations,
    rows: &[usize],
    out: &mut [[f32; RANKS]; ROWS],
) {
    for (row, out) in rows.iter().zip(out) {
        let (codes, scale) = acts.place(*row);
        for rank in 0..RANKS {
            let mut total = 0.0_f32;
            for (group, lines) in lines.chunks(GROUP / LINE).enumerate() {
                let mut dot = acts.starts[scale + group * TILE];
                for (quad, line) in lines.iter().enumerate() {
                    let at = codes + (group * GROUP / LINE + quad) * TILE * LINE;
                    for i in 0..LINE {
                        dot += i32::from(line.0[rank * LINE + i]) * i32::from(acts.codes[at + i]);
                    }
                }
                total = (dot as f32).mul_add(acts.scales[scale + group * TILE], total);
            }
            out[rank] = total * scales[rank];
        }
    }
}

/// See [`super::Cpu::ranks_up`].
pub fn up(lines: &[&[Line]], panels: usize, rows: &mut [UpRow<'_>]) {
    for row in rows {
        for (panel, y) in row.y.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            for (column, y) in y.iter_mut().enumerate() {
                let mut dot = row.start;
                let own = lines.iter().flat_map(|lines| {
                    let quads = lines.len() / panels;
                    &lines[panel * quads..][..quads]
                });
                for (line, quad) in own.zip(row.quads) {
                    for i in 0..LINE {
                        dot += i32::from(line.0[column * LINE + i]) * i32::from(quad[i]);
                    }
                }
                *y = (dot as f32).mul_add(row.scale, *y);
            }
        }
    }
}
