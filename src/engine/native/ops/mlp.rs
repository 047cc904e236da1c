//! A layer's MLP: norm, gates and ups, SwiGLU, down, and the residual, with the adapters of both linear layers.

use std::sync::Arc;

use npc_onnx::packed::Bits;
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{BAND, Weights, grow};
use super::super::state::{Ahead, Room, Scratch, Shared, State};
use super::adapters::{Adapters, Both};
use super::gated::Gated;
use super::prepare::{Filling, Prepare, Prepared, Source};
use super::product::{Product, pairs};
use super::stages::{self, Stage};
use super::{bits, epsilon, floats, input, size, size_below, size_of_model};

/// The adapter groups of the two linear layers.
const GATE_UP: usize = 2;
const DOWN: usize = 3;

/// Numbers between the gates and ups of two rows, a cache line: rows that are a multiple of 4,096 bytes long would share a
/// few places of the nearest cache.
const APART: usize = 16;

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
        let (cpu, threads) = (*cpu, *threads);
        let plan = if self.picked { &*picked } else { &*plan };
        let is_adapted = !plan.adapters.is_empty() && rows == plan.tokens.len();
        let Scratch { first, second, gate_up: room, .. } = scratch;
        let prepare = Prepare::Norm(norm, self.epsilon);
        let product = |weights, stride, bias, residual, group| Product {
            cpu,
            weights,
            rows,
            outputs: Weights::outputs(&weights),
            stride,
            bias,
            residual,
            tops: None,
            ahead: if is_adapted {
                plan.ahead((self.layer, group), pairs(&weights) * rows.div_ceil(BAND))
            } else {
                Ahead::default()
            },
        };
        let before = Prepared::new(
            cpu,
            prepare,
            Source::Given(x),
            (rows, hidden),
            &mut first.prepared,
            &mut first.acts,
        );
        let (first_stage, last) = (|tile| before.tile(tile), product(down, hidden, down_bias, Some(x), DOWN));
        let first_stage = Stage::new(before.tiles(), &first_stage);
        let (pieces, out) = (last.pieces(threads), Disjoint::new(out));
        if !is_adapted {
            let between = Filling::new(cpu, (rows, intermediate), &mut second.acts);
            let gated = Gated {
                cpu,
                weights: gate_up,
                outputs: intermediate,
                bias: gate_up_bias,
                rows,
                to: &between,
            };
            // SAFETY: the first stage is over.
            let gate = |i: usize| gated.piece(i, threads, unsafe { before.acts() });
            // SAFETY: the second stage is over.
            let down = |i: usize| last.piece(i, pieces, unsafe { between.acts() }, &out);
            let stages = [first_stage, Stage::new(gated.pieces(threads), &gate), Stage::new(pieces, &down)];
            return stages::run(context, threads, &stages);
        }
        let stride = 2 * intermediate + APART;
        let size = rows * stride;
        grow(room, size);
        let room = Late::new(&mut room[..size]);
        // SAFETY: the only call; it is read in the stage after those that write it.
        let middle = Disjoint::new(unsafe { room.fill() });
        let Room { acts, prepared, down: u, ups } = second;
        let between = Prepared::new(
            cpu,
            Prepare::SwiGlu,
            Source::Late(&room, stride),
            (rows, intermediate),
            prepared,
            acts,
        );
        let gate_up = product(gate_up, stride, gate_up_bias, None, GATE_UP);
        let adapters = |group, input, outputs, room: (_, _)| {
            Adapters::new(cpu, plan, (self.layer, group), input, outputs, room.0, room.1)
        };
        let first_adapters =
            adapters(GATE_UP, &before, (2 * intermediate, stride), (&mut first.down, &mut first.ups));
        let second_adapters = adapters(DOWN, &between, (hidden, hidden), (u, ups));
        let gate_up_pieces = gate_up.pieces(threads);
        let count = |adapters: &Option<Adapters<'_>>| adapters.as_ref().map_or(0, |_| plan.adapters.len());
        let both = Both { pieces: gate_up_pieces, adapters: count(&first_adapters) };
        let gate = |i: usize| {
            // SAFETY: the first stage is over.
            let piece = |i| gate_up.piece(i, gate_up_pieces, unsafe { before.acts() }, &middle);
            both.run(i, piece, |i| first_adapters.iter().for_each(|adapters| adapters.down(i)));
        };
        let both_down = Both { pieces, adapters: count(&second_adapters) };
        let down = |i: usize| {
            // SAFETY: the stage that prepares is over.
            let piece = |i| last.piece(i, pieces, unsafe { between.acts() }, &out);
            both_down.run(i, piece, |i| second_adapters.iter().for_each(|adapters| adapters.down(i)));
        };
        let add_first = |i| first_adapters.iter().for_each(|adapters| adapters.up(i, &middle));
        let add_second = |i| second_adapters.iter().for_each(|adapters| adapters.up(i, &out));
        let gate_and_quantize = |tile| between.tile(tile);
        let neighbours = |adapters| if adapters > 0 { plan.neighbours.len() } else { 0 };
        let stages = [
            first_stage,
            Stage::new(both.count(), &gate),
            Stage::new(neighbours(both.adapters), &add_first),
            Stage::new(between.tiles(), &gate_and_quantize),
            Stage::new(both_down.count(), &down),
            Stage::new(neighbours(both_down.adapters), &add_second),
        ];
        stages::run(context, threads, &stages)
    }
}
