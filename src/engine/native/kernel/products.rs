//! Panels times bands of rows, as wide as the CPU takes them.

use std::ops::Range;

use super::Cpu;
use super::acts::{Activations, BAND, BAND_TILES, GROUP, TILE, groups};
use super::soon::Soon;
use super::weights::{LINE, Line, PANEL, Weights};
#[cfg(target_arch = "x86_64")]
use super::{Isa, x86::amx::Tiles};

/// A thread that is about to compute products. On CPUs with tiles it holds them, configured.
#[derive(Debug)]
pub struct Products {
    cpu: Cpu,
    #[cfg(target_arch = "x86_64")]
    tiles: Option<Tiles>,
}

impl Products {
    /// # Safety
    /// The thread has no other `Products`: the first that ends would take the tiles from both.
    pub unsafe fn new(cpu: Cpu) -> Self {
        Self {
            cpu,
            // SAFETY: the CPU has tiles, and may use them, or there would be no such `Cpu`; they are not in use, as the
            // caller promises.
            #[cfg(target_arch = "x86_64")]
            tiles: (cpu.isa() == Isa::Amx).then(|| unsafe { Tiles::new() }),
        }
    }

    /// The products of a pair with `rows` rows (1 to [`BAND`]) of a band of `acts`, as [`Cpu::product`] has them for a tile.
    // Every tile is taken out of the rows just where it is used: a copy of what was written a moment ago waits for it.
    pub fn band(
        &mut self,
        pair: &Pair<'_>,
        (acts, band): (&Activations, usize),
        rows: usize,
        mut soon: Soon<'_>,
        out: &mut [[[f32; PANEL]; BAND]; 2],
    ) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(tiles), true) = (&mut self.tiles, acts.is_tall()) {
            let groups = groups(acts.inputs);
            let band = acts.band(band);
            assert!(
                acts.inputs == groups * GROUP
                    && band.tall.len() == groups * GROUP * BAND
                    && band
                        .tiles
                        .iter()
                        .all(|tile| tile.scales.len() == groups * TILE && tile.starts.len() == groups * TILE)
            );
            for (i, out) in out.iter_mut().enumerate().take(pair.count) {
                assert!(pair.lines[i].len() * LINE == acts.inputs);
                // SAFETY: a CPU with tiles has AVX-512 too; the sizes were checked just now.
                unsafe {
                    tiles.product(pair.lines[i], &pair.scales[i], &band, (&mut soon, pair.count - i), out);
                };
            }
            return;
        }
        let [first, second] = out;
        let outs = first.as_chunks_mut::<TILE>().0.iter_mut().zip(second.as_chunks_mut::<TILE>().0);
        let tiles = rows.div_ceil(TILE);
        for (i, (first, second)) in outs.enumerate().take(tiles) {
            let rows = TILE.min(rows - i * TILE);
            let soon = (&mut soon, tiles - i);
            let tile = acts.tile(band * BAND_TILES + i);
            if pair.count == 2 {
                self.cpu.products(pair.lines, &pair.scales, &tile, rows, soon, [first, second]);
            } else {
                self.cpu.product(pair.lines[0], &pair.scales[0], &tile, rows, soon, first);
            }
        }
    }
}

/// Two panels of weights, or one.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub count: usize,
    pub lines: [&'a [Line]; 2],
    pub scales: [[f32; PANEL]; 2],
}

impl<'a> Pair<'a> {
    /// Panels `panels` of a matrix, at most two. `room`, of a panel's lines each, is for codes that are not there as they are
    /// wanted; they are expanded into it unless they were before.
    pub fn new(
        cpu: Cpu,
        weights: &Weights<'a>,
        panels: Range<usize>,
        room: &'a mut [Line],
        is_expanded: bool,
    ) -> Self {
        let size = weights.inputs() / LINE;
        if !is_expanded && weights.lines(panels.start).is_none() {
            for (panel, room) in panels.clone().zip(room.chunks_exact_mut(size)) {
                weights.expand(cpu, panel, room);
            }
        }
        let room = &*room;
        let mut pair = Self { count: panels.len(), lines: [&[]; 2], scales: [[0.0; PANEL]; 2] };
        for (i, panel) in panels.enumerate() {
            let expanded = || room.get(i * size..(i + 1) * size).unwrap_or_default();
            pair.lines[i] = weights.lines(panel).unwrap_or_else(expanded);
            pair.scales[i] = weights.scales(panel);
        }
        pair
    }
}
