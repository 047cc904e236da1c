//! Packed weights, as [`npc_onnx::packed`] describes them.

pub use npc_onnx::packed::{Bits, PANEL};

use std::ops::Range;

use super::Cpu;
use npc_onnx::packed::{BLOCK, LEVELS, SCALES, ZERO, code, scale_of};

/// A matrix `[outputs, inputs]`: w = scale · (code - 128), a scale for each output.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    bits: Bits,
    outputs: usize,
    inputs: usize,
    bytes: &'a [u8],
}

/// A panel's codes when they are kept in memory: a cache line holds four inputs of all its outputs.
#[derive(Debug, Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub struct Line(pub [u8; PANEL * 4]);

impl Line {
    pub fn bytes(lines: &[Self]) -> &[u8] {
        bytemuck::cast_slice(lines)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self([ZERO; PANEL * LINE])
    }
}

/// Inputs of a [`Line`].
pub const LINE: usize = 4;

impl<'a> Weights<'a> {
    /// `None` if the sizes do not fit.
    pub fn new(bits: Bits, outputs: usize, inputs: usize, bytes: &'a [u8]) -> Option<Self> {
        let fits = inputs.is_multiple_of(BLOCK) && bytes.len() == bits.bytes(outputs, inputs);
        fits.then_some(Self { bits, outputs, inputs, bytes })
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    fn panel(&self, panel: usize) -> &'a [u8] {
        let length = self.bits.panel(self.inputs);
        &self.bytes[panel * length..][..length]
    }

    /// The codes of a panel, if they are stored as the products read them.
    pub fn lines(&self, panel: usize) -> Option<&'a [Line]> {
        if self.bits == Bits::Four {
            return None;
        }
        // They are aligned in the file; whoever copied it elsewhere gets them copied once more.
        bytemuck::try_cast_slice(&self.panel(panel)[SCALES..]).ok()
    }

    /// Part `part` of `parts` of some panels' memory; nothing past the last panel.
    #[inline]
    pub fn part(&self, panels: Range<usize>, part: usize, parts: usize) -> &'a [u8] {
        let (length, last) = (self.bits.panel(self.inputs), self.panels());
        let memory = &self.bytes[panels.start.min(last) * length..panels.end.min(last) * length];
        let size = memory.len().div_ceil(parts);
        &memory[(part * size).min(memory.len())..((part + 1) * size).min(memory.len())]
    }

    /// Writes the codes of a panel into `lines`.
    pub fn expand(&self, cpu: Cpu, panel: usize, lines: &mut [Line]) {
        let records = &self.panel(panel)[SCALES..];
        match self.bits {
            Bits::Four => cpu.expand(records, lines),
            Bits::Eight => {
                for (line, bytes) in lines.iter_mut().zip(records.as_chunks::<{ PANEL * LINE }>().0) {
                    line.0 = *bytes;
                }
            }
        }
    }

    /// The scales of a panel's outputs.
    pub fn scales(&self, panel: usize) -> [f32; PANEL] {
        bytemuck::pod_read_unaligned(&self.panel(panel)[..SCALES])
    }

    /// Writes an output's weights into `row`.
    pub fn row(&self, output: usize, row: &mut [f32]) {
        let (panel, column) = (self.panel(output / PANEL), output % PANEL);
        let scale = scale_of(panel, column);
        debug_assert_eq!(row.len(), self.inputs);
        let value = |code: u8| scale * (f32::from(code) - f32::from(ZERO));
        if let Some(lines) = self.lines(output / PANEL) {
            for (values, line) in row.as_chunks_mut::<LINE>().0.iter_mut().zip(lines) {
                for (own, code) in values.iter_mut().zip(&line.0[column * LINE..]) {
                    *own = value(*code);
                }
            }
            return;
        }
        for (input, own) in row.iter_mut().enumerate() {
            *own = value(code(self.bits, panel, column, input));
        }
    }
}

/// Turns four-bit records into codes.
pub fn expand(records: &[u8], lines: &mut [Line]) {
    for (record, lines) in records.chunks_exact(Bits::Four.record()).zip(lines.chunks_exact_mut(BLOCK / LINE))
    {
        // The factor and the offset of every byte of a line.
        let level = |at: usize| u16::from_le_bytes([record[at * 2], record[at * 2 + 1]]);
        let factors: [u16; PANEL * LINE] = std::array::from_fn(|byte| level(byte / LINE));
        let offsets: [u16; PANEL * LINE] = std::array::from_fn(|byte| level(PANEL + byte / LINE));
        let (low, high) = lines.split_at_mut(BLOCK / LINE / 2);
        let indices = record[LEVELS..].as_chunks::<{ PANEL * LINE }>().0;
        for ((indices, low), high) in indices.iter().zip(low).zip(high) {
            for byte in 0..PANEL * LINE {
                let code = |index: u8| {
                    (factors[byte].wrapping_mul(u16::from(index)).wrapping_add(offsets[byte]) >> 8) as u8
                };
                low.0[byte] = code(indices[byte] & 15);
                high.0[byte] = code(indices[byte] >> 4);
            }
        }
    }
}
