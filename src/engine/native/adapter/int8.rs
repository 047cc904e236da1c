//! Adapters in 8 bits: A takes the activations that the base product has quantized already, B takes u in 8 bits, for all
//! adapters of a row in one sum.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::super::kernel::{INPUTS, LINE, Line, Octet, PANEL, RANKS, RankLine, TileMut, UpLines};
use crate::engine::adapter::Factors;

/// The code of zero.
const ZERO: u8 = 128;

/// Numbers of a line that are floats.
const FLOATS: usize = size_of::<Line>() / size_of::<f32>();

/// How an adapter's part in one fused linear layer lies in memory, in lines: the scales of every rank (those of A times those
/// of B), the codes of A, then of every projection the codes of B. Whoever has the same shares it: what steps read of it is
/// then in the nearest cache.
#[derive(Debug)]
pub struct Shape {
    /// Ranks of all its projections side by side, padded with zeros to a multiple of [`RANKS`].
    ranks: usize,
    inputs: usize,
    ups: Vec<Projection>,
    /// Lines of A.
    downs: usize,
    /// All lines.
    pub lines: usize,
}

/// One projection's B, over its outputs: `[outputs / PANEL][ranks / LINE]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Projection {
    /// The first of its ranks among the group's, and how many it has.
    pub first: usize,
    pub ranks: usize,
    /// The first of its outputs among the group's, and how many it has; both are whole panels.
    pub offset: usize,
    pub outputs: usize,
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

/// A [`Group`] that is kept from layer to layer, which no borrow can be: whoever asks for it sees to it that the adapter is
/// still there.
#[derive(Debug, Clone, Copy)]
pub struct KeptGroup {
    shape: *const Shape,
    /// Made of all of the adapter's memory.
    memory: *const Line,
}

// SAFETY: memory that is only read.
unsafe impl Send for KeptGroup {}
// SAFETY: as above.
unsafe impl Sync for KeptGroup {}

impl KeptGroup {
    /// What lies behind so many lines of an adapter's memory.
    pub fn new(shape: &Shape, memory: &[Line], lines: usize) -> Self {
        Self { shape, memory: memory.as_ptr().wrapping_add(lines) }
    }

    /// A projection's B.
    pub fn lines(self, projection: &Projection) -> UpLines {
        UpLines { first: self.memory.wrapping_add(projection.at), quads: projection.quads() }
    }

    /// The same so many lines behind.
    #[must_use]
    pub fn behind(self, lines: usize) -> Self {
        Self { memory: self.memory.wrapping_add(lines), ..self }
    }

    /// The group.
    ///
    /// # Safety
    /// The adapter is still there, and has this group.
    pub unsafe fn group<'a>(self) -> Group<'a> {
        // SAFETY: as the caller promises.
        unsafe {
            let shape = &*self.shape;
            Group { shape, memory: std::slice::from_raw_parts(self.memory, shape.lines) }
        }
    }
}

