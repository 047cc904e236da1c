//! Adapters as the native decoder computes them.

mod float;
mod int8;

use std::ops::Range;
use std::sync::Arc;

use crate::config::AdapterPrecision;
use crate::engine::adapter::Factors;

use super::kernel::{Cpu, Line, RANKS, TILE, TileRef};
use float::Precision;

pub use int8::{Group as Int8, KeptGroup, Projection};

/// An adapter. What a step reads first, where everything is, lies close together: there are many adapters, and what they
/// have in a layer is read once in a step, from memory that has not been read since.
#[derive(Debug)]
pub struct PackedAdapter {
    /// `[layer][group]`; see [`Self::apart`].
    parts: Vec<Part>,
    /// Groups of a layer.
    groups: usize,
    floats: Vec<float::Group>,
    /// Each once.
    shapes: Vec<Arc<int8::Shape>>,
    memory: Vec<Line>,
    /// If all layers are alike and in 8 bits, `parts` is of the first one alone, and this is how many lines a layer has; else 0.
    apart: usize,
    /// Whether it has the same sizes in all layers.
    pub is_alike: bool,
    /// The most ranks that it has in a group.
    pub ranks: usize,
    /// Whether some of it is held in floats.
    pub has_floats: bool,
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

/// A tile of a step's input to a linear layer, in floats and in 8 bits.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[rows][inputs]`; of a step without adapters in floats it may be empty.
    pub x: &'a [f32],
    pub acts: TileRef<'a>,
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
                        // An adapter is far smaller than 2³² lines.
                        let first = lines as u32;
                        lines += shape.lines;
                        let known = shapes.iter().position(|known| Arc::ptr_eq(known, &shape));
                        let index = known.unwrap_or_else(|| {
                            shapes.push(shape);
                            shapes.len() - 1
                        });
                        return Part::Int8(index as u32, first);
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
        let mut parts: Vec<Part> = all().map(&mut part).collect();
        let mut memory = vec![Line::default(); lines];
        for (part, factors) in parts.iter().zip(all()) {
            if let Part::Int8(shape, first) = *part {
                let shape: &Arc<int8::Shape> = &shapes[shape as usize];
                shape.pack(factors, &mut memory[first as usize..][..shape.lines]);
            }
        }
        let bytes = size_of_val(&*memory) + floats.iter().map(float::Group::bytes).sum::<usize>();
        let has_floats = !floats.is_empty();
        let is_alike = are_alike(&parts, groups);
        let mut apart = 0;
        if is_alike && !has_floats && lines > 0 {
            parts.truncate(groups);
            apart = lines / layers.len();
        }
        Self { parts, groups, floats, shapes, memory, apart, is_alike, ranks, has_floats, bytes }
    }

    pub fn group(&self, layer: usize, group: usize) -> Option<Group<'_>> {
        if group >= self.groups {
            return None;
        }
        let (at, lines) =
            if self.apart > 0 { (group, layer * self.apart) } else { (layer * self.groups + group, 0) };
        match *self.parts.get(at)? {
            Part::Nothing => None,
            Part::Float(index) => Some(Group::Float(&self.floats[index as usize])),
            Part::Int8(shape, first) => {
                let shape = &self.shapes[shape as usize];
                // Behind the last layer there is nothing.
                let memory = self.memory.get(lines + first as usize..)?.get(..shape.lines)?;
                Some(Group::Int8(int8::Group { shape, memory }))
            }
        }
    }

    /// A group in 8 bits of this adapter, to be kept.
    pub fn keep(&self, group: int8::Group<'_>) -> KeptGroup {
        let lines = (group.memory.as_ptr().addr() - self.memory.as_ptr().addr()) / size_of::<Line>();
        KeptGroup::new(group.shape, &self.memory, lines)
    }

    /// How many lines behind what it has in a layer the next layer's is, if all layers are alike and in 8 bits.
    pub fn apart(&self) -> Option<usize> {
        (self.apart > 0).then_some(self.apart)
    }

    /// What the linear layer behind this one needs.
    pub fn next(&self, layer: usize, group: usize) -> Option<Group<'_>> {
        if group + 1 >= self.groups { self.group(layer + 1, 0) } else { self.group(layer, group + 1) }
    }
}

