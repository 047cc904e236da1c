//! Adapters as the native decoder computes them.

use crate::config::AdapterPrecision;
use crate::engine::adapter::Factors;

use super::kernel::{Cpu, RANKS, f32_to_bf16};

/// Numbers in the kind that they are held in.
#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
    /// With a scale for each rank: value = scale · code.
    Int8(Vec<i8>, Vec<f32>),
}

/// One projection's B, over the group's outputs.
#[derive(Debug)]
struct Up {
    /// The first of its ranks among the group's, and how many it has.
    first: usize,
    rank: usize,
    /// The first of its outputs among the group's, and how many it has.
    offset: usize,
    outputs: usize,
    /// s·B, `[rank][outputs]`.
    b: Numbers,
}

/// An adapter's part in one fused linear layer.
#[derive(Debug)]
pub struct Group {
    /// Ranks of all its projections side by side, padded with zeros to a multiple of [`RANKS`].
    ranks: usize,
    /// A, `[inputs][ranks]`.
    a: Numbers,
    ups: Vec<Up>,
}

/// An adapter, `[layer][group]`; `None`: it has nothing there.
#[derive(Debug)]
pub struct PackedAdapter {
    layers: Vec<Vec<Option<Group>>>,
    /// Bytes that its numbers take.
    pub bytes: usize,
}

impl PackedAdapter {
    /// Packs the factors of every layer and group.
    pub fn new(layers: &[Vec<Vec<Factors>>], precision: AdapterPrecision) -> Self {
        let pack = |factors: &Vec<Factors>| (!factors.is_empty()).then(|| Group::new(factors, precision));
        let layers: Vec<Vec<_>> = layers.iter().map(|groups| groups.iter().map(pack).collect()).collect();
        let bytes = layers.iter().flatten().flatten().map(Group::bytes).sum();
        Self { layers, bytes }
    }

    pub fn group(&self, layer: usize, group: usize) -> Option<&Group> {
        self.layers.get(layer)?.get(group)?.as_ref()
    }
}

