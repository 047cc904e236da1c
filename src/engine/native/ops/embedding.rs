//! Rows of the embedding matrix.

use std::sync::Arc;

use npc_onnx::packed::Bits;
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::state::Shared;
use super::{bits, input, size_of_model, weights};

/// `Embedding(input_ids [tokens], weight) -> [tokens, inputs]`
pub struct EmbeddingOp(pub Arc<Shared>);

pub struct EmbeddingKernel {
    bits: Bits,
    outputs: usize,
    inputs: usize,
}

impl Operator for EmbeddingOp {
    type Kernel<'attr> = EmbeddingKernel;

    fn name(&self) -> &'static str {
        "Embedding"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Int64), OperatorInput::required(TensorElementType::Uint8)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, kernel: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let model = &self.0.model.model;
        let outputs = size_of_model(kernel, "outputs", model.vocab_size)?;
        let inputs = size_of_model(kernel, "inputs", model.hidden_size)?;
        Ok(EmbeddingKernel { bits: bits(kernel, "bits")?, outputs, inputs })
    }
}

impl Kernel for EmbeddingKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (ids, weight) = (input(context, 0)?, input(context, 1)?);
        let (_, ids) = ids.try_extract_tensor::<i64>()?;
        let weights = weights(&weight, self.bits, (self.outputs, self.inputs))?;
        let mut out = context
            .output(0, [ids.len() as i64, self.inputs as i64])?
            .ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        for (id, row) in ids.iter().zip(out.chunks_exact_mut(self.inputs)) {
            let id = usize::try_from(*id).ok().filter(|id| *id < self.outputs);
            let id = id.ok_or_else(|| ort::Error::new("a token id lies outside the vocabulary"))?;
            weights.row(id, row);
        }
        Ok(())
    }
}
