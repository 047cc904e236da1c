//! What is done to a linear layer's input before it is multiplied: norm, then 8 bits.

use std::cell::RefCell;
use std::ops::Range;

use super::super::adapter::Input;
use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{Activations, BAND, BAND_TILES, Cpu, GROUP, TILE, TileMut, TileRef, groups, grow};
use super::super::state::Room;

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

thread_local! {
    /// Room for a tile after the norm.
    static NORMED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The input of a step, which one stage prepares, a tile of rows at a time, for the next ones to read.
pub struct Prepared<'a> {
    cpu: Cpu,
    prepare: Prepare<'a>,
    rows: usize,
    inputs: usize,
    /// Inputs after the norm, `[rows][inputs]`, if there is one and adapters in floats read them.
    values: Option<Disjoint<'a, f32>>,
    acts: Filling<'a>,
}

impl<'a> Prepared<'a> {
    /// Makes room for `rows` rows of `inputs` values; `is_flat`: adapters read them too; `has_floats`: and some of them as
    /// floats.
    pub fn new(
        cpu: Cpu,
        prepare: Prepare<'a>,
        (rows, inputs): (usize, usize),
        (is_flat, has_floats): (bool, bool),
        Room { acts, prepared }: &'a mut Room,
    ) -> Self {
        let is_kept = has_floats && !matches!(prepare, Prepare::Nothing);
        if is_kept {
            grow(prepared, rows * inputs);
        }
        let values = is_kept.then(|| Disjoint::new(&mut prepared[..]));
        Self { cpu, prepare, rows, inputs, values, acts: Filling::new(cpu, (rows, inputs), is_flat, acts) }
    }

    /// How often [`Self::tile`] is to be called.
    pub fn tiles(&self) -> usize {
        self.acts.tiles()
    }

    fn rows(&self, tile: usize) -> Range<usize> {
        tile * TILE..self.rows.min((tile + 1) * TILE)
    }

    /// Prepares one tile of the input `x`; every one once.
    pub fn tile(&self, tile: usize, x: &[f32]) {
        let Prepare::Norm(weight, epsilon) = self.prepare else {
            return self.quantize(tile, &x[self.place(tile)]);
        };
        let own = self.place(tile);
        NORMED.with_borrow_mut(|room| {
            let out = if let Some(values) = &self.values {
                // SAFETY: each tile takes its own rows, each once.
                unsafe { values.part(own.start, own.len()) }
            } else {
                grow(room, own.len());
                &mut room[..own.len()]
            };
            for (x, out) in x[own].chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.inputs)) {
                self.cpu.rms_norm(x, weight, epsilon, out);
            }
            self.quantize(tile, out);
        });
    }

    /// Where a tile's values are.
    fn place(&self, tile: usize) -> Range<usize> {
        let rows = self.rows(tile);
        rows.start * self.inputs..rows.end * self.inputs
    }

    fn quantize(&self, tile: usize, values: &[f32]) {
        let row = |row: usize| &values[row * self.inputs..][..self.inputs];
        let quantize = |part: &mut TileMut<'_>| match self.rows(tile).len() {
            TILE => self.cpu.quantize_tile(part, &std::array::from_fn(row)),
            rows => (0..rows).for_each(|i| self.cpu.quantize(part, i, row(i))),
        };
        // SAFETY: each tile takes its own part.
        unsafe { self.acts.fill(tile, 0..groups(self.inputs), quantize) };
    }

    /// A tile of it, for the adapters; `x` is what it was prepared of.
    ///
    /// # Safety
    /// The tile is prepared, and the caller has seen that.
    pub unsafe fn input<'b>(&'b self, tile: usize, x: &'b [f32]) -> Input<'b> {
        let own = self.place(tile);
        // SAFETY: as the caller promises.
        unsafe {
            let x = match (&self.values, self.prepare) {
                (Some(values), _) => values.read(own.start, own.len()),
                (None, Prepare::Nothing) => &x[own],
                // Nobody wants floats.
                (None, Prepare::Norm(..)) => &[],
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
