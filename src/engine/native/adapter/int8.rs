//! Adapters in 8 bits: A takes the activations that the base product has quantized already, B takes u in 8 bits, for all
//! adapters of a row in one sum.

use super::super::kernel::{Activations, Cpu, LINE, Line, PANEL, RANKS, ROWS, RankLine, TileMut, UpRow};
use crate::engine::MAX_MIX;
use crate::engine::adapter::Factors;

/// The code of zero.
const ZERO: u8 = 128;

/// One projection's B, over its outputs.
#[derive(Debug)]
struct Up {
    /// The first of its ranks among the group's.
    first: usize,
    /// The first of its outputs among the group's, and how many it has; both are whole panels.
    offset: usize,
    outputs: usize,
    /// What a step of the codes of each rank is worth; s is multiplied in.
    scales: Vec<f32>,
    /// `[outputs / PANEL][ranks / LINE]`
    lines: Vec<Line>,
}

/// An adapter's part in one fused linear layer.
#[derive(Debug)]
pub struct Group {
    /// Ranks of all its projections side by side, padded with zeros to a multiple of [`RANKS`].
    ranks: usize,
    inputs: usize,
    /// What a step of A's codes is worth, by rank.
    scales: Vec<f32>,
    /// A, `[ranks / RANKS][inputs / LINE]`.
    lines: Vec<RankLine>,
    ups: Vec<Up>,
}

/// u in 8 bits of some rows that have the same adapters; kept from step to step.
#[derive(Debug, Default)]
pub struct Ups {
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

fn code(value: f32, inverse: f32) -> u8 {
    ZERO.wrapping_add_signed(nearest((value * inverse).clamp(-127.0, 127.0)))
}

impl Group {
    /// `None` if a projection's outputs are no whole panels, which these kernels need.
    pub fn new(factors: &[Factors]) -> Option<Self> {
        let inputs = factors.first().map(|f| f.a.len() / f.rank.max(1))?;
        let whole = |f: &Factors| f.offset.is_multiple_of(PANEL) && f.outputs.is_multiple_of(PANEL);
        if !factors.iter().all(whole) || !inputs.is_multiple_of(LINE) {
            return None;
        }
        let ranks = factors.iter().map(|f| f.rank).sum::<usize>().next_multiple_of(RANKS);
        let mut scales = vec![0.0; ranks];
        let mut lines = vec![RankLine([ZERO; RANKS * LINE]); ranks / RANKS * (inputs / LINE)];
        let mut ups = Vec::with_capacity(factors.len());
        let mut first = 0;
        for f in factors {
            for (r, a) in f.a.chunks_exact(inputs).enumerate() {
                let rank = first + r;
                let (step, inverse) = scale(a.iter().copied());
                scales[rank] = step;
                let panel = &mut lines[rank / RANKS * (inputs / LINE)..][..inputs / LINE];
                let at = rank % RANKS * LINE;
                for (line, values) in panel.iter_mut().zip(a.as_chunks::<LINE>().0) {
                    line.0[at..at + LINE].copy_from_slice(&values.map(|value| code(value, inverse)));
                }
            }
            ups.push(Up::new(f, first));
            first += f.rank;
        }
        Some(Self { ranks, inputs, scales, lines, ups })
    }

    pub fn ranks(&self) -> usize {
        self.ranks
    }

    pub fn bytes(&self) -> usize {
        let ups = self.ups.iter().map(|up| size_of_val(&*up.lines) + up.scales.len() * 4).sum::<usize>();
        size_of_val(&*self.lines) + self.scales.len() * 4 + ups
    }

    pub fn downs(&self) -> &[u8] {
        RankLine::bytes(&self.lines)
    }

    pub fn ups(&self) -> impl Iterator<Item = &[u8]> {
        self.ups.iter().map(|up| Line::bytes(&up.lines))
    }

