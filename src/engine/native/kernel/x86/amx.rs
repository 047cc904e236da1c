//! The products with AMX: a tile multiplies sixteen rows of 64 activations with a panel at once.
//!
//! Rust has no stable intrinsics for tiles, so the few instructions are written in assembly. Tiles are state of a thread:
//! they are configured when [`Tiles`] is made, and released with it.

use std::arch::asm;
#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;
use std::marker::PhantomData;

use crate::engine::native::kernel::acts::{BAND, BandRef, GROUP, TILE};
use crate::engine::native::kernel::soon::Soon;
use crate::engine::native::kernel::weights::{LINE, Line, PANEL};

/// Bytes of a tile's row.
const STRIDE: usize = 64;

/// Groups whose sums are kept at a time.
const SLOTS: usize = 4;

/// The sums of one group: a tile in memory.
type Sums = [[i32; PANEL]; BAND];

/// Whether the CPU has tiles of 8-bit integers, and the system lets this process use them. Asks for that, which holds for
/// the whole process from then on.
pub fn is_there() -> bool {
    /// `AMX-TILE` and `AMX-INT8` in EDX of leaf 7 (Intel SDM, volume 2, CPUID).
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & TILE_AND_INT8 != TILE_AND_INT8 {
        return false;
    }
    is_permitted()
}

#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    // linux/arch/x86/include/uapi/asm/prctl.h; the tiles' data are component 18 of the extended state.
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and changes nothing but what the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// What `ldtilecfg` reads (Intel SDM, volume 1, chapter 18): every tile has sixteen rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = {
    let mut config =
        Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        config.row_bytes[tile] = STRIDE as u16;
        config.rows[tile] = BAND as u8;
        tile += 1;
    }
    config
};

/// This thread's tiles, configured.
#[derive(Debug)]
pub struct Tiles {
    room: Room,
    /// They are the thread's.
    _not_send: PhantomData<*const ()>,
}

impl Tiles {
    /// # Safety
    /// [`is_there`] was true in this process, and the thread has no other `Tiles`.
    pub unsafe fn new() -> Self {
        // SAFETY: the configuration is 64 bytes long and valid; the caller promises that the CPU has tiles.
        unsafe {
            asm!("ldtilecfg [{config}]", config = in(reg) &raw const CONFIG, options(nostack, readonly));
        };
        Self { room: Room([[[0; PANEL]; BAND]; SLOTS]), _not_send: PhantomData }
    }

