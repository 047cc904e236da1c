//! Adapters in 8 bits: A takes the activations that the base product has quantized already, B takes u in 8 bits, for all
//! adapters of a row in one sum.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::kernel::{Activations, Cpu, LINE, Line, PANEL, RANKS, ROWS, RankLine, TileMut, UpRow};
use crate::engine::adapter::Factors;

/// The code of zero.
const ZERO: u8 = 128;

/// Numbers of a line that are floats.
const FLOATS: usize = size_of::<Line>() / size_of::<f32>();

/// How an adapter's part in one fused linear layer lies in memory, in lines: the scales of A and its codes, then of every
/// projection the scales of B and its codes. Most layers of an adapter have the same.
#[derive(Debug)]
pub struct Shape {
    /// No other has it.
    id: u64,
    /// Ranks of all its projections side by side, padded with zeros to a multiple of [`RANKS`].
    ranks: usize,
    inputs: usize,
    ups: Vec<Up>,
    /// Lines of A.
    downs: usize,
    /// All lines.
    pub lines: usize,
}

/// One projection's B, over its outputs.
#[derive(Debug, PartialEq, Eq)]
struct Up {
    /// The first of its ranks among the group's, and how many it has.
    first: usize,
    ranks: usize,
    /// The first of its outputs among the group's, and how many it has; both are whole panels.
    offset: usize,
    outputs: usize,
    /// Its first line.
    at: usize,
}

/// An adapter's part in one fused linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    pub shape: &'a Shape,
    /// [`Shape::lines`] of them.
    pub memory: &'a [Line],
}

/// u in 8 bits of some rows that have the same adapters; kept from step to step.
#[derive(Debug, Default)]
pub struct Ups {
    /// Of the adapters that `parts` are of.
    shapes: Vec<u64>,
    parts: Vec<Part>,
    entries: Vec<Entry>,
    /// Quads of a row.
    width: usize,
    /// `[rows][width]`
    quads: Vec<[i8; LINE]>,
    /// `[rows][parts]`
    scales: Vec<f32>,
    /// -128 · Σ codes, laid out as `scales`.
    starts: Vec<i32>,
    /// Of one row, while it is quantized.
    values: Vec<f32>,
}

/// One projection, for at most [`TOGETHER`] of the adapters.
#[derive(Debug)]
struct Part {
    /// The projection's first output and the one after its last.
    outputs: (usize, usize),
    /// The part of [`Ups::entries`] that is its own, and of a row's quads.
    entries: (usize, usize),
    quads: (usize, usize),
}

/// One adapter of a part.
#[derive(Debug)]
struct Entry {
    /// Its index among the adapters, and its projection's among the group's.
    adapter: usize,
    up: usize,
}

/// What a step of codes is worth, and what to multiply with to get them, for numbers up to `largest`.
fn scale(values: impl Iterator<Item = f32>) -> (f32, f32) {
    TileMut::scale(values.fold(0.0_f32, |largest, value| largest.max(value.abs())))
}

/// The largest magnitude, in lanes that the compiler puts into registers.
fn largest(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 4];
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        for (lane, value) in lanes.iter_mut().zip(four) {
            let value = value.abs();
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(0.0, |largest, value| largest.max(value.abs()))
}

fn code(value: f32, inverse: f32) -> u8 {
    ZERO.wrapping_add_signed(nearest((value * inverse).clamp(-127.0, 127.0)))
}

/// Lines that so many floats take.
fn lines_of(floats: usize) -> usize {
    floats.div_ceil(FLOATS)
}

impl Shape {
    /// `None` if a projection's outputs are no whole panels, which these kernels need.
    pub fn new(factors: &[Factors]) -> Option<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let inputs = factors.first().map(|f| f.a.len() / f.rank.max(1))?;
        let whole = |f: &Factors| f.offset.is_multiple_of(PANEL) && f.outputs.is_multiple_of(PANEL);
        // A pair of A's lines is a line.
        if !factors.iter().all(whole) || !inputs.is_multiple_of(2 * LINE) {
            return None;
        }
        let ranks = factors.iter().map(|f| f.rank).sum::<usize>().next_multiple_of(RANKS);
        let downs = lines_of(ranks) + ranks / RANKS * (inputs / LINE) / 2;
        let (mut first, mut lines) = (0, downs);
        let mut ups = Vec::with_capacity(factors.len());
        for f in factors {
            let up = Up { first, ranks: f.rank, offset: f.offset, outputs: f.outputs, at: lines };
            (first, lines) = (first + f.rank, lines + up.lines());
            ups.push(up);
        }
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Some(Self { id, ranks, inputs, ups, downs, lines })
    }

    /// Whether the other one says the same.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.ranks, self.inputs, &self.ups) == (other.ranks, other.inputs, &other.ups)
    }

    /// Rounds the numbers into `memory`: [`Self::lines`] lines of zeros ([`Line::default`]).
    pub fn pack(&self, factors: &[Factors], memory: &mut [Line]) {
        let (downs, _) = memory.split_at_mut(self.downs);
        let (scales, lines) = downs.split_at_mut(lines_of(self.ranks));
        let scales: &mut [f32] = bytemuck::cast_slice_mut(scales);
        let lines: &mut [RankLine] = bytemuck::cast_slice_mut(lines);
        scales.fill(0.0);
        let per_rank = self.inputs / LINE;
        for (f, up) in factors.iter().zip(&self.ups) {
            for (r, a) in f.a.chunks_exact(self.inputs).enumerate() {
                let rank = up.first + r;
                let (step, inverse) = scale(a.iter().copied());
                scales[rank] = step;
                let panel = &mut lines[rank / RANKS * per_rank..][..per_rank];
                let at = rank % RANKS * LINE;
                for (line, values) in panel.iter_mut().zip(a.as_chunks::<LINE>().0) {
                    line.0[at..at + LINE].copy_from_slice(&values.map(|value| code(value, inverse)));
                }
            }
        }
        for (f, up) in factors.iter().zip(&self.ups) {
            up.pack(f, &mut memory[up.at..][..up.lines()]);
        }
    }

    pub fn ranks(&self) -> usize {
        self.ranks
    }
}

