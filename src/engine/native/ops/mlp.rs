//! A layer's MLP: norm, gates and ups, SwiGLU, down, and the residual, with the adapters of both linear layers.

use std::sync::Arc;

use npc_onnx::packed::Bits;
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::disjoint::{Disjoint, Late};
use super::super::kernel::{BAND, Cpu, Weights, grow};
use super::super::state::{Ahead, GROUPS, Plan, Room, Scratch, Shared, State};
use super::adapters::{Adapters, Both};
use super::gated::Gated;
use super::prepare::{Filling, Prepare, Prepared, Source};
use super::product::{Product, pairs};
use super::stages::{self, Stage};
use super::{bits, epsilon, floats, input, size, size_below, size_of_model};

/// The adapter groups of the two linear layers.
const GATE_UP: usize = 2;
const DOWN: usize = 3;

const _: () = assert!(GATE_UP + 2 == GROUPS && DOWN + 1 == GROUPS, "they are the last two");

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
        let out = Disjoint::new(out);
        if plan.adapters.is_empty() || rows != plan.tokens.len() {
            mlp.alone(context, scratch, &out)
        } else {
            mlp.adapted(context, scratch, &out)
        }
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
    /// Its outputs, and the inputs of `down`.
    fn sizes(&self) -> (usize, usize) {
        (self.down.0.outputs(), self.down.0.inputs())
    }

    /// What goes into gates and ups.
    fn input(&self, first: &'a mut Room) -> (Prepared<'a>, &'a mut Vec<f32>) {
        let Room { acts, prepared, down } = first;
        let sizes = (self.rows, self.sizes().0);
        (Prepared::new(self.cpu, self.norm, Source::Given(self.x), sizes, prepared, acts), down)
    }

    fn product(
        &self,
        (weights, bias): (Weights<'a>, Option<&'a [f32]>),
        stride: usize,
        residual: Option<&'a [f32]>,
        ahead: Ahead<'a>,
    ) -> Product<'a> {
        let (cpu, rows, outputs) = (self.cpu, self.rows, weights.outputs());
        Product { cpu, weights, rows, outputs, stride, bias, residual, tops: None, ahead }
    }

    /// What the adapters read after the product of one of the two layers.
    fn ahead(&self, group: usize, weights: &Weights<'_>) -> Ahead<'a> {
        self.plan.ahead((self.layer, group), pairs(weights) * self.rows.div_ceil(BAND))
    }

    /// Without adapters.
    fn alone(
        &self,
        context: &ComputeContext,
        scratch: &'a mut Scratch,
        out: &Disjoint<'_, f32>,
    ) -> ort::Result<()> {
        let (rows, threads, (hidden, intermediate)) = (self.rows, self.threads, self.sizes());
        let (before, _) = self.input(&mut scratch.first);
        let between = Filling::new(self.cpu, (rows, intermediate), &mut scratch.second.acts);
        let (weights, bias) = self.gate_up;
        let gated = Gated { cpu: self.cpu, weights, outputs: intermediate, bias, rows, to: &between };
        let down = self.product(self.down, hidden, Some(self.x), Ahead::default());
        let pieces = down.pieces(threads);
        let prepare = |tile| before.tile(tile);
        // SAFETY: the first stage is over.
        let gate = |i: usize| gated.piece(i, threads, unsafe { before.acts() });
        // SAFETY: the second stage is over.
        let down = |i: usize| down.piece(i, pieces, unsafe { between.acts() }, out);
        let stages = [
            Stage::new(before.tiles(), &prepare),
            Stage::new(gated.pieces(threads), &gate),
            Stage::new(pieces, &down),
        ];
        stages::run(context, threads, &stages)
    }

    /// With adapters, of which one of the two layers may have none.
    fn adapted(
        &self,
        context: &ComputeContext,
        scratch: &'a mut Scratch,
        out: &Disjoint<'_, f32>,
    ) -> ort::Result<()> {
        let (cpu, plan, rows, threads) = (self.cpu, self.plan, self.rows, self.threads);
        let (hidden, intermediate) = self.sizes();
        let Scratch { first, second, ups, gate_up: room, .. } = scratch;
        let (before, first_down) = self.input(first);
        let [.., first_ups, second_ups] = ups;
        let stride = 2 * intermediate + APART;
        grow(room, rows * stride);
        let room = Late::new(&mut room[..rows * stride]);
        // SAFETY: the only call; it is read in the stage after those that write it.
        let middle = Disjoint::new(unsafe { room.fill() });
        let source = Source::Late(&room);
        let Room { acts, prepared, down: second_down } = second;
        let between =
            Prepared::new(cpu, Prepare::SwiGlu(stride), source, (rows, intermediate), prepared, acts);
        let gate_up = self.product(self.gate_up, stride, None, self.ahead(GATE_UP, &self.gate_up.0));
        let down = self.product(self.down, hidden, Some(self.x), self.ahead(DOWN, &self.down.0));
        let (gate_up_pieces, down_pieces) = (gate_up.pieces(threads), down.pieces(threads));
        let adapters = |group, input, outputs, down, ups| {
            Adapters::new(cpu, plan, (self.layer, group), input, outputs, down, ups)
        };
        let first = adapters(GATE_UP, &before, (2 * intermediate, stride), first_down, first_ups);
        let second = adapters(DOWN, &between, (hidden, hidden), second_down, second_ups);
        let count = |adapters: &Option<Adapters<'_>>| adapters.as_ref().map_or(0, |_| plan.adapters.len());
        let both = Both { pieces: gate_up_pieces, adapters: count(&first) };
        let both_down = Both { pieces: down_pieces, adapters: count(&second) };
        let prepare = |tile| before.tile(tile);
        let multiply = |i: usize| {
            // SAFETY: the first stage is over.
            let piece = |i| gate_up.piece(i, gate_up_pieces, unsafe { before.acts() }, &middle);
            both.run(i, piece, |i| first.iter().for_each(|adapters| adapters.down(i)));
        };
        let add = |i| first.iter().for_each(|adapters| adapters.up(i, &middle));
        let gate = |tile| between.tile(tile);
        let multiply_down = |i: usize| {
            // SAFETY: the stage that gates is over.
            let piece = |i| down.piece(i, down_pieces, unsafe { between.acts() }, out);
            both_down.run(i, piece, |i| second.iter().for_each(|adapters| adapters.down(i)));
        };
        let add_down = |i| second.iter().for_each(|adapters| adapters.up(i, out));
        let neighbours = |adapters| if adapters > 0 { plan.neighbours.len() } else { 0 };
        let stages = [
            Stage::new(before.tiles(), &prepare),
            Stage::new(both.count(), &multiply),
            Stage::new(neighbours(both.adapters), &add),
            Stage::new(between.tiles(), &gate),
            Stage::new(both_down.count(), &multiply_down),
            Stage::new(neighbours(both_down.adapters), &add_down),
        ];
        stages::run(context, threads, &stages)
    }
}