    /// See [`crate::engine::native::kernel::Products::band`]. `lines` are whole groups.
    ///
    /// # Safety
    /// The CPU has AVX-512 F; `band` has as many groups as `lines`.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn product(
        &mut self,
        lines: &[Line],
        scales: &[f32; PANEL],
        band: &BandRef<'_>,
        (soon, parts): (&mut Soon<'_>, usize),
        out: &mut [[f32; PANEL]; BAND],
    ) {
        let groups = lines.len() / (GROUP / LINE);
        let pace = soon.pace(parts, groups);
        let mut total = [_mm512_setzero_ps(); BAND];
        let (codes, weights) = (band.tall.as_ptr(), lines.as_ptr().cast::<u8>());
        let room = &mut self.room.0;
        macro_rules! dot {
            ($slot:literal, $group:expr) => {
                if $group < groups {
                    // SAFETY: the group is one of the band's and of the lines, which are as large as its codes.
                    unsafe {
                        let at = $group * GROUP * BAND;
                        dot::<$slot>(codes.add(at), weights.add(at), &mut room[$slot]);
                    }
                }
            };
        }
        // While one group's sums are added up the tiles work on the next three.
        dot!(0, 0);
        dot!(1, 1);
        dot!(2, 2);
        let mut group = 0;
        macro_rules! add {
            ($slot:literal, $next:literal) => {
                if group < groups {
                    dot!($next, group + 3);
                    super::fetch_soon(soon, pace);
                    // SAFETY: the group is one of the band's.
                    unsafe { add(&room[$slot], group, band, &mut total) };
                    group += 1;
                }
            };
        }
        while group < groups {
            add!(0, 3);
            add!(1, 0);
            add!(2, 1);
            add!(3, 2);
        }
        // SAFETY: the scales, and a row of `out`, are a register long.
        unsafe {
            let scales = _mm512_loadu_ps(scales.as_ptr());
            for r in 0..BAND {
                _mm512_storeu_ps(out[r].as_mut_ptr(), _mm512_mul_ps(total[r], scales));
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: whoever made it had tiles.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Room([Sums; SLOTS]);

/// The sums of a group's products, for sixteen rows and a panel.
///
/// # Safety
/// The tiles are configured; `codes` has sixteen rows of 64 bytes, and so has `weights`.
#[inline(always)]
unsafe fn dot<const T: usize>(codes: *const i8, weights: *const u8, sums: &mut Sums) {
    macro_rules! dot {
        ($sum:tt, $x:tt, $w:tt) => {
            // SAFETY: as the caller promises; a tile is as large as `sums`.
            unsafe {
                asm!(
                    concat!("tilezero ", $sum),
                    concat!("tileloadd ", $x, ", [{codes} + {stride}]"),
                    concat!("tileloadd ", $w, ", [{weights} + {stride}]"),
                    // Signed by unsigned bytes.
                    concat!("tdpbsud ", $sum, ", ", $x, ", ", $w),
                    concat!("tilestored [{sums} + {stride}], ", $sum),
                    codes = in(reg) codes,
                    weights = in(reg) weights,
                    sums = in(reg) sums.as_mut_ptr(),
                    stride = in(reg) STRIDE,
                    out($sum) _,
                    out($x) _,
                    out($w) _,
                    options(nostack),
                );
            }
        };
    }
    match T {
        0 => dot!("tmm0", "tmm4", "tmm5"),
        1 => dot!("tmm1", "tmm6", "tmm7"),
        2 => dot!("tmm2", "tmm4", "tmm5"),
        _ => dot!("tmm3", "tmm6", "tmm7"),
    }
}

/// total += scale · (start + sum), row by row.
///
/// # Safety
/// The CPU has AVX-512 F; the band has this group.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn add(sums: &Sums, group: usize, band: &BandRef<'_>, total: &mut [__m512; BAND]) {
    macro_rules! rows {
        ($tile:literal: $($row:literal)*) => {
            // SAFETY: as the caller promises.
            unsafe {
                let starts = band.tiles[$tile].starts.as_ptr().add(group * TILE);
                let scales = band.tiles[$tile].scales.as_ptr().add(group * TILE);
                $(
                    let sum = _mm512_load_si512(sums[$tile * TILE + $row].as_ptr().cast());
                    let dot = _mm512_cvtepi32_ps(_mm512_add_epi32(sum, _mm512_set1_epi32(*starts.add($row))));
                    let own = &mut total[$tile * TILE + $row];
                    *own = _mm512_fmadd_ps(dot, _mm512_set1_ps(*scales.add($row)), *own);
                )*
            }
        };
    }
    // Written out, so that the totals stay in registers.
    rows!(0: 0 1 2 3 4 5 6 7);
    rows!(1: 0 1 2 3 4 5 6 7);
}

/// See [`crate::engine::native::kernel::Cpu::peak`].
///
/// # Safety
/// [`is_there`] was true in this process.
pub unsafe fn peak(rounds: u64) -> u64 {
    // SAFETY: as the caller promises; no other tiles are alive in a measurement.
    let tiles = unsafe { Tiles::new() };
    for _ in 0..rounds {
        // SAFETY: the tiles are configured.
        unsafe {
            asm!(
                "tdpbsud tmm0, tmm6, tmm7",
                "tdpbsud tmm1, tmm6, tmm7",
                "tdpbsud tmm2, tmm6, tmm7",
                "tdpbsud tmm3, tmm6, tmm7",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem),
            );
        }
    }
    drop(tiles);
    rounds * 4 * (BAND * PANEL * GROUP * 2) as u64
}
