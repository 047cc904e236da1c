//! Low-rank adapters (Hu et al. 2021): u = A·x for the rows that use an adapter, then y += B·(g·s·u).

use super::math::bf16_to_f32;

/// An adapter's numbers in one of the kinds that they may be held in.
pub trait Element: Copy + Send + Sync {
    fn value(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Element for u16 {
    #[inline(always)]
    fn value(self) -> f32 {
        bf16_to_f32(self)
    }
}

/// Ranks that are computed together.
pub const RANKS: usize = 8;

/// out = A·x for `R` rows and one group of [`RANKS`] ranks.
///
/// `a` is `[inputs][ranks]`, of which the columns from `first` on are taken; `x` is `[inputs]` for each row.
#[inline(always)]
pub fn down<E: Element, const R: usize>(
    a: &[E],
    ranks: usize,
    first: usize,
    x: [&[f32]; R],
) -> [[f32; RANKS]; R] {
    // Two sums, of the even and of the odd inputs: one alone would wait for its own last addition.
    let mut even = [[0.0_f32; RANKS]; R];
    let mut odd = [[0.0_f32; RANKS]; R];
    let inputs = x[0].len();
    for pair in 0..inputs / 2 {
        let k = pair * 2;
        let row0 = &a[k * ranks + first..][..RANKS];
        let row1 = &a[(k + 1) * ranks + first..][..RANKS];
        for r in 0..R {
            let (x0, x1) = (x[r][k], x[r][k + 1]);
            for lane in 0..RANKS {
                even[r][lane] = x0.mul_add(row0[lane].value(), even[r][lane]);
                odd[r][lane] = x1.mul_add(row1[lane].value(), odd[r][lane]);
            }
        }
    }
    for r in 0..R {
        for lane in 0..RANKS {
            even[r][lane] += odd[r][lane];
        }
    }
    even
}

/// y += B·u, over the columns of `y`. `b` is `[ranks][outputs]`, of which the columns from `first` on are taken.
#[inline(always)]
pub fn up<E: Element>(b: &[E], outputs: usize, first: usize, u: &[f32], y: &mut [f32]) {
    let (chunks, rest) = y.as_chunks_mut::<16>();
    for (i, y) in chunks.iter_mut().enumerate() {
        let mut sum = *y;
        for (r, u) in u.iter().enumerate() {
            let b = &b[r * outputs + first + i * 16..][..16];
            for lane in 0..16 {
                sum[lane] = u.mul_add(b[lane].value(), sum[lane]);
            }
        }
        *y = sum;
    }
    let start = first + chunks.len() * 16;
    for (i, y) in rest.iter_mut().enumerate() {
        for (r, u) in u.iter().enumerate() {
            *y = u.mul_add(b[r * outputs + start + i].value(), *y);
        }
    }
}