    /// u = A·x for 1 to [`ROWS`] rows of `acts`; `put(row, first rank, values)` takes them.
    pub fn down(
        &self,
        cpu: Cpu,
        acts: &Activations,
        rows: &[usize],
        mut put: impl FnMut(usize, usize, [f32; RANKS]),
    ) {
        let lines = self.lines.chunks_exact(self.inputs / LINE);
        let scales = self.scales.as_chunks::<RANKS>().0;
        let mut out = [[0.0; RANKS]; ROWS];
        for (part, (lines, scales)) in lines.zip(scales).enumerate() {
            cpu.ranks_down(lines, scales, acts, rows, &mut out);
            for (row, values) in out[..rows.len()].iter().enumerate() {
                put(row, part * RANKS, *values);
            }
        }
    }
}

impl Up {
    fn new(f: &Factors, first: usize) -> Self {
        let quads = f.rank.div_ceil(LINE);
        let mut lines = vec![Line::default(); f.outputs / PANEL * quads];
        // A rank is a column of B: all of them at once, since the rows lie one after another in memory.
        let rows = || f.b.chunks_exact(f.rank.max(1));
        let mut largest = vec![0.0_f32; f.rank];
        for row in rows() {
            largest.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(value.abs()));
        }
        let (scales, inverses): (Vec<_>, Vec<_>) = largest.into_iter().map(TileMut::scale).unzip();
        for (output, row) in rows().enumerate() {
            for (rank, (value, inverse)) in row.iter().zip(&inverses).enumerate() {
                let line = &mut lines[output / PANEL * quads + rank / LINE];
                line.0[output % PANEL * LINE + rank % LINE] = code(*value, *inverse);
            }
        }
        Self { first, offset: f.offset, outputs: f.outputs, scales, lines }
    }

    fn quads(&self) -> usize {
        self.scales.len().div_ceil(LINE)
    }
}

/// An adapter of a row: its group, gᵢ, and u.
#[derive(Debug, Clone, Copy)]
pub struct Used<'a> {
    pub group: &'a Group,
    pub gate: f32,
    pub u: &'a [f32],
}

/// Adapters whose products are summed together; a longer mix is summed in parts.
const TOGETHER: usize = 8;

impl Ups {
    /// Finds out which projections the adapters have; rows follow with [`Self::push`].
    pub fn start<'a, I: Iterator<Item = &'a Group> + Clone>(&mut self, groups: &I) {
        self.parts.clear();
        self.entries.clear();
        self.quads.clear();
        self.scales.clear();
        self.starts.clear();
        let (mut offset, mut quads) = (0, 0);
        let begin = |offset: usize| {
            let starts = groups.clone().flat_map(|group| group.ups.iter().map(|up| up.offset));
            starts.filter(move |start| *start >= offset).min()
        };
        // Projection by projection.
        while let Some(start) = begin(offset) {
            let ups = groups.clone().enumerate().filter_map(|(adapter, group)| {
                let index = group.ups.iter().position(|up| up.offset == start)?;
                Some((adapter, index, &group.ups[index]))
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
    pub fn push<'a>(&mut self, used: impl Iterator<Item = Used<'a>>) {
        let mut adapters = [None; MAX_MIX];
        for (room, used) in adapters.iter_mut().zip(used) {
            *room = Some(used);
        }
        for part in &self.parts {
            self.values.clear();
            for entry in &self.entries[part.entries.0..part.entries.1] {
                let Some(used) = adapters[entry.adapter] else { continue };
                let up = &used.group.ups[entry.up];
                let u = &used.u[up.first..];
                self.values.extend(up.scales.iter().zip(u).map(|(scale, u)| used.gate * scale * u));
                // Codes behind the last rank meet zeros.
                self.values.resize(self.values.len().next_multiple_of(LINE), 0.0);
            }
            let (scale, inverse) = scale(self.values.iter().copied());
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
    /// [`ROWS`]. `groups` are the adapters that it was started with; `ys` has the rows. `first` is the beginning of a
    /// panel, and the outputs end with one or with the group.
    pub fn add(&self, cpu: Cpu, groups: &[Option<&Group>], first: usize, ys: &mut [&mut [f32]]) {
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
                let group = groups.get(entry.adapter).copied().flatten();
                let Some(up) = group.and_then(|group| group.ups.get(entry.up)) else { continue };
                let quads = up.quads();
                *room = &up.lines[panels.start * quads..panels.end * quads];
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
