//! Packed weights, as [`npc_onnx::packed`] describes them.

pub use npc_onnx::packed::{Bits, PANEL};

use super::acts::BLOCK;

/// A matrix `[outputs, inputs]`: w = scale · code + minimum, a scale and a minimum for 32 inputs of an output.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    bits: Bits,
    outputs: usize,
    inputs: usize,
    bytes: &'a [u8],
}

impl<'a> Weights<'a> {
    /// `None` if the sizes do not fit.
    pub fn new(bits: Bits, outputs: usize, inputs: usize, bytes: &'a [u8]) -> Option<Self> {
        let fits = inputs.is_multiple_of(BLOCK) && bytes.len() == bits.bytes(outputs, inputs);
        fits.then_some(Self { bits, outputs, inputs, bytes })
    }

    pub fn bits(&self) -> Bits {
        self.bits
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// The records of a panel.
    #[inline(always)]
    pub fn panel(&self, panel: usize) -> &'a [u8] {
        let length = self.inputs / BLOCK * self.bits.record();
        &self.bytes[panel * length..][..length]
    }

    /// Writes an output's weights into `row`.
    pub fn row(&self, output: usize, row: &mut [f32]) {
        let records = self.panel(output / PANEL).chunks_exact(self.bits.record());
        for (record, values) in records.zip(row.chunks_exact_mut(BLOCK)) {
            for (input, value) in values.iter_mut().enumerate() {
                *value = npc_onnx::packed::weight(self.bits, record, output % PANEL, input);
            }
        }
    }
}
