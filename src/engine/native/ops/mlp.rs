//! A layer's MLP: norm, gates and ups, SwiGLU, down, and the residual, with the adapters of both linear layers.

use std::sync::Arc;

use npc_onnx::packed::Bits;
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::adapter::Input;
use super::super::disjoint::Disjoint;
use super::super::kernel::{BAND, Cpu, TILE, Weights, grow};
use super::super::mixes::{Ahead, Mixes};
use super::super::plan::Plan;
use super::super::state::{GROUPS, Scratch, Shared, State};
use super::adapters::{Adapters, First};
use super::gated::Gated;
use super::prepare::{Filling, Prepare, Prepared};
use super::product::{Product, pairs};
use super::stages::{self, Stage};
use super::{bits, epsilon, floats, input, size, size_below, size_of_model};

/// The adapter groups of the two linear layers.
const GATE_UP: usize = 2;
const DOWN: usize = 3;

const _: () = assert!(GATE_UP + 2 == GROUPS && DOWN + 1 == GROUPS, "they are the last two");

/// `Mlp(x [tokens, hidden], norm, gate_up, down, gate_up_bias?, down_bias?) -> [tokens, hidden]`
pub struct MlpOp(pub Arc<Shared>);

pub struct MlpKernel {
    shared: Arc<Shared>,
    gate_up_bits: Bits,
    down_bits: Bits,
    hidden: usize,
    intermediate: usize,
    epsilon: f32,
    layer: usize,
    /// Its rows are those of [`State::picked`].
    picked: bool,
}

impl Operator for MlpOp {
    type Kernel<'attr> = MlpKernel;

    fn name(&self) -> &'static str {
        "Mlp"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [
            OperatorInput::required(float),
            OperatorInput::required(float),
            OperatorInput::required(TensorElementType::Uint8),
            OperatorInput::required(TensorElementType::Uint8),
            OperatorInput::optional(float),
            OperatorInput::optional(float),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, kernel: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let model = &self.0.model;
        let down = model.graph.groups.get(DOWN).ok_or_else(|| ort::Error::new("no group of down"))?;
        Ok(MlpKernel {
            shared: Arc::clone(&self.0),
            gate_up_bits: bits(kernel, "gate_up_bits")?,
            down_bits: bits(kernel, "down_bits")?,
            hidden: size_of_model(kernel, "hidden", down.outputs)?,
            intermediate: size_of_model(kernel, "intermediate", down.inputs)?,
            epsilon: epsilon(kernel)?,
            layer: size_below(kernel, "layer", model.model.layers)?,
            picked: size(kernel, "picked")? != 0,
        })
    }
}

impl Kernel for MlpKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (x, norm) = (input(context, 0)?, input(context, 1)?);
        let (gate_up, down) = (input(context, 2)?, input(context, 3)?);
        let (gate_up_bias, down_bias) = (context.input(4)?, context.input(5)?);
        let (_, x) = x.try_extract_tensor::<f32>()?;
        let (_, norm) = norm.try_extract_tensor::<f32>()?;
        let weights = |bits, outputs, inputs, bytes| {
            Weights::new(bits, outputs, inputs, bytes)
                .ok_or_else(|| ort::Error::new("a weight has another size than the model"))
        };
        let (hidden, intermediate) = (self.hidden, self.intermediate);
        let gate_up = gate_up.try_extract_tensor::<u8>()?.1;
        let gate_up = weights(self.gate_up_bits, 2 * intermediate, hidden, gate_up)?;
        let down = weights(self.down_bits, hidden, intermediate, down.try_extract_tensor::<u8>()?.1)?;
        let (gate_up_bias, down_bias) = (floats(gate_up_bias.as_ref())?, floats(down_bias.as_ref())?);
        let rows = x.len() / hidden;
        let mut out =
            context.output(0, [rows as i64, hidden as i64])?.ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let fits = |values: Option<&[f32]>, size| values.is_none_or(|values| values.len() == size);
        if !(x.len() == out.len()
            && norm.len() == hidden
            && fits(gate_up_bias, 2 * intermediate)
            && fits(down_bias, hidden))
        {
            return Err(ort::Error::new("an input, a norm or a bias has another size than the model"));
        }
        if rows == 0 {
            return Ok(());
        }
        let mut state = self.shared.lock();
        let State { cpu, threads, plan, picked, scratch, .. } = &mut *state;
        let plan = if self.picked { &*picked } else { &*plan };
        let mlp = Mlp {
            cpu: *cpu,
            threads: *threads,
            plan,
            layer: self.layer,
            rows,
            x,
            norm: Prepare::Norm(norm, self.epsilon),
            gate_up: (gate_up, gate_up_bias),
            down: (down, down_bias),
        };
        mlp.run(context, scratch, &Disjoint::new(out))
    }
}

