//! Arithmetic that gives the same bits on every CPU: the vector versions only run it on more lanes at once.

/// Lanes that a sum is spread over, whatever the registers' width: the order of additions never changes.
pub const LANES: usize = 16;

/// Reads a `bf16`: the upper half of an `f32`.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rounds to the nearest `bf16`, ties to even.
#[inline(always)]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Adds up lanes, as a tree.
#[inline(always)]
pub fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest of the lanes, as a tree. All of them are numbers.
#[inline(always)]
pub fn max_lanes(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] };
        }
        width /= 2;
    }
    lanes[0]
}

/// What [`exp`] takes: below and above its result is that of these.
pub const EXP_RANGE: [f32; 2] = [-87.0, 88.0];

/// -ln 2 in two parts, of which the first has few bits, so that a small whole number times it is exact.
pub const LN_2: [f32; 2] = [-0.693_359_4, 2.121_944_4e-4];

/// (e^r - 1 - r) / r² for |r| up to ln 2 / 2: a polynomial of degree 5, the highest power first.
pub const EXP: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// e^x with a relative error below 3e-7 (Cephes' `expf`: reduction by ln 2 in two parts, polynomial of degree 5).
/// Below -87 the result is about 1e-38, above 88 about 1e38: never a denormal, never infinite.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: added to a small number, it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(EXP_RANGE[0], EXP_RANGE[1]);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(LN_2[0], x);
    let r = n.mul_add(LN_2[1], r);
    let mut p = EXP[0];
    p = p.mul_add(r, EXP[1]);
    p = p.mul_add(r, EXP[2]);
    p = p.mul_add(r, EXP[3]);
    p = p.mul_add(r, EXP[4]);
    p = p.mul_add(r, EXP[5]);
    let y = p.mul_add(r * r, r + 1.0);
    // n is in [-126, 127] and y in [0.7, 1.5]: the exponent of the product is a normal one.
    f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Σ exp(value - highest) of values up to `highest`. What is no number counts as nothing.
#[inline(always)]
pub fn exp_sum(values: &[f32], highest: f32) -> f64 {
    /// Values that are added in `f32`.
    const FEW: usize = 32 * LANES;
    let mut total = 0.0;
    for few in values.chunks(FEW) {
        let (chunks, rest) = few.as_chunks::<LANES>();
        let mut sums = [0.0_f32; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                let value = if chunk[lane].is_nan() { f32::NEG_INFINITY } else { chunk[lane] };
                sums[lane] += exp(value - highest);
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            *sum += if value.is_nan() { 0.0 } else { exp(value - highest) };
        }
        total += f64::from(sum_lanes(sums));
    }
    total
}

/// x · sigmoid(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// Rotary embedding (Su et al. 2021) in the half-split form: element i turns with element i + dim/2.
#[inline(always)]
pub fn rotate(values: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (low, high) = values.split_at_mut(cos.len());
    for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
