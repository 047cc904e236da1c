//! Adapters as the native decoder computes them.

mod float;
mod int8;

use crate::config::AdapterPrecision;
use crate::engine::adapter::Factors;

use super::kernel::{Activations, Cpu, Line, RANKS};
use float::Precision;

pub use int8::{Ups, Used};

/// An adapter. What a step reads first, where everything is, lies close together: there are many adapters, and what they
/// have in a layer is read once in a step, from memory that has not been read since.
#[derive(Debug)]
pub struct PackedAdapter {
    /// `[layer][group]`
    parts: Vec<Part>,
    /// Groups of a layer.
    groups: usize,
    floats: Vec<float::Group>,
    /// Each once.
    shapes: Vec<int8::Shape>,
    memory: Vec<Line>,
    /// The most ranks that it has in a group.
    pub ranks: usize,
    /// Bytes that its numbers take.
    pub bytes: usize,
}

/// Where an adapter's part in one fused linear layer is.
#[derive(Debug, Clone, Copy)]
enum Part {
    Nothing,
    /// Among the floats.
    Float(u32),
    /// Its shape, and its first line.
    Int8(u32, u32),
}

/// An adapter's part in one fused linear layer.
#[derive(Debug, Clone, Copy)]
pub enum Group<'a> {
    Float(&'a float::Group),
    Int8(int8::Group<'a>),
}

/// A step's input to a linear layer, in floats and in 8 bits.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[tokens][inputs]`
    pub x: &'a [f32],
    pub acts: &'a Activations,
}

impl PackedAdapter {
    /// Packs the factors of every layer and group.
    pub fn new(layers: &[Vec<Vec<Factors>>], precision: AdapterPrecision) -> Self {
        let groups = layers.iter().map(Vec::len).max().unwrap_or_default();
        let (mut floats, mut shapes, mut lines, mut ranks) = (Vec::new(), Vec::new(), 0, 0);
        let mut part = |factors: &Vec<Factors>| {
            let kind = match precision {
                _ if factors.is_empty() => return Part::Nothing,
                AdapterPrecision::F32 => Precision::F32,
                AdapterPrecision::Bf16 => Precision::Bf16,
                AdapterPrecision::Int8 => match int8::Shape::new(factors) {
                    Some(shape) => {
                        ranks = ranks.max(shape.ranks());
                        let (first, index) =
                            (lines, shapes.iter().position(|known: &int8::Shape| known.is_like(&shape)));
                        lines += shape.lines;
                        let index = index.unwrap_or_else(|| {
                            shapes.push(shape);
                            shapes.len() - 1
                        });
                        // An adapter is far smaller than 2³² lines.
                        return Part::Int8(index as u32, first as u32);
                    }
                    // Of odd sizes; no architecture that is imported has them.
                    None => Precision::Bf16,
                },
            };
            let group = float::Group::new(factors, kind);
            ranks = ranks.max(group.ranks());
            floats.push(group);
            Part::Float(floats.len() as u32 - 1)
        };
        let empty = Vec::new();
        let all = || {
            let layers = layers.iter();
            layers.flat_map(|layer| (0..groups).map(|group| layer.get(group).unwrap_or(&empty)))
        };
        let parts: Vec<Part> = all().map(&mut part).collect();
        let mut memory = vec![Line::default(); lines];
        for (part, factors) in parts.iter().zip(all()) {
            if let Part::Int8(shape, first) = *part {
                let shape: &int8::Shape = &shapes[shape as usize];
                shape.pack(factors, &mut memory[first as usize..][..shape.lines]);
            }
        }
        let bytes = size_of_val(&*memory) + floats.iter().map(float::Group::bytes).sum::<usize>();
        Self { parts, groups, floats, shapes, memory, ranks, bytes }
    }

    pub fn group(&self, layer: usize, group: usize) -> Option<Group<'_>> {
        if group >= self.groups {
            return None;
        }
        match *self.parts.get(layer * self.groups + group)? {
            Part::Nothing => None,
            Part::Float(index) => Some(Group::Float(&self.floats[index as usize])),
            Part::Int8(shape, first) => {
                let shape = &self.shapes[shape as usize];
                Some(Group::Int8(int8::Group {
                    shape,
                    memory: &self.memory[first as usize..][..shape.lines],
                }))
            }
        }
    }

    /// What the linear layer behind this one needs.
    pub fn next(&self, layer: usize, group: usize) -> Option<Group<'_>> {
        if group + 1 >= self.groups { self.group(layer + 1, 0) } else { self.group(layer, group + 1) }
    }
}

