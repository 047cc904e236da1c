//! A linear layer with everything around it: norm or SwiGLU before, bias, residual and adapters behind.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use npc_onnx::packed::{Bits, PANEL};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::disjoint::Disjoint;
use super::super::kernel::{BAND, BandRef, Cpu, LINE, Line, Products, Weights};
use super::super::state::{Scratch, Shared, State};
use super::adapters::Adapters;
use super::prepare::{Prepare, Prepared};
use super::stages::{self, Stage};
use super::{bits, epsilon, floats, input, size, size_below, size_of_model};
use crate::engine::logits::TOP;
use crate::engine::sampler::largest;

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
    SwiGlu,
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
            2 => Before::SwiGlu,
            other => return Err(ort::Error::new(format!("prepare is {other}"))),
        };
        let model = &self.0.model;
        let (place, outputs, inputs) = if size(kernel, "layer").is_ok() {
            let layer = size_below(kernel, "layer", model.model.layers)?;
            let group = size_below(kernel, "group", model.graph.groups.len())?;
            let sizes = &model.graph.groups[group];
            (Some((layer, group)), sizes.outputs, sizes.inputs)
        } else {
            // The head.
            (None, model.model.vocab_size, model.model.hidden_size)
        };
        Ok(LinearKernel {
            shared: Arc::clone(&self.0),
            bits: bits(kernel)?,
            outputs: size_of_model(kernel, "outputs", outputs)?,
            inputs: size_of_model(kernel, "inputs", inputs)?,
            before,
            epsilon: epsilon(kernel)?,
            place,
            // Graphs that were written before compute every row to the end.
            picked: kernel.get::<i64>("picked").is_some_and(|picked| picked != 0),
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
        let width = if self.before == Before::SwiGlu { self.inputs * 2 } else { self.inputs };
        let rows = x.len() / width;
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
            (Before::SwiGlu, _) => Prepare::SwiGlu,
        };
        if rows == 0 {
            self.shared.lock().scratch.tops.clear();
            return Ok(());
        }
        let mut state = self.shared.lock();
        let State { cpu, threads, plan, picked, scratch, .. } = &mut *state;
        let plan = if self.picked { &*picked } else { &*plan };
        let Scratch { acts, prepared, down, ups, tops, .. } = scratch;
        let prepared = Prepared::new(*cpu, prepare, x, (rows, self.inputs), prepared, acts);
        let place = self.place.filter(|_| !plan.adapters.is_empty() && rows == plan.tokens.len());
        let adapters =
            place.and_then(|place| Adapters::new(*cpu, plan, place, &prepared, self.outputs, down, ups));
        if self.place.is_none() {
            tops.clear();
            // With a bias they would be others.
            let known = bias.is_none() && residual.is_none();
            tops.resize(if known { rows * weights.panels() } else { 0 }, 0.0);
        }
        let is_head = self.place.is_none() && !tops.is_empty();
        let ahead = place.map(|place| plan.ahead(place, weights.panels() * rows.div_ceil(BAND)));
        let job = Job {
            cpu: *cpu,
            weights,
            rows,
            outputs: self.outputs,
            bias,
            residual,
            tops: is_head.then(|| Disjoint::new(&mut tops[..])),
            ahead: ahead.unwrap_or_default(),
        };
        // Many pieces for each thread: at the end all wait for the last one, and one thread always begins a little later.
        let panels = weights.panels();
        let pieces = (*threads * 16).min(panels);
        let out = Disjoint::new(out);
        let prepare = |tile| prepared.tile(tile);
        let product = |i: usize| {
            // SAFETY: the first stage is over.
            let bands = unsafe { prepared.bands() };
            job.panels(panels * i / pieces..panels * (i + 1) / pieces, &bands, &out);
        };
        let first = Stage::new(prepared.tiles(), &prepare);
        let Some(adapters) = adapters else {
            return stages::run(context, *threads, &[first, Stage::new(pieces, &product)]);
        };
        // The adapters' A between the pieces of the base: one waits for memory, the other computes.
        let all = pieces + plan.adapters.len();
        let second = |i: usize| {
            let (before, after) = (pieces * i / all, pieces * (i + 1) / all);
            if after > before { product(before) } else { adapters.down(i - before) }
        };
        let third = |index| adapters.up(index, &out);
        let stages = [first, Stage::new(all, &second), Stage::new(plan.neighbours.len(), &third)];
        stages::run(context, *threads, &stages)
    }
}

