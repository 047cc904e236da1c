//! What is done to a linear layer's input before it is multiplied: norm or SwiGLU, then 8 bits.

use super::super::adapter::Input;
use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{Activations, BAND, BAND_TILES, BandRef, Cpu, GROUP, TILE, TileMut, groups, grow};

/// What is done to the input first.
#[derive(Debug, Clone, Copy)]
pub enum Prepare<'a> {
    Nothing,
    /// RMS norm with these weights and epsilon.
    Norm(&'a [f32], f32),
    SwiGlu,
}

/// The input of a step, which one stage prepares, a tile of rows at a time, for the next ones to read.
pub struct Prepared<'a> {
    cpu: Cpu,
    prepare: Prepare<'a>,
    x: &'a [f32],
    rows: usize,
    inputs: usize,
    tall: bool,
    /// Inputs after the norm or SwiGLU, `[rows][inputs]`; not used if there is neither.
    values: Late<'a, Vec<f32>>,
    acts: Late<'a, Activations>,
    to: Parts<'a>,
}

/// The parts that threads write.
struct Parts<'a> {
    values: Disjoint<'a, f32>,
    codes: Disjoint<'a, i8>,
    scales: Disjoint<'a, f32>,
    starts: Disjoint<'a, i32>,
    tall: Disjoint<'a, i8>,
}

impl<'a> Prepared<'a> {
    /// Makes room for `rows` rows of `inputs` values.
    pub fn new(
        cpu: Cpu,
        prepare: Prepare<'a>,
        x: &'a [f32],
        (rows, inputs): (usize, usize),
        values: &'a mut Vec<f32>,
        acts: &'a mut Activations,
    ) -> Self {
        let tall = cpu.is_tall(rows, inputs);
        acts.resize(rows, inputs, tall);
        if !matches!(prepare, Prepare::Nothing) {
            grow(values, rows * inputs);
        }
        let (values, acts) = (Late::new(values), Late::new(acts));
        // SAFETY: the only calls; both are read in later stages alone.
        let (filled, Activations { codes, scales, starts, tall: rows_of_codes, .. }) =
            unsafe { (values.fill(), acts.fill()) };
        let to = Parts {
            values: Disjoint::new(filled),
            codes: Disjoint::new(codes),
            scales: Disjoint::new(scales),
            starts: Disjoint::new(starts),
            tall: Disjoint::new(rows_of_codes),
        };
        Self { cpu, prepare, x, rows, inputs, tall, values, acts, to }
    }

    /// How often [`Self::tile`] is to be called.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// Prepares one tile; every one once.
    pub fn tile(&self, tile: usize) {
        let (inputs, groups) = (self.inputs, groups(self.inputs));
        // SAFETY: each tile takes its own part, and each row of it its own.
        let mut part = unsafe {
            TileMut {
                codes: self.to.codes.part(tile * TILE * inputs, TILE * inputs),
                scales: self.to.scales.part(tile * TILE * groups, TILE * groups),
                starts: self.to.starts.part(tile * TILE * groups, TILE * groups),
            }
        };
        for row in tile * TILE..self.rows.min((tile + 1) * TILE) {
            // SAFETY: as above.
            let room = || unsafe { self.to.values.part(row * inputs, inputs) };
            let values = match self.prepare {
                Prepare::Nothing => &self.x[row * inputs..][..inputs],
                Prepare::Norm(weight, epsilon) => {
                    let out = room();
                    self.cpu.rms_norm(&self.x[row * inputs..][..inputs], weight, epsilon, out);
                    out
                }
                Prepare::SwiGlu => {
                    let out = room();
                    self.cpu.swiglu(&self.x[row * 2 * inputs..][..2 * inputs], out);
                    out
                }
            };
            self.cpu.quantize(&mut part, row % TILE, values);
        }
        if !self.tall {
            return;
        }
        let (band, tile) = (tile / BAND_TILES, tile % BAND_TILES);
        for group in 0..groups {
            let at = ((band * groups + group) * BAND + tile * TILE) * GROUP;
            // SAFETY: each tile takes its own rows of its band.
            part.write_tall(group, unsafe { self.to.tall.part(at, TILE * GROUP) });
        }
    }

    /// All of it, for the adapters.
    ///
    /// # Safety
    /// Every tile is prepared, and the caller has seen that.
    pub unsafe fn input(&self) -> Input<'a> {
        // SAFETY: as the caller promises.
        let (values, acts) = unsafe { (self.values.read(), self.acts.read()) };
        let x = if matches!(self.prepare, Prepare::Nothing) { self.x } else { values };
        Input { x, acts }
    }

    /// All of it, for the products.
    ///
    /// # Safety
    /// As [`Self::input`].
    pub unsafe fn bands(&self) -> Vec<BandRef<'a>> {
        // SAFETY: as the caller promises.
        let acts = unsafe { self.acts.read() };
        (0..self.rows.div_ceil(BAND)).map(|band| acts.band(band)).collect()
    }
}