impl<'a> Group<'a> {
    /// The group if it is held in 8 bits.
    pub fn int8(self) -> Option<int8::Group<'a>> {
        match self {
            Self::Int8(group) => Some(group),
            Self::Float(_) => None,
        }
    }

    /// The memory of A.
    pub fn downs(self) -> &'a [u8] {
        match self {
            Self::Float(group) => group.downs(),
            Self::Int8(group) => group.downs(),
        }
    }

    /// The memory of every B.
    pub fn ups(self, mut put: impl FnMut(&'a [u8])) {
        match self {
            Self::Float(group) => group.ups().for_each(put),
            Self::Int8(group) => put(group.ups()),
        }
    }

    /// u = A·x for 1 to 4 rows of the input; `put(row, first rank, values)` takes them.
    pub fn down(
        self,
        cpu: Cpu,
        input: Input<'_>,
        rows: &[usize],
        put: impl FnMut(usize, usize, [f32; RANKS]),
    ) {
        match self {
            Self::Int8(group) => group.down(cpu, input.acts, rows, put),
            Self::Float(group) => {
                let mut x: [&[f32]; 4] = [&[]; 4];
                for (x, row) in x.iter_mut().zip(rows) {
                    *x = &input.x[row * input.acts.inputs..][..input.acts.inputs];
                }
                group.down(cpu, &x[..rows.len()], put);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::native::kernel::{TILE, groups};

    /// Two projections of ranks 3 and 8, and a gap between them.
    fn factors() -> Vec<Factors> {
        let wave = |n: usize, step: f32| (0..n).map(|i| ((i as f32) * step).sin()).collect::<Vec<f32>>();
        vec![
            Factors { offset: 0, outputs: 16, rank: 3, a: wave(3 * 32, 0.7), b: wave(16 * 3, 0.3) },
            Factors { offset: 32, outputs: 48, rank: 8, a: wave(8 * 32, 0.9), b: wave(48 * 8, 0.5) },
        ]
    }

    fn quantized(x: &[f32]) -> Activations {
        let mut acts = Activations::default();
        acts.resize(1, x.len(), false);
        let (codes, scales, starts) = (&mut acts.codes[..], &mut acts.scales[..], &mut acts.starts[..]);
        assert_eq!(scales.len(), TILE * groups(x.len()));
        Cpu::detect().quantize(&mut super::super::kernel::TileMut { codes, scales, starts }, 0, x);
        acts
    }

    /// Two adapters with a gate each, in pieces that cut projections, as threads do.
    fn computed(precision: AdapterPrecision, x: &[f32], gates: [f32; 2]) -> Vec<f32> {
        let packed = PackedAdapter::new(&[vec![factors(), Vec::new()]], precision);
        assert!(packed.group(0, 1).is_none() && packed.group(1, 0).is_none());
        let group = packed.group(0, 0).unwrap();
        let (cpu, acts) = (Cpu::detect(), quantized(x));
        let mut u = vec![0.0; packed.ranks];
        group.down(cpu, Input { x, acts: &acts }, &[0], |_, first, values| {
            u[first..first + RANKS].copy_from_slice(&values);
        });
        let mut y = vec![0.0_f32; 80];
        for (start, end) in [(0, 16), (16, 48), (48, 80)] {
            let y = &mut y[start..end];
            match group {
                Group::Float(group) => gates.iter().for_each(|gate| group.up(cpu, *gate, &u, start, y)),
                Group::Int8(group) => {
                    let mut ups = Ups::default();
                    let used = gates.map(|gate| Some(Used { group, gate, u: &u }));
                    ups.start(&used);
                    ups.push(&used);
                    ups.add(cpu, &used, start, &mut [y]);
                }
            }
        }
        y
    }

    #[test]
    fn every_precision_computes_gated_low_rank_products() {
        // Like both A: what little is left of numbers that cancel each other would only show how they are rounded.
        let x: Vec<f32> = (0..32).map(|i| (i as f32 * 0.7).sin() + (i as f32 * 0.9).sin()).collect();
        let gates = [-1.5, -0.5];
        let mut exact = vec![0.0_f64; 80];
        for f in factors() {
            for output in 0..f.outputs {
                for r in 0..f.rank {
                    let u: f64 = (0..32).map(|k| f64::from(f.a[r * 32 + k]) * f64::from(x[k])).sum();
                    let gate = f64::from(gates[0] + gates[1]);
                    exact[f.offset + output] += gate * f64::from(f.b[output * f.rank + r]) * u;
                }
            }
        }
        let largest = exact.iter().fold(0.0_f64, |m, y| m.max(y.abs()));
        for (precision, tolerance) in
            [(AdapterPrecision::F32, 1e-6), (AdapterPrecision::Bf16, 1e-2), (AdapterPrecision::Int8, 4e-2)]
        {
            for (y, exact) in computed(precision, &x, gates).iter().zip(&exact) {
                let error = (f64::from(*y) - exact).abs() / largest;
                assert!(error < tolerance, "{precision:?}: {y} for {exact}, off by {error}");
            }
        }
    }

    #[test]
    fn each_precision_takes_its_memory() {
        let bytes = |precision| PackedAdapter::new(&[vec![factors()]], precision).bytes;
        let numbers = 32 * 16 + 16 * 3 + 48 * 8;
        assert_eq!(bytes(AdapterPrecision::F32), numbers * 4);
        assert_eq!(bytes(AdapterPrecision::Bf16), numbers * 2);
        // The rank of 3 is padded to 4; and the scales of A, and of each B, take a line.
        assert_eq!(bytes(AdapterPrecision::Int8), numbers + 16 + 3 * 64);
    }

    #[test]
    fn odd_sizes_are_held_in_floats() {
        let f = Factors { offset: 3, outputs: 20, rank: 2, a: vec![0.5; 64], b: vec![0.5; 40] };
        let packed = PackedAdapter::new(&[vec![vec![f]]], AdapterPrecision::Int8);
        assert!(matches!(packed.group(0, 0), Some(Group::Float(_))));
    }
}
