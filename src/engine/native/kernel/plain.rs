//! Products and attention in plain Rust: what every CPU runs, and what the vector versions must equal, bit for bit.

use super::acts::{GROUP, TILE, TileRef};
use super::attention::{self, Head, Plain, Query};
use super::weights::{LINE, Line, PANEL};

/// See [`super::Cpu::product`].
pub fn product(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    rows: usize,
    out: &mut [[f32; PANEL]; TILE],
) {
    for row in 0..rows {
        for column in 0..PANEL {
            let mut total = 0.0_f32;
            for (group, lines) in lines.chunks(GROUP / LINE).enumerate() {
                let mut dot = acts.starts[group * TILE + row];
                for (quad, line) in lines.iter().enumerate() {
                    let at = ((group * GROUP / LINE + quad) * TILE + row) * LINE;
                    for i in 0..LINE {
                        dot += i32::from(line.0[column * LINE + i]) * i32::from(acts.codes[at + i]);
                    }
                }
                total = (dot as f32).mul_add(acts.scales[group * TILE + row], total);
            }
            out[row][column] = total * scales[column];
        }
    }
}

/// [`attention::int8::attend`].
///
/// # Safety
/// None is needed: it has the signature of its sisters.
pub unsafe fn attend_int8<const N: usize, const P: usize, const C: usize>(
    head: Head<'_>,
    table: &[u32],
    queries: &[Query<'_>; N],
    room: &mut [f32],
    out: &mut [&mut [f32]; N],
) {
    // SAFETY: plain Rust runs everywhere.
    unsafe { attention::int8::attend::<Plain, N, P, C>(head, table, queries, room, out) };
}

/// [`attention::bf16::attend`].
///
/// # Safety
/// None is needed: it has the signature of its sisters.
pub unsafe fn attend_bf16<const N: usize, const P: usize, const C: usize>(
    head: Head<'_>,
    table: &[u32],
    queries: &[Query<'_>; N],
    room: &mut [f32],
    out: &mut [&mut [f32]; N],
) {
    // SAFETY: plain Rust runs everywhere.
    unsafe { attention::bf16::attend::<Plain, N, P, C>(head, table, queries, room, out) };
}

/// See [`super::Cpu::peak`].
pub fn peak(rounds: u64) -> u64 {
    let (x, y) = (std::hint::black_box([3_u8; 64]), std::hint::black_box([5_i8; 64]));
    let mut sums = [0_i32; 64];
    for _ in 0..rounds {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(&y)) {
            *sum = sum.wrapping_add(i32::from(*x) * i32::from(*y));
        }
    }
    std::hint::black_box(sums);
    rounds * 128
}
