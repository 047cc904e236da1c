//! Panels times bands of rows, as wide as the CPU takes them.

use super::Cpu;
use super::acts::{BAND, BandRef, GROUP, TILE, groups};
use super::weights::{LINE, Line, PANEL};
#[cfg(target_arch = "x86_64")]
use super::{Isa, x86::amx::Tiles};

/// Pieces of memory that are fetched while a product is computed: of the next panels, and of the next layer's adapters.
pub const SOON: usize = 2;

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

    /// The products of one panel, or two neighbouring ones, with `rows` rows (1 to [`BAND`]) of a band, as [`Cpu::product`]
    /// has them for a tile.
    pub fn band(
        &mut self,
        panels: &[(&[Line], [f32; PANEL])],
        band: &BandRef<'_>,
        rows: usize,
        soon: [&[u8]; SOON],
        out: &mut [[[f32; PANEL]; BAND]; 2],
    ) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(tiles), false) = (&mut self.tiles, band.tall.is_empty()) {
            for (i, ((lines, scales), out)) in panels.iter().zip(out).enumerate() {
                let groups = groups(lines.len() * LINE);
                assert!(
                    lines.len() * LINE == groups * GROUP
                        && band.tall.len() == groups * GROUP * BAND
                        && band.tiles.iter().all(|tile| {
                            tile.scales.len() == groups * TILE && tile.starts.len() == groups * TILE
                        })
                );
                let soon = if i == 0 { soon } else { [&[][..]; SOON] };
                // SAFETY: a CPU with tiles has AVX-512 too; the sizes were checked just now.
                unsafe { tiles.product(lines, scales, band, soon, out) };
            }
            return;
        }
        let [first, second] = out;
        let outs = first.as_chunks_mut::<TILE>().0.iter_mut().zip(second.as_chunks_mut::<TILE>().0);
        for (i, (tile, (first, second))) in band.tiles.iter().zip(outs).enumerate().take(rows.div_ceil(TILE))
        {
            let rows = TILE.min(rows - i * TILE);
            let mut own = [&[][..]; SOON];
            for (own, memory) in own.iter_mut().zip(soon) {
                let (before, behind) = memory.split_at(memory.len() / 2);
                *own = if i == 0 { before } else { behind };
            }
            match panels {
                [(a, scales_a), (b, scales_b)] => {
                    self.cpu.products([a, b], &[*scales_a, *scales_b], tile, rows, own, [first, second]);
                }
                [(lines, scales)] => self.cpu.product(lines, scales, tile, rows, own, first),
                _ => unreachable!("one panel or two"),
            }
        }
    }
}
