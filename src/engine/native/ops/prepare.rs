//! What is done to a linear layer's input before it is multiplied: norm or SwiGLU, then 8 bits.

use std::ops::Range;

use super::super::adapter::Input;
use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{Activations, BAND, BAND_TILES, Cpu, GROUP, TILE, TileMut, groups, grow};

/// What is done to the input first.
#[derive(Debug, Clone, Copy)]
pub enum Prepare<'a> {
    Nothing,
    /// RMS norm with these weights and epsilon.
    Norm(&'a [f32], f32),
    /// Gates, then ups, and so many numbers from those of a row to the next one's.
    SwiGlu(usize),
}

/// Where the input comes from.
pub enum Source<'a> {
    Given(&'a [f32]),
    /// Out of an earlier stage of the same work.
    Late(&'a Late<'a, [f32]>),
}

impl Source<'_> {
    /// # Safety
    /// Whoever fills it has done so.
    unsafe fn read(&self) -> &[f32] {
        match self {
            Self::Given(values) => values,
            // SAFETY: as the caller promises.
            Self::Late(values) => unsafe { values.read() },
        }
    }
}

/// Activations that threads fill in, each its own part, for a later stage to read.
pub struct Filling<'a> {
    rows: usize,
    inputs: usize,
    is_tall: bool,
    acts: Late<'a, Activations>,
    codes: Disjoint<'a, i8>,
    scales: Disjoint<'a, f32>,
    starts: Disjoint<'a, i32>,
    tall: Disjoint<'a, i8>,
}

impl<'a> Filling<'a> {
    /// Makes room for `rows` rows of `inputs` values.
    pub fn new(cpu: Cpu, (rows, inputs): (usize, usize), acts: &'a mut Activations) -> Self {
        let is_tall = cpu.is_tall(rows, inputs);
        acts.resize(rows, inputs, is_tall);
        let acts = Late::new(acts);
        // SAFETY: the only call; it is read in later stages alone.
        let Activations { codes, scales, starts, tall, .. } = unsafe { acts.fill() };
        let (codes, scales) = (Disjoint::new(codes), Disjoint::new(scales));
        let (starts, tall) = (Disjoint::new(starts), Disjoint::new(tall));
        Self { rows, inputs, is_tall, acts, codes, scales, starts, tall }
    }

    /// Tiles of rows.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// Fills in some groups of a tile: `quantize` takes the part and quantizes into it, row by row.
    ///
    /// # Safety
    /// Nobody else fills in these groups of this tile, and nobody reads them.
    pub unsafe fn fill(&self, tile: usize, own: Range<usize>, quantize: impl FnOnce(&mut TileMut<'_>)) {
        let (inputs, groups) = (self.inputs, groups(self.inputs));
        let codes = (own.start * GROUP).min(inputs)..(own.end * GROUP).min(inputs);
        let (from, count) = ((tile * groups + own.start) * TILE, own.len() * TILE);
        // SAFETY: as the caller promises.
        let mut part = unsafe {
            TileMut {
                codes: self.codes.part(tile * TILE * inputs + codes.start * TILE, codes.len() * TILE),
                scales: self.scales.part(from, count),
                starts: self.starts.part(from, count),
            }
        };
        quantize(&mut part);
        if !self.is_tall {
            return;
        }
        let (band, tile) = (tile / BAND_TILES, tile % BAND_TILES);
        for group in own.clone() {
            let at = ((band * groups + group) * BAND + tile * TILE) * GROUP;
            // SAFETY: as above; each tile has its own rows of its band.
            part.write_tall(group - own.start, unsafe { self.tall.part(at, TILE * GROUP) });
        }
    }

    /// All of it.
    ///
    /// # Safety
    /// Every group of every tile is filled in, and the caller has seen that.
    pub unsafe fn acts(&self) -> &'a Activations {
        // SAFETY: as the caller promises.
        unsafe { self.acts.read() }
    }
}

/// The input of a step, which one stage prepares, a tile of rows at a time, for the next ones to read.
pub struct Prepared<'a> {
    cpu: Cpu,
    prepare: Prepare<'a>,
    x: Source<'a>,
    rows: usize,
    inputs: usize,
    /// Inputs after the norm or SwiGLU, `[rows][inputs]`; not used if there is neither.
    values: Late<'a, Vec<f32>>,
    filled: Disjoint<'a, f32>,
    acts: Filling<'a>,
}

impl<'a> Prepared<'a> {
    /// Makes room for `rows` rows of `inputs` values.
    pub fn new(
        cpu: Cpu,
        prepare: Prepare<'a>,
        x: Source<'a>,
        (rows, inputs): (usize, usize),
        values: &'a mut Vec<f32>,
        acts: &'a mut Activations,
    ) -> Self {
        if !matches!(prepare, Prepare::Nothing) {
            grow(values, rows * inputs);
        }
        let values = Late::new(values);
        // SAFETY: the only call; they are read in later stages alone.
        let filled = Disjoint::new(unsafe { values.fill() });
        Self { cpu, prepare, x, rows, inputs, values, filled, acts: Filling::new(cpu, (rows, inputs), acts) }
    }

    /// How often [`Self::tile`] is to be called.
    pub fn tiles(&self) -> usize {
        self.acts.tiles()
    }

    /// Prepares one tile; every one once, when the source is there.
    pub fn tile(&self, tile: usize) {
        let inputs = self.inputs;
        // SAFETY: the caller has the source.
        let x = unsafe { self.x.read() };
        let quantize = |part: &mut TileMut<'_>| {
            for row in tile * TILE..self.rows.min((tile + 1) * TILE) {
                // SAFETY: each tile takes its own rows.
                let room = || unsafe { self.filled.part(row * inputs, inputs) };
                let values = match self.prepare {
                    Prepare::Nothing => &x[row * inputs..][..inputs],
                    Prepare::Norm(weight, epsilon) => {
                        let out = room();
                        self.cpu.rms_norm(&x[row * inputs..][..inputs], weight, epsilon, out);
                        out
                    }
                    Prepare::SwiGlu(stride) => {
                        let out = room();
                        self.cpu.swiglu(&x[row * stride..][..2 * inputs], out);
                        out
                    }
                };
                self.cpu.quantize(part, row % TILE, values);
            }
        };
        // SAFETY: each tile takes its own part.
        unsafe { self.acts.fill(tile, 0..groups(inputs), quantize) };
    }

    /// All of it, for the adapters.
    ///
    /// # Safety
    /// Every tile is prepared, and the caller has seen that.
    pub unsafe fn input(&self) -> Input<'_> {
        // SAFETY: as the caller promises.
        unsafe {
            let x = if matches!(self.prepare, Prepare::Nothing) { self.x.read() } else { self.values.read() };
            Input { x, acts: self.acts.acts() }
        }
    }

    /// All of it, for the products.
    ///
    /// # Safety
    /// As [`Self::input`].
    pub unsafe fn acts(&self) -> &'a Activations {
        // SAFETY: as the caller promises.
        unsafe { self.acts.acts() }
    }
}
