//! Adapters in floats: exact, and slower than [`super::int8`].

use super::super::kernel::{Cpu, RANKS, f32_to_bf16};
use crate::engine::adapter::Factors;

/// What the numbers are held in.
#[derive(Debug, Clone, Copy)]
pub enum Precision {
    F32,
    Bf16,
}

/// Numbers in the kind that they are held in.
#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
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

impl Numbers {
    fn new(values: Vec<f32>, precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(values),
            Precision::Bf16 => Self::Bf16(values.into_iter().map(f32_to_bf16).collect()),
        }
    }

    fn memory(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::Bf16(values) => bytemuck::cast_slice(values),
        }
    }
}

impl Group {
    pub fn new(factors: &[Factors], precision: Precision) -> Self {
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
            let b = Numbers::new(b, precision);
            ups.push(Up { first, rank: f.rank, offset: f.offset, outputs: f.outputs, b });
            first += f.rank;
        }
        Self { ranks, a: Numbers::new(a, precision), ups }
    }

    /// How many numbers [`Self::down`] gives for a row.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    pub fn bytes(&self) -> usize {
        self.a.memory().len() + self.ups.iter().map(|up| up.b.memory().len()).sum::<usize>()
    }

    pub fn downs(&self) -> &[u8] {
        self.a.memory()
    }

    /// u = A·x for 1 to 4 rows; `put(row, first rank, values)` takes them.
    pub fn down(&self, cpu: Cpu, rows: &[&[f32]], mut put: impl FnMut(usize, usize, [f32; RANKS])) {
        for first in (0..self.ranks).step_by(RANKS) {
            macro_rules! rows {
                ($($r:tt)*) => {{
                    let x = [$(rows[$r]),*];
                    let out = match &self.a {
                        Numbers::F32(a) => cpu.lora_down(a, self.ranks, first, x),
                        Numbers::Bf16(a) => cpu.lora_down(a, self.ranks, first, x),
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
                }
            }
        }
    }
}
