//! A linear layer with everything around it: norm before, bias, residual and adapters behind.

use std::sync::Arc;

use npc_onnx::packed::{Bits, PANEL};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::disjoint::Disjoint;
use super::super::kernel::{BAND, Weights};
use super::super::mixes::Ahead;
use super::super::state::{GROUPS, Room, Scratch, Shared, State};
use super::adapters::{Adapters, First};
use super::prepare::{Prepare, Prepared};
use super::product::{Product, pairs};
use super::stages::{self, Stage};
use super::{bits, epsilon, floats, input, size, size_below, size_of_model};
use crate::engine::logits::TOP;

const _: () = assert!(TOP == PANEL, "a panel's largest output is one of the tops");

/// `Linear(x [tokens, …], weight, norm?, bias?, residual?) -> [tokens, outputs]`
pub struct LinearOp(pub Arc<Shared>);

pub struct LinearKernel {
    shared: Arc<Shared>,
    bits: Bits,
    outputs: usize,
    inputs: usize,
    before: Before,
    epsilon: f32,
    /// Layer and adapter group; `None`: no adapters.
    place: Option<(usize, usize)>,
    /// Its rows are those of [`State::picked`].
    picked: bool,
}

/// What is done to the input first; see [`Prepare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Norm,
}

impl Operator for LinearOp {
    type Kernel<'attr> = LinearKernel;

    fn name(&self) -> &'static str {
        "Linear"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [
            OperatorInput::required(float),
            OperatorInput::required(TensorElementType::Uint8),
            OperatorInput::optional(float),
            OperatorInput::optional(float),
            OperatorInput::optional(float),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, kernel: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let before = match size(kernel, "prepare")? {
            0 => Before::Nothing,
            1 => Before::Norm,
            other => return Err(ort::Error::new(format!("prepare is {other}"))),
        };
        let model = &self.0.model;
        let (place, outputs, inputs) = if size(kernel, "layer").is_ok() {
            let layer = size_below(kernel, "layer", model.model.layers)?;
            let group = size_below(kernel, "group", model.graph.groups.len().min(GROUPS))?;
            let sizes = &model.graph.groups[group];
            (Some((layer, group)), sizes.outputs, sizes.inputs)
        } else {
            // The head.
            (None, model.model.vocab_size, model.model.hidden_size)
        };
        Ok(LinearKernel {
            shared: Arc::clone(&self.0),
            bits: bits(kernel, "bits")?,
            outputs: size_of_model(kernel, "outputs", outputs)?,
            inputs: size_of_model(kernel, "inputs", inputs)?,
            before,
            epsilon: epsilon(kernel)?,
            place,
            picked: size(kernel, "picked")? != 0,
        })
    }
}

impl Kernel for LinearKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (x, weight) = (input(context, 0)?, input(context, 1)?);
        let (norm, bias, residual) = (context.input(2)?, context.input(3)?, context.input(4)?);
        let (_, x) = x.try_extract_tensor::<f32>()?;
        let (_, bytes) = weight.try_extract_tensor::<u8>()?;
        let (norm, bias, residual) =
            (floats(norm.as_ref())?, floats(bias.as_ref())?, floats(residual.as_ref())?);
        let weights = Weights::new(self.bits, self.outputs, self.inputs, bytes)
            .ok_or_else(|| ort::Error::new("a weight has another size than the model"))?;
        let rows = x.len() / self.inputs;
        let mut out = context
            .output(0, [rows as i64, self.outputs as i64])?
            .ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let fits = |values: Option<&[f32]>, size| values.is_none_or(|values| values.len() == size);
        if !(fits(norm, self.inputs) && fits(bias, self.outputs) && fits(residual, out.len())) {
            return Err(ort::Error::new("a norm, bias or residual has another size than the model"));
        }
        let prepare = match (self.before, norm) {
            (Before::Nothing, _) => Prepare::Nothing,
            (Before::Norm, Some(weight)) => Prepare::Norm(weight, self.epsilon),
            (Before::Norm, None) => return Err(ort::Error::new("a norm is missing")),
        };
        if rows == 0 {
            self.shared.lock().scratch.tops.clear();
            return Ok(());
        }
        let mut state = self.shared.lock();
        let State { cpu, threads, plan, picked, scratch, .. } = &mut *state;
        let plan = if self.picked { &*picked } else { &*plan };
        let Scratch { first: Room { acts, prepared }, mixes, tops, .. } = scratch;
        let place = self.place.filter(|_| !plan.adapters.is_empty() && rows == plan.tokens.len());
        let (adapters, ahead) = match place {
            Some(place) => {
                let sizes = (self.outputs, pairs(&weights) * rows.div_ceil(BAND));
                Adapters::new((*cpu, *threads), plan, place, sizes, &mut mixes[place.1])
            }
            None => (None, Ahead::default()),
        };
        let sizes = (rows, self.inputs);
        let prepared = Prepared::new(*cpu, prepare, x, sizes, adapters.is_some(), prepared, acts);
        if self.place.is_none() {
            tops.clear();
            // With a bias they would be others.
            let known = bias.is_none() && residual.is_none();
            tops.resize(if known { rows * weights.panels() } else { 0 }, 0.0);
        }
        let is_head = self.place.is_none() && !tops.is_empty();
        let product = Product {
            cpu: *cpu,
            weights,
            rows,
            outputs: self.outputs,
            bias,
            residual,
            tops: is_head.then(|| Disjoint::new(&mut tops[..])),
            adapters: adapters.as_ref(),
            ahead,
        };
        let (pieces, out) = (product.pieces(*threads), Disjoint::new(out));
        let first = First::new(&prepared, adapters.as_ref());
        let (prepare, down) = (|piece| first.prepare(piece), |piece| first.compute(piece));
        // SAFETY: the first stages are over.
        let piece = |i: usize| product.piece(i, pieces, unsafe { prepared.acts() }, &out);
        let stages = [
            Stage::new(first.pieces(), &prepare),
            Stage::new(first.left(), &down),
            Stage::new(pieces, &piece),
        ];
        stages::run(context, *threads, &stages)
    }
}