thread_local! {
    /// Room for the codes of one panel.
    static EXPANDED: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// What the threads share while they compute the product.
struct Job<'a> {
    cpu: Cpu,
    weights: Weights<'a>,
    rows: usize,
    outputs: usize,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    /// Of the head: the largest of every panel's outputs, by row.
    tops: Option<Disjoint<'a, f32>>,
    /// The memory of the next layer's adapters, a piece for every panel and band.
    ahead: Vec<&'a [u8]>,
}

impl Job<'_> {
    /// Computes some panels' outputs of all rows: the weights are read once. `bands`: the inputs in 8 bits.
    fn panels(&self, panels: Range<usize>, bands: &[BandRef<'_>], out: &Disjoint<'_, f32>) {
        // SAFETY: nothing that is called meanwhile makes others.
        let mut products = unsafe { Products::new(self.cpu) };
        let mut product = [[0.0; PANEL]; BAND];
        EXPANDED.with_borrow_mut(|room| {
            for panel in panels {
                self.panel(&mut products, &mut product, panel, bands, room, out);
            }
        });
    }

    /// Computes a panel's outputs of all rows. `product` is room for a band's; `room` for its codes, if they are not there as
    /// they are wanted.
    #[allow(clippy::too_many_arguments)] // What it reads, and where it writes.
    fn panel(
        &self,
        products: &mut Products,
        product: &mut [[f32; PANEL]; BAND],
        panel: usize,
        bands: &[BandRef<'_>],
        room: &mut Vec<Line>,
        out: &Disjoint<'_, f32>,
    ) {
        let scales = self.weights.scales(panel);
        let lines = if let Some(lines) = self.weights.lines(panel) {
            lines
        } else {
            room.resize(self.weights.inputs() / LINE, Line::default());
            self.weights.expand(self.cpu, panel, room);
            room
        };
        for (index, band) in bands.iter().enumerate() {
            let rows = BAND.min(self.rows - index * BAND);
            // The next panel, and the next layer's adapters, come while this one is multiplied.
            let ahead = self.ahead.get(panel * bands.len() + index).copied().unwrap_or_default();
            let soon = [self.weights.part(panel + 1, index, bands.len()), ahead];
            products.band(lines, &scales, band, rows, soon, product);
            self.settle(&product[..rows], panel, index * BAND, out);
        }
    }

    /// Writes a panel's product for the rows from `first` on, with bias and residual.
    fn settle(&self, product: &[[f32; PANEL]], panel: usize, first: usize, out: &Disjoint<'_, f32>) {
        let start = panel * PANEL;
        let at = |row| (first + row) * self.outputs + start;
        let columns = PANEL.min(self.outputs - start);
        if let Some(tops) = &self.tops {
            for (row, product) in product.iter().enumerate() {
                let (at, top) = ((first + row) * self.weights.panels() + panel, largest(&product[..columns]));
                // SAFETY: this call alone computes this panel of this row.
                unsafe { tops.set(at, top) };
            }
        }
        if columns == PANEL {
            let bias = self.bias.and_then(|bias| bias[start..].first_chunk());
            let residual = |row| self.residual.and_then(|residual| residual[at(row)..].first_chunk());
            // SAFETY: this call alone computes these columns.
            let out = |row| unsafe { out.array(at(row)) };
            return self.cpu.settle(product, bias, residual, out);
        }
        for (row, product) in product.iter().enumerate() {
            // SAFETY: as above.
            let out = unsafe { out.part(at(row), columns) };
            for (i, (out, product)) in out.iter_mut().zip(product).enumerate() {
                let bias = self.bias.map_or(0.0, |bias| bias[start + i]);
                let residual = self.residual.map_or(0.0, |residual| residual[at(row) + i]);
                *out = product + bias + residual;
            }
        }
    }
}
