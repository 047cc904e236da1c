//! The head: the last norm, and the logits of the tokens that want some.

use std::sync::Arc;

use npc_onnx::packed::{Bits, PANEL};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::disjoint::Disjoint;
use super::super::mixes::Ahead;
use super::super::stages::{self, Stage};
use super::super::state::{Scratch, Shared, State};
use super::prepare::{Prepare, Prepared};
use super::product::{Product, pieces};
use super::{bits, epsilon, input, size_of_model, weights};
use crate::engine::logits::TOP;

const _: () = assert!(TOP == PANEL, "a panel's largest output is one of the tops");

/// `Head(x [logits, inputs], norm, weight) -> [logits, outputs]`
pub struct HeadOp(pub Arc<Shared>);

pub struct HeadKernel {
    shared: Arc<Shared>,
    bits: Bits,
    outputs: usize,
    inputs: usize,
    epsilon: f32,
}

impl Operator for HeadOp {
    type Kernel<'attr> = HeadKernel;

    fn name(&self) -> &'static str {
        "Head"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [
            OperatorInput::required(float),
            OperatorInput::required(float),
            OperatorInput::required(TensorElementType::Uint8),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, kernel: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let model = &self.0.model.model;
        Ok(HeadKernel {
            shared: Arc::clone(&self.0),
            bits: bits(kernel, "bits")?,
            outputs: size_of_model(kernel, "outputs", model.vocab_size)?,
            inputs: size_of_model(kernel, "inputs", model.hidden_size)?,
            epsilon: epsilon(kernel)?,
        })
    }
}

impl Kernel for HeadKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (x, norm, weight) = (input(context, 0)?, input(context, 1)?, input(context, 2)?);
        let (_, x) = x.try_extract_tensor::<f32>()?;
        let (_, norm) = norm.try_extract_tensor::<f32>()?;
        let weights = weights(&weight, self.bits, (self.outputs, self.inputs))?;
        if norm.len() != self.inputs || !x.len().is_multiple_of(self.inputs) {
            return Err(ort::Error::new("the last norm, or its input, has another size than the model"));
        }
        let rows = x.len() / self.inputs;
        let mut out = context
            .output(0, [rows as i64, self.outputs as i64])?
            .ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let mut state = self.shared.lock();
        let State { cpu, threads, scratch, .. } = &mut *state;
        let Scratch { rooms: [room, ..], tops, shares, .. } = scratch;
        // All of them are written before they are read.
        tops.resize(rows * weights.panels(), 0.0);
        if rows == 0 {
            return Ok(());
        }
        let (prepare, sizes) = (Prepare::Norm(norm, self.epsilon), (rows, self.inputs));
        let prepared = Prepared::new(*cpu, prepare, sizes, (false, false), room);
        let product = Product {
            cpu: *cpu,
            weights,
            rows,
            bias: None,
            residual: None,
            tops: Some(Disjoint::new(tops)),
            adapters: None,
            ahead: Ahead::default(),
        };
        let (pieces, out) = (pieces(&weights, *threads), Disjoint::new(out));
        let prepare = |tile: usize| prepared.tile(tile, x);
        // SAFETY: the first stage is over.
        let multiply = |i: usize| product.piece(i, pieces, unsafe { prepared.acts() }, &out);
        let stages = [Stage::new(prepared.tiles(), &prepare), Stage::new(pieces, &multiply)];
        stages::run(context, *threads, shares, &stages)
    }
}