/// Whether every layer has the same shapes as the first.
fn are_alike(parts: &[Part], groups: usize) -> bool {
    parts.chunks(groups.max(1)).all(|own| {
        own.iter().zip(parts).all(|(part, first)| match (*part, *first) {
            (Part::Nothing, Part::Nothing) | (Part::Float(_), Part::Float(_)) => true,
            (Part::Int8(shape, _), Part::Int8(first, _)) => shape == first,
            _ => false,
        })
    })
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

    /// u = A·x of a group in floats for 1 to 4 rows of the input; `put(row, first rank, values)` takes them.
    pub fn float_down(
        self,
        cpu: Cpu,
        input: Input<'_>,
        rows: Range<usize>,
        put: impl FnMut(usize, usize, [f32; RANKS]),
    ) {
        let Self::Float(group) = self else { return };
        let mut x: [&[f32]; 4] = [&[]; 4];
        let inputs = input.acts.codes.len() / TILE;
        for (x, row) in x.iter_mut().zip(rows.clone()) {
            *x = &input.x[row % TILE * inputs..][..inputs];
        }
        group.down(cpu, &x[..rows.len()], put);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::native::kernel::{Activations, groups};

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
        acts.resize(1, x.len(), (false, false));
        let (codes, scales, starts) = (&mut acts.codes[..], &mut acts.scales[..], &mut acts.starts[..]);
        assert_eq!(scales.len(), TILE * groups(x.len()));
        Cpu::detect().quantize(
            &mut super::super::kernel::TileMut { codes, scales, starts, flat: &mut [] },
            0,
            x,
        );
        acts
    }

    /// A gate each for the same adapter twice, in pieces that cut projections. (Those in 8 bits are tested with the products
    /// that they are added to.)
    fn computed(precision: AdapterPrecision, x: &[f32], gates: [f32; 2]) -> Vec<f32> {
        let packed = PackedAdapter::new(&[vec![factors(), Vec::new()]], precision);
        assert!(packed.group(0, 1).is_none() && packed.group(1, 0).is_none());
        let group = packed.group(0, 0).unwrap();
        let (cpu, acts) = (Cpu::detect(), quantized(x));
        let mut u = vec![0.0; packed.ranks];
        group.float_down(cpu, Input { x, acts: acts.tile(0) }, 0..1, |_, first, values| {
            u[first..first + RANKS].copy_from_slice(&values);
        });
        let mut y = vec![0.0_f32; 80];
        for (start, end) in [(0, 16), (16, 48), (48, 80)] {
            let Group::Float(group) = group else { panic!("{precision:?}") };
            for gate in gates {
                group.up(cpu, gate, &u, start, &mut y[start..end]);
            }
        }
        y
    }

    #[test]
    fn floats_compute_gated_low_rank_products() {
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
        for (precision, tolerance) in [(AdapterPrecision::F32, 1e-6), (AdapterPrecision::Bf16, 1e-2)] {
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
        // The rank of 3 is padded to 4; and the scales take a line.
        assert_eq!(bytes(AdapterPrecision::Int8), numbers + 16 + 64);
    }

    fn factors_are_alike(layers: &[Vec<Vec<Factors>>]) -> bool {
        layers.iter().all(|layer| layer.iter().zip(&layers[0]).all(|(a, b)| a.is_empty() == b.is_empty()))
    }

    #[test]
    fn layers_that_are_alike_are_found_and_others_too() {
        let without = |at: usize| {
            let mut factors = factors();
            factors.remove(at);
            factors
        };
        let alike = [vec![factors(), without(0)], vec![factors(), without(0)], vec![factors(), without(0)]];
        let others = [
            vec![vec![factors(), without(0)], vec![without(1), without(0)]],
            vec![vec![factors(), Vec::new()], vec![Vec::new(), factors()]],
        ];
        let all = std::iter::once((&alike[..], true)).chain(others.iter().map(|layers| (&layers[..], false)));
        for (layers, is_alike) in all {
            let packed = PackedAdapter::new(layers, AdapterPrecision::Int8);
            assert_eq!(packed.is_alike, is_alike);
            let floats = PackedAdapter::new(layers, AdapterPrecision::Bf16);
            assert_eq!(floats.is_alike, factors_are_alike(layers));
            let whole = layers.concat();
            let mut bytes = 0;
            for (index, factors) in whole.iter().enumerate() {
                let group = packed.group(index / 2, index % 2).and_then(Group::int8);
                assert_eq!(group.is_some(), !factors.is_empty());
                let alone = PackedAdapter::new(&[vec![factors.clone()]], AdapterPrecision::Int8);
                let alone = alone.group(0, 0).and_then(Group::int8);
                assert_eq!(
                    group.map(|group| Line::bytes(group.memory)),
                    alone.map(|group| Line::bytes(group.memory))
                );
                bytes += group.map_or(0, |group| size_of_val(group.memory));
            }
            assert_eq!((packed.bytes, packed.group(layers.len(), 0).is_none()), (bytes, true));
        }
    }

    #[test]
    fn odd_sizes_are_held_in_floats() {
        let f = Factors { offset: 3, outputs: 20, rank: 2, a: vec![0.5; 64], b: vec![0.5; 40] };
        let packed = PackedAdapter::new(&[vec![vec![f]]], AdapterPrecision::Int8);
        assert!(matches!(packed.group(0, 0), Some(Group::Float(_))));
    }
}