impl<'a> Group<'a> {
    /// The memory of A.
    pub fn downs(self) -> &'a [u8] {
        Line::bytes(&self.memory[..self.shape.downs])
    }

    /// The memory of every B.
    pub fn ups(self) -> &'a [u8] {
        Line::bytes(&self.memory[self.shape.downs..])
    }

    /// u = A·x for 1 to [`ROWS`] rows of `acts`; `put(row, first rank, values)` takes them.
    pub fn down(
        self,
        cpu: Cpu,
        acts: &Activations,
        rows: &[usize],
        mut put: impl FnMut(usize, usize, [f32; RANKS]),
    ) {
        let (scales, lines) = self.memory[..self.shape.downs].split_at(lines_of(self.shape.ranks));
        let lines: &[RankLine] = bytemuck::cast_slice(lines);
        let scales = bytemuck::cast_slice::<_, f32>(scales).as_chunks::<RANKS>().0;
        let mut out = [[0.0; RANKS]; ROWS];
        let parts = lines.chunks_exact(self.shape.inputs / LINE).zip(scales);
        for (part, (lines, scales)) in parts.enumerate() {
            cpu.ranks_down(lines, scales, acts, rows, &mut out);
            for (row, values) in out[..rows.len()].iter().enumerate() {
                put(row, part * RANKS, *values);
            }
        }
    }

    /// What a step of the codes of each rank of a projection is worth; s is multiplied in.
    fn scales(self, up: &Up) -> &'a [f32] {
        &bytemuck::cast_slice(&self.memory[up.at..][..lines_of(up.ranks)])[..up.ranks]
    }

    /// A projection's codes, `[outputs / PANEL][ranks / LINE]`.
    fn codes(self, up: &Up) -> &'a [Line] {
        &self.memory[up.at..][..up.lines()][lines_of(up.ranks)..]
    }
}

impl Up {
    /// Lines of each panel.
    fn quads(&self) -> usize {
        self.ranks.div_ceil(LINE)
    }

    /// All of its lines.
    fn lines(&self) -> usize {
        lines_of(self.ranks) + self.outputs / PANEL * self.quads()
    }

    fn pack(&self, f: &Factors, memory: &mut [Line]) {
        let quads = self.quads();
        let (scales, lines) = memory.split_at_mut(lines_of(self.ranks));
        let scales: &mut [f32] = bytemuck::cast_slice_mut(scales);
        scales.fill(0.0);
        // A rank is a column of B: all of them at once, since the rows lie one after another in memory.
        let rows = || f.b.chunks_exact(f.rank.max(1));
        let mut largest = vec![0.0_f32; f.rank];
        for row in rows() {
            largest.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(value.abs()));
        }
        let (steps, inverses): (Vec<_>, Vec<_>) = largest.into_iter().map(TileMut::scale).unzip();
        for (scale, step) in scales.iter_mut().zip(steps) {
            *scale = step;
        }
        for (output, row) in rows().enumerate() {
            for (rank, (value, inverse)) in row.iter().zip(&inverses).enumerate() {
                let line = &mut lines[output / PANEL * quads + rank / LINE];
                line.0[output % PANEL * LINE + rank % LINE] = code(*value, *inverse);
            }
        }
    }
}

/// An adapter of a row: its group, gᵢ, and u.
#[derive(Debug, Clone, Copy)]
pub struct Used<'a> {
    pub group: Group<'a>,
    pub gate: f32,
    pub u: &'a [f32],
}

/// Adapters whose products are summed together; a longer mix is summed in parts.
const TOGETHER: usize = 8;