/// What a step of codes is worth, and what to multiply with to get them, for numbers up to `largest`.
fn scale(values: impl Iterator<Item = f32>) -> (f32, f32) {
    TileMut::scale(values.fold(0.0_f32, |largest, value| largest.max(value.abs())))
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
    pub fn new(factors: &[Factors]) -> Option<Arc<Self>> {
        let inputs = factors.first().map(|f| f.a.len() / f.rank.max(1))?;
        let whole = |f: &Factors| f.offset.is_multiple_of(PANEL) && f.outputs.is_multiple_of(PANEL);
        if !factors.iter().all(whole) || !inputs.is_multiple_of(INPUTS) {
            return None;
        }
        let ranks = factors.iter().map(|f| f.rank).sum::<usize>().next_multiple_of(RANKS);
        let downs = lines_of(ranks) + ranks / RANKS * (inputs / INPUTS);
        let (mut first, mut lines) = (0, downs);
        let mut ups = Vec::with_capacity(factors.len());
        for f in factors {
            let up = Projection { first, ranks: f.rank, offset: f.offset, outputs: f.outputs, at: lines };
            (first, lines) = (first + f.rank, lines + up.lines());
            ups.push(up);
        }
        Some(Self { ranks, inputs, ups, downs, lines }.shared())
    }

    /// The one that says the same, if there is one.
    fn shared(self) -> Arc<Self> {
        static KNOWN: Mutex<Vec<Weak<Shape>>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|shape| shape.strong_count() > 0);
        let is_like = |other: &Arc<Self>| {
            (other.ranks, other.inputs, &other.ups) == (self.ranks, self.inputs, &self.ups)
        };
        if let Some(shape) = known.iter().filter_map(Weak::upgrade).find(is_like) {
            return shape;
        }
        let shape = Arc::new(self);
        known.push(Arc::downgrade(&shape));
        shape
    }

    /// Rounds the numbers into `memory`: [`Self::lines`] lines of zeros ([`Line::default`]).
    pub fn pack(&self, factors: &[Factors], memory: &mut [Line]) {
        let (downs, ups) = memory.split_at_mut(self.downs);
        let (scales, lines) = downs.split_at_mut(lines_of(self.ranks));
        let scales: &mut [f32] = bytemuck::cast_slice_mut(scales);
        let lines: &mut [RankLine] = bytemuck::cast_slice_mut(lines);
        scales.fill(0.0);
        let per_rank = self.inputs / INPUTS;
        for (f, up) in factors.iter().zip(&self.ups) {
            for (r, a) in f.a.chunks_exact(self.inputs).enumerate() {
                let rank = up.first + r;
                let (step, inverse) = scale(a.iter().copied());
                scales[rank] = step;
                let panel = &mut lines[rank / RANKS * per_rank..][..per_rank];
                let at = rank % RANKS * INPUTS;
                for (line, values) in panel.iter_mut().zip(a.as_chunks::<INPUTS>().0) {
                    line.0[at..at + INPUTS].copy_from_slice(&values.map(|value| code(value, inverse)));
                }
            }
        }
        for (f, up) in factors.iter().zip(&self.ups) {
            up.pack(f, scales, &mut ups[up.at - self.downs..][..up.lines()]);
        }
    }

    pub fn ranks(&self) -> usize {
        self.ranks
    }

    pub fn projections(&self) -> &[Projection] {
        &self.ups
    }
}

impl<'a> Group<'a> {
    /// The memory of A.
    pub fn downs(self) -> &'a [u8] {
        Line::bytes(&self.memory[..self.shape.downs])
    }

    /// A, eight ranks at a time.
    pub fn octets(self) -> impl Iterator<Item = Octet<'a>> {
        let (scales, lines) = self.memory[..self.shape.downs].split_at(lines_of(self.shape.ranks));
        let lines: &'a [RankLine] = bytemuck::cast_slice(lines);
        let scales = bytemuck::cast_slice::<_, f32>(scales).as_chunks::<RANKS>().0;
        let octets = lines.chunks_exact(self.shape.inputs / INPUTS).zip(scales);
        octets.map(|(lines, scales)| Octet { lines, scales })
    }
}

impl Projection {
    /// Its panels among the group's.
    pub fn panels(&self) -> Range<usize> {
        self.offset / PANEL..(self.offset + self.outputs) / PANEL
    }

    /// Lines of each panel.
    pub fn quads(&self) -> usize {
        self.ranks.div_ceil(LINE)
    }

    /// All of its lines.
    fn lines(&self) -> usize {
        self.outputs / PANEL * self.quads()
    }

    /// Rounds B into `lines`, and multiplies the group's scales of its ranks with those of B; s is in them.
    fn pack(&self, f: &Factors, scales: &mut [f32], lines: &mut [Line]) {
        let quads = self.quads();
        // A rank is a column of B: all of them at once, since the rows lie one after another in memory.
        let rows = || f.b.chunks_exact(f.rank.max(1));
        let mut largest = vec![0.0_f32; f.rank];
        for row in rows() {
            largest.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(value.abs()));
        }
        let (steps, inverses): (Vec<_>, Vec<_>) = largest.into_iter().map(TileMut::scale).unzip();
        for (scale, step) in scales[self.first..].iter_mut().zip(steps) {
            *scale *= step;
        }
        for (output, row) in rows().enumerate() {
            for (rank, (value, inverse)) in row.iter().zip(&inverses).enumerate() {
                let line = &mut lines[output / PANEL * quads + rank / LINE];
                line.0[output % PANEL * LINE + rank % LINE] = code(*value, *inverse);
            }
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