impl Numbers {
    /// `values` is `[rows][ranks]` for A and `[ranks][columns]` for B; `rank_of` tells an element's rank.
    fn new(
        values: Vec<f32>,
        ranks: usize,
        rank_of: impl Fn(usize) -> usize,
        precision: AdapterPrecision,
    ) -> Self {
        match precision {
            AdapterPrecision::F32 => Self::F32(values),
            AdapterPrecision::Bf16 => Self::Bf16(values.into_iter().map(f32_to_bf16).collect()),
            AdapterPrecision::Int8 => {
                let mut scales = vec![0.0_f32; ranks];
                for (i, value) in values.iter().enumerate() {
                    let scale = &mut scales[rank_of(i)];
                    *scale = scale.max(value.abs() / 127.0);
                }
                let code = |(i, value): (usize, &f32)| {
                    let scale = scales[rank_of(i)];
                    if scale > 0.0 { (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8 } else { 0 }
                };
                let codes = values.iter().enumerate().map(code).collect();
                Self::Int8(codes, scales)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => values.len() * 4,
            Self::Bf16(values) => values.len() * 2,
            Self::Int8(codes, scales) => codes.len() + scales.len() * 4,
        }
    }
}

impl Group {
    fn new(factors: &[Factors], precision: AdapterPrecision) -> Self {
        let inputs = factors.iter().map(|f| f.a.len() / f.rank.max(1)).max().unwrap_or(0);
        let total: usize = factors.iter().map(|f| f.rank).sum();
        let ranks = total.next_multiple_of(RANKS);
        let mut a = vec![0.0; inputs * ranks];
        let mut ups = Vec::with_capacity(factors.len());
        let mut first = 0;
        for f in factors {
            for r in 0..f.rank {
                for input in 0..inputs {
                    a[input * ranks + first + r] = f.a[r * inputs + input];
                }
            }
            let mut b = vec![0.0; f.rank * f.outputs];
            for output in 0..f.outputs {
                for r in 0..f.rank {
                    b[r * f.outputs + output] = f.b[output * f.rank + r];
                }
            }
            let outputs = f.outputs;
            let b = Numbers::new(b, f.rank, |i| i / outputs, precision);
            ups.push(Up { first, rank: f.rank, offset: f.offset, outputs, b });
            first += f.rank;
        }
        Self { ranks, a: Numbers::new(a, ranks, |i| i % ranks, precision), ups }
    }

    /// How many numbers [`Self::down`] gives for a row.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    fn bytes(&self) -> usize {
        self.a.bytes() + self.ups.iter().map(|up| up.b.bytes()).sum::<usize>()
    }

    /// u = A·x for 1 to 4 rows; `put(row, first rank, values)` takes them, with B's own scales not yet in.
    pub fn down(&self, cpu: Cpu, rows: &[&[f32]], mut put: impl FnMut(usize, usize, [f32; RANKS])) {
        for first in (0..self.ranks).step_by(RANKS) {
            macro_rules! rows {
                ($($r:tt)*) => {{
                    let x = [$(rows[$r]),*];
                    let out = match &self.a {
                        Numbers::F32(a) => cpu.lora_down(a, self.ranks, first, x),
                        Numbers::Bf16(a) => cpu.lora_down(a, self.ranks, first, x),
                        Numbers::Int8(a, scales) => {
                            let mut out = cpu.lora_down(a, self.ranks, first, x);
                            for row in &mut out {
                                row.iter_mut().zip(&scales[first..]).for_each(|(u, scale)| *u *= scale);
                            }
                            out
                        }
                    };
                    out.into_iter().enumerate().for_each(|(row, values)| put(row, first, values));
                }};
            }
            match rows.len() {
                4 => rows!(0 1 2 3),
                3 => rows!(0 1 2),
                2 => rows!(0 1),
                _ => rows!(0),
            }
        }
    }

    /// y += B·(gate · u) over the group's outputs `first..first + y.len()`.
    pub fn up(&self, cpu: Cpu, gate: f32, u: &[f32], first: usize, y: &mut [f32]) {
        /// Ranks at a time: the gated u lies on the stack.
        const STEP: usize = 64;
        for up in &self.ups {
            let (start, end) = (up.offset.max(first), (up.offset + up.outputs).min(first + y.len()));
            if start >= end {
                continue;
            }
            let y = &mut y[start - first..end - first];
            for rank in (0..up.rank).step_by(STEP) {
                let count = STEP.min(up.rank - rank);
                let mut gated = [0.0; STEP];
                for (i, gated) in gated[..count].iter_mut().enumerate() {
                    *gated = gate * u[up.first + rank + i];
                }
                let from = start - up.offset;
                match &up.b {
                    Numbers::F32(b) => {
                        cpu.lora_up(&b[rank * up.outputs..], up.outputs, from, &gated[..count], y);
                    }
                    Numbers::Bf16(b) => {
                        cpu.lora_up(&b[rank * up.outputs..], up.outputs, from, &gated[..count], y);
                    }
                    Numbers::Int8(b, scales) => {
                        gated[..count].iter_mut().zip(&scales[rank..]).for_each(|(u, scale)| *u *= scale);
                        cpu.lora_up(&b[rank * up.outputs..], up.outputs, from, &gated[..count], y);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AdapterPrecision, Cpu, Factors, PackedAdapter};

    /// Two projections of ranks 3 and 8 beside each other, and a gap between them.
    fn factors() -> Vec<Factors> {
        let wave = |n: usize, step: f32| (0..n).map(|i| ((i as f32) * step).sin()).collect::<Vec<f32>>();
        vec![
            Factors { offset: 0, outputs: 20, rank: 3, a: wave(3 * 32, 0.7), b: wave(20 * 3, 0.3) },
            Factors { offset: 30, outputs: 40, rank: 8, a: wave(8 * 32, 0.9), b: wave(40 * 8, 0.5) },
        ]
    }

    #[test]
    fn every_precision_computes_gated_low_rank_products() {
        let x: Vec<f32> = (0..32).map(|i| (i as f32 * 0.37).cos()).collect();
        let gate = -1.5;
        let mut exact = vec![0.0_f64; 70];
        for f in factors() {
            for output in 0..f.outputs {
                for r in 0..f.rank {
                    let u: f64 = (0..32).map(|k| f64::from(f.a[r * 32 + k]) * f64::from(x[k])).sum();
                    exact[f.offset + output] += f64::from(gate) * f64::from(f.b[output * f.rank + r]) * u;
                }
            }
        }
        let largest = exact.iter().fold(0.0_f64, |m, y| m.max(y.abs()));
        for (precision, tolerance, bytes) in [
            (AdapterPrecision::F32, 1e-6, 4),
            (AdapterPrecision::Bf16, 1e-2, 2),
            (AdapterPrecision::Int8, 4e-2, 1),
        ] {
            let packed = PackedAdapter::new(&[vec![factors(), Vec::new()]], precision);
            assert!(packed.group(0, 1).is_none() && packed.group(1, 0).is_none());
            assert!(packed.bytes >= (32 * 16 + 20 * 3 + 40 * 8) * bytes);
            let group = packed.group(0, 0).unwrap();
            let mut u = vec![0.0; group.ranks()];
            group.down(Cpu::detect(), &[&x], |_, first, values| u[first..first + 8].copy_from_slice(&values));
            // In pieces that cut projections, as threads do.
            let mut y = vec![0.0_f32; 70];
            for (start, end) in [(0, 10), (10, 47), (47, 70)] {
                group.up(Cpu::detect(), gate, &u, start, &mut y[start..end]);
            }
            for (y, exact) in y.iter().zip(&exact) {
                let error = (f64::from(*y) - exact).abs() / largest;
                assert!(error < tolerance, "{precision:?}: {y} for {exact}");
            }
        }
    }
}