impl Ups {
    /// Finds out which projections the adapters have; rows follow with [`Self::push`].
    pub fn start(&mut self, used: &[Option<Used<'_>>]) {
        self.quads.clear();
        self.scales.clear();
        self.starts.clear();
        let groups = used.iter().flatten().map(|used| used.group);
        let shapes = groups.clone().map(|group| group.shape.id);
        // Layer after layer the same.
        if shapes.clone().eq(self.shapes.iter().copied()) {
            return;
        }
        self.shapes.clear();
        self.shapes.extend(shapes);
        self.parts.clear();
        self.entries.clear();
        let (mut offset, mut quads) = (0, 0);
        let begin = |offset: usize| {
            let starts = groups.clone().flat_map(|group| group.shape.ups.iter().map(|up| up.offset));
            starts.filter(move |start| *start >= offset).min()
        };
        // Projection by projection.
        while let Some(start) = begin(offset) {
            let ups = groups.clone().enumerate().filter_map(|(adapter, group)| {
                let index = group.shape.ups.iter().position(|up| up.offset == start)?;
                Some((adapter, index, &group.shape.ups[index]))
            });
            let mut ups = ups.peekable();
            while let Some((.., up)) = ups.peek() {
                offset = start + up.outputs;
                let (first, quad) = (self.entries.len(), quads);
                for (adapter, index, up) in ups.by_ref().take(TOGETHER) {
                    self.entries.push(Entry { adapter, up: index });
                    quads += up.quads();
                }
                let (entries, quads) = ((first, self.entries.len()), (quad, quads));
                self.parts.push(Part { outputs: (start, offset), entries, quads });
            }
        }
        self.width = quads;
    }

    /// Quantizes u of the next row, with one scale for each projection. `used` are the adapters that it was started with.
    pub fn push(&mut self, adapters: &[Option<Used<'_>>]) {
        for part in &self.parts {
            self.values.clear();
            for entry in &self.entries[part.entries.0..part.entries.1] {
                let Some(used) = adapters.get(entry.adapter).copied().flatten() else { continue };
                let up = &used.group.shape.ups[entry.up];
                let (scales, u) = (used.group.scales(up), &used.u[up.first..]);
                self.values.extend(scales.iter().zip(u).map(|(scale, u)| used.gate * scale * u));
                // Codes behind the last rank meet zeros.
                self.values.resize(self.values.len().next_multiple_of(LINE), 0.0);
            }
            let (scale, inverse) = TileMut::scale(largest(&self.values));
            let mut sum = 0;
            for values in self.values.as_chunks::<LINE>().0 {
                let mut quad = [0; LINE];
                for (code, value) in quad.iter_mut().zip(values) {
                    *code = nearest(value * inverse);
                    sum += i32::from(*code);
                }
                self.quads.push(quad);
            }
            self.scales.push(scale);
            self.starts.push(sum * -i32::from(ZERO));
        }
    }

    /// y += Σ B·(gate · u) over the group's outputs `first..first + length` of every row, of which there are at most
    /// [`ROWS`]. `adapters` are those that it was started with; `ys` has the rows. `first` is the beginning of a
    /// panel, and the outputs end with one or with the group.
    pub fn add(&self, cpu: Cpu, adapters: &[Option<Used<'_>>], first: usize, ys: &mut [&mut [f32]]) {
        let length = ys.first().map_or(0, |y| y.len());
        for (index, part) in self.parts.iter().enumerate() {
            let (start, end) = part.outputs;
            let (from, to) = (start.max(first), end.min(first + length));
            if from >= to {
                continue;
            }
            let panels = (from - start) / PANEL..(to - start) / PANEL;
            let mut lines: [&[Line]; TOGETHER] = [&[]; TOGETHER];
            let own = &self.entries[part.entries.0..part.entries.1];
            for (room, entry) in lines.iter_mut().zip(own) {
                // They are the adapters that it was started with.
                let used = adapters.get(entry.adapter).copied().flatten();
                let up = used.and_then(|used| Some((used.group, used.group.shape.ups.get(entry.up)?)));
                let Some((group, up)) = up else { continue };
                *room = &group.codes(up)[panels.start * up.quads()..panels.end * up.quads()];
            }
            let count = ys.len().min(ROWS);
            let mut rows: [UpRow<'_>; ROWS] = Default::default();
            for (r, (row, y)) in rows.iter_mut().zip(ys.iter_mut()).enumerate() {
                let at = r * self.parts.len() + index;
                row.quads = &self.quads[r * self.width..][part.quads.0..part.quads.1];
                (row.start, row.scale) = (self.starts[at], self.scales[at]);
                row.y = &mut y[from - first..to - first];
            }
            cpu.ranks_up(&lines[..own.len()], panels.len(), &mut rows[..count]);
        }
    }
}

/// Rounds a number of at most 127 to the nearest, ties to even, without a call.
fn nearest(value: f32) -> i8 {
    /// 1.5 · 2²³: added to a small number, it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i8
}

#[cfg(test)]
mod tests {
    use super::{ZERO, code, nearest};

    #[test]
    fn codes_are_rounded_to_the_nearest_ties_to_even_and_stay_in_range() {
        for eighths in -8 * 127..=8 * 127 {
            let value = eighths as f32 / 8.0;
            assert_eq!(f32::from(nearest(value)), value.round_ties_even(), "{value}");
            assert_eq!(f32::from(code(value, 1.0)), value.round_ties_even() + f32::from(ZERO), "{value}");
        }
        // A rounded scale may put the largest a little outside.
        assert_eq!((code(127.6, 1.0), code(-127.6, 1.0), code(5.0, 0.0)), (255, 1, ZERO));
    }
}
