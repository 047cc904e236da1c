//! What is done to a linear layer's input before it is multiplied: norm, then 8 bits.

use std::ops::Range;

use super::super::adapter::Input;
use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{Activations, BAND, BAND_TILES, Cpu, GROUP, TILE, TileMut, TileRef, groups, grow};

/// What is done to the input first.
#[derive(Debug, Clone, Copy)]
pub enum Prepare<'a> {
    Nothing,
    /// RMS norm with these weights and epsilon.
    Norm(&'a [f32], f32),
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
    flat: Disjoint<'a, i8>,
    /// Whether there are adapters, which read `flat`.
    is_flat: bool,
}

impl<'a> Filling<'a> {
    /// Makes room for `rows` rows of `inputs` values; `is_flat`: adapters read them too.
    pub fn new(cpu: Cpu, (rows, inputs): (usize, usize), is_flat: bool, acts: &'a mut Activations) -> Self {
        let is_tall = cpu.is_tall(rows, inputs);
        acts.resize(rows, inputs, (is_tall, is_flat));
        let acts = Late::new(acts);
        // SAFETY: the only call; it is read in later stages alone.
        let Activations { codes, scales, starts, tall, flat, .. } = unsafe { acts.fill() };
        let (codes, scales) = (Disjoint::new(codes), Disjoint::new(scales));
        let (starts, tall, flat) = (Disjoint::new(starts), Disjoint::new(tall), Disjoint::new(flat));
        Self { rows, inputs, is_tall, acts, codes, scales, starts, tall, flat, is_flat }
    }

    /// Tiles of rows.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// Fills in some groups of a tile: `quantize` takes the part and quantizes into it.
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
                flat: if self.is_flat { self.flat.part(from * GROUP, count * GROUP) } else { &mut [] },
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

    /// One tile.
    ///
    /// # Safety
    /// Every group of it is filled in, and the caller has seen that.
    pub unsafe fn tile(&self, tile: usize) -> TileRef<'_> {
        let (codes, scales) = (TILE * self.inputs, TILE * groups(self.inputs));
        // SAFETY: as the caller promises.
        unsafe {
            TileRef {
                codes: self.codes.read(tile * codes, codes),
                scales: self.scales.read(tile * scales, scales),
                starts: self.starts.read(tile * scales, scales),
                flat: if self.is_flat { self.flat.read(tile * scales * GROUP, scales * GROUP) } else { &[] },
            }
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
    x: &'a [f32],
    rows: usize,
    inputs: usize,
    /// Inputs after the norm, `[rows][inputs]`; not used if there is none.
    values: Disjoint<'a, f32>,
    acts: Filling<'a>,
}

impl<'a> Prepared<'a> {
    /// Makes room for `rows` rows of `inputs` values; `is_flat`: adapters read them too.
    pub fn new(
        cpu: Cpu,
        prepare: Prepare<'a>,
        x: &'a [f32],
        (rows, inputs): (usize, usize),
        is_flat: bool,
        values: &'a mut Vec<f32>,
        acts: &'a mut Activations,
    ) -> Self {
        if !matches!(prepare, Prepare::Nothing) {
            grow(values, rows * inputs);
        }
        let (values, acts) = (Disjoint::new(values), Filling::new(cpu, (rows, inputs), is_flat, acts));
        Self { cpu, prepare, x, rows, inputs, values, acts }
    }

    /// How often [`Self::tile`] is to be called.
    pub fn tiles(&self) -> usize {
        self.acts.tiles()
    }

    /// Prepares one tile; every one once.
    pub fn tile(&self, tile: usize) {
        let inputs = self.inputs;
        let quantize = |part: &mut TileMut<'_>| {
            let values = |row: usize| {
                let x = &self.x[row * inputs..][..inputs];
                match self.prepare {
                    Prepare::Nothing => x,
                    Prepare::Norm(weight, epsilon) => {
                        // SAFETY: each tile takes its own rows, each once.
                        let out = unsafe { self.values.part(row * inputs, inputs) };
                        self.cpu.rms_norm(x, weight, epsilon, out);
                        out
                    }
                }
            };
            let first = tile * TILE;
            if first + TILE <= self.rows {
                return self.cpu.quantize_tile(part, &std::array::from_fn(|row| values(first + row)));
            }
            for row in first..self.rows {
                self.cpu.quantize(part, row % TILE, values(row));
            }
        };
        // SAFETY: each tile takes its own part.
        unsafe { self.acts.fill(tile, 0..groups(inputs), quantize) };
    }

    /// A tile of it, for the adapters.
    ///
    /// # Safety
    /// The tile is prepared, and the caller has seen that.
    pub unsafe fn input(&self, tile: usize) -> Input<'_> {
        let rows = tile * TILE..self.rows.min((tile + 1) * TILE);
        let (first, length) = (rows.start * self.inputs, rows.len() * self.inputs);
        // SAFETY: as the caller promises.
        unsafe {
            let x = match self.prepare {
                Prepare::Nothing => &self.x[first..][..length],
                Prepare::Norm(..) => self.values.read(first, length),
            };
            Input { x, acts: self.acts.tile(tile) }
        }
    }

    /// All of it, for the products.
    ///
    /// # Safety
    /// Every tile is prepared, and the caller has seen that.
    pub unsafe fn acts(&self) -> &'a Activations {
        // SAFETY: as the caller promises.
        unsafe { self.acts.acts() }
    }
}