/// One MLP of a step.
struct Mlp<'a> {
    cpu: Cpu,
    threads: usize,
    plan: &'a Plan,
    layer: usize,
    rows: usize,
    x: &'a [f32],
    norm: Prepare<'a>,
    /// Gates and ups, and their bias.
    gate_up: (Weights<'a>, Option<&'a [f32]>),
    down: (Weights<'a>, Option<&'a [f32]>),
}

impl<'a> Mlp<'a> {
    /// The adapters of one of the two layers, and what they read next.
    fn adapters(
        &self,
        group: usize,
        weights: &Weights<'_>,
        mixes: &'a mut Mixes,
    ) -> (Option<Adapters<'a>>, Ahead<'a>) {
        if self.plan.adapters.is_empty() || self.rows != self.plan.tokens.len() {
            return (None, Ahead::default());
        }
        let sizes = (weights.outputs(), pairs(weights) * self.rows.div_ceil(BAND));
        Adapters::new((self.cpu, self.threads), self.plan, (self.layer, group), sizes, mixes)
    }

    fn run(
        &self,
        context: &ComputeContext,
        scratch: &'a mut Scratch,
        out: &Disjoint<'_, f32>,
    ) -> ort::Result<()> {
        let (cpu, rows, threads) = (self.cpu, self.rows, self.threads);
        let (hidden, intermediate) = (self.down.0.outputs(), self.down.0.inputs());
        let Scratch { first, second, mixes: [.., gate_up_mixes, down_mixes], .. } = scratch;
        let (gate_up, ahead) = self.adapters(GATE_UP, &self.gate_up.0, gate_up_mixes);
        let (down, ahead_of_down) = self.adapters(DOWN, &self.down.0, down_mixes);
        let (sizes, first) = ((rows, hidden), &mut *first);
        let (prepared, acts) = (&mut first.prepared, &mut first.acts);
        let before = Prepared::new(cpu, self.norm, self.x, sizes, gate_up.is_some(), prepared, acts);
        let between = Filling::new(cpu, (rows, intermediate), down.is_some(), &mut second.acts);
        // Adapters in floats multiply floats.
        let wanted = down.is_some() && self.plan.adapters.iter().any(|adapter| adapter.has_floats);
        grow(&mut second.prepared, if wanted { rows * intermediate } else { 0 });
        let values = Disjoint::new(&mut second.prepared);
        let values = wanted.then_some(&values);
        let gated = Gated {
            cpu,
            weights: self.gate_up.0,
            outputs: intermediate,
            bias: self.gate_up.1,
            adapters: gate_up.as_ref(),
            ahead,
            rows,
            to: &between,
            values,
        };
        let product = Product {
            cpu,
            weights: self.down.0,
            rows,
            outputs: hidden,
            bias: self.down.1,
            residual: Some(self.x),
            tops: None,
            adapters: down.as_ref(),
            ahead: ahead_of_down,
        };
        let pieces = product.pieces(threads);
        let start = First::new(&before, gate_up.as_ref());
        let (prepare, ranks) = (|piece| start.prepare(piece), |piece| start.compute(piece));
        // SAFETY: the first stages are over.
        let gate = |i: usize| gated.piece(i, threads, unsafe { before.acts() });
        let input = |tile: usize| {
            let tile = tile.min(between.tiles() - 1);
            let at = tile * TILE..rows.min((tile + 1) * TILE);
            // SAFETY: the stage that gates is over.
            let acts = unsafe { between.tile(tile) };
            // SAFETY: as above.
            let x = values.map(|x| unsafe { x.read(at.start * intermediate, at.len() * intermediate) });
            Input { x: x.unwrap_or_default(), acts }
        };
        let ranks_of_down = |i: usize| {
            if let Some(adapters) = &down {
                adapters.compute(i, input);
            }
        };
        // SAFETY: the stages before are over.
        let multiply = |i: usize| product.piece(i, pieces, unsafe { between.acts() }, out);
        let stages = [
            Stage::new(start.pieces(), &prepare),
            Stage::new(start.left(), &ranks),
            Stage::new(gated.pieces(threads), &gate),
            Stage::new(down.as_ref().map_or(0, Adapters::pieces), &ranks_of_down),
            Stage::new(pieces, &multiply),
        ];
        stages::run(context, threads, &stages)
    }
}
