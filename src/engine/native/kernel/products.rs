//! Panels times bands of rows, as wide as the CPU takes them.

use super::Cpu;
use super::acts::{BAND, BandRef, GROUP, TILE, groups};
use super::weights::{LINE, Line, PANEL};
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

    /// A panel's product with `rows` rows (1 to [`BAND`]) of a band, as [`Cpu::product`] has it for a tile.
    pub fn band(
        &mut self,
        lines: &[Line],
        scales: &[f32; PANEL],
        band: &BandRef<'_>,
        rows: usize,
        soon: [&[u8]; 2],
        out: &mut [[f32; PANEL]; BAND],
    ) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(tiles), false) = (&mut self.tiles, band.tall.is_empty()) {
            let groups = groups(lines.len() * LINE);
            assert!(
                lines.len() * LINE == groups * GROUP
                    && band.tall.len() == groups * GROUP * BAND
                    && band.tiles.iter().all(|tile| {
                        tile.scales.len() == groups * TILE && tile.starts.len() == groups * TILE
                    })
            );
            // SAFETY: a CPU with tiles has AVX-512 too; the sizes were checked just now.
            unsafe { tiles.product(lines, scales, band, soon, out) };
            return;
        }
        let out = out.as_chunks_mut::<TILE>().0;
        for (i, (tile, out)) in band.tiles.iter().zip(out).enumerate().take(rows.div_ceil(TILE)) {
            let rows = TILE.min(rows - i * TILE);
            let soon = soon.map(|memory| {
                let (first, second) = memory.split_at(memory.len() / 2);
                if i == 0 { first } else { second }
            });
            self.cpu.product(lines, scales, tile, rows, soon, out);
        }
    }
}
