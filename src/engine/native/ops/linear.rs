//! A linear layer with everything around it: norm or SwiGLU before, bias, residual and adapters behind.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use npc_onnx::packed::{Bits, PANEL};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::super::adapter::Input;
use super::super::disjoint::Disjoint;
use super::super::kernel::{
    BAND, BAND_TILES, BandRef, Cpu, GROUP, LINE, Line, Products, TILE, TileMut, Weights, groups,
};
use super::super::state::{Scratch, Shared, State};
use super::adapters::Adapters;
use super::{bits, each, epsilon, floats, input, size, size_below, size_of_model};

/// `Linear(x [tokens, …], weight, norm?, bias?, residual?) -> [tokens, outputs]`
pub struct LinearOp(pub Arc<Shared>);

pub struct LinearKernel {
    shared: Arc<Shared>,
    bits: Bits,
    outputs: usize,
    inputs: usize,
    prepare: Prepare,
    epsilon: f32,
    /// Layer and adapter group; `None`: no adapters.
    place: Option<(usize, usize)>,
}

/// What is done to the input first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepare {
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
        let prepare = match size(kernel, "prepare")? {
            0 => Prepare::Nothing,
            1 => Prepare::Norm,
            2 => Prepare::SwiGlu,
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
            prepare,
            epsilon: epsilon(kernel)?,
            place,
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
        let width = if self.prepare == Prepare::SwiGlu { self.inputs * 2 } else { self.inputs };
        let rows = x.len() / width;
        let mut out = context
            .output(0, [rows as i64, self.outputs as i64])?
            .ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let fits = |values: Option<&[f32]>, size| values.is_none_or(|values| values.len() == size);
        if self.prepare == Prepare::Norm && norm.is_none() {
            return Err(ort::Error::new("a norm is missing"));
        }
        if !(fits(norm, self.inputs) && fits(bias, self.outputs) && fits(residual, out.len())) {
            return Err(ort::Error::new("a norm, bias or residual has another size than the model"));
        }
        let mut state = self.shared.lock();
        let State { cpu, threads, plan, scratch, .. } = &mut *state;
        let norm = (self.prepare == Prepare::Norm).then(|| norm.unwrap_or_default());
        self.prepare(context, *cpu, scratch, x, norm)?;
        let Scratch { acts, prepared, down, ups, .. } = scratch;
        let place = self.place.filter(|_| !plan.adapters.is_empty() && rows == plan.tokens.len());
        let input = Input { x: if self.prepare == Prepare::Nothing { x } else { prepared }, acts };
        let adapters =
            place.and_then(|place| Adapters::new(*cpu, plan, place, input, self.outputs, down, ups));
        let bands = rows.div_ceil(BAND);
        let job = Job {
            cpu: *cpu,
            weights,
            rows,
            outputs: self.outputs,
            bias,
            residual,
            bands: (0..bands).map(|band| acts.band(band)).collect(),
            ahead: place.map_or_else(Vec::new, |place| plan.ahead(place, weights.panels() * bands)),
        };
        // Several pieces for each thread: one that was interrupted does not make all others wait.
        let panels = weights.panels();
        let pieces = (*threads * 4).min(panels);
        let out = Disjoint::new(out);
        let product = |i| job.panels(panels * i / pieces..panels * (i + 1) / pieces, &out);
        let Some(adapters) = adapters else { return each(context, pieces, product) };
        // The adapters' A between the pieces of the base: one waits for memory, the other computes.
        let all = pieces + plan.adapters.len();
        each(context, all, |i| {
            let (before, after) = (pieces * i / all, pieces * (i + 1) / all);
            if after > before { product(before) } else { adapters.down(i - before) }
        })?;
        each(context, plan.neighbours.len(), |index| adapters.up(index, &out))
    }
}

impl LinearKernel {
    /// Norm or SwiGLU, then 8 bits; what the adapters need stays in `scratch.prepared`.
    fn prepare(
        &self,
        context: &ComputeContext,
        cpu: Cpu,
        scratch: &mut Scratch,
        x: &[f32],
        norm: Option<&[f32]>,
    ) -> ort::Result<()> {
        let inputs = self.inputs;
        let width = if self.prepare == Prepare::SwiGlu { inputs * 2 } else { inputs };
        let rows = x.len() / width;
        let groups = groups(inputs);
        let tall = cpu.is_tall(rows, inputs);
        scratch.acts.resize(rows, inputs, tall);
        if self.prepare != Prepare::Nothing {
            scratch.prepared.resize(rows * inputs, 0.0);
        }
        let prepared = Disjoint::new(&mut scratch.prepared);
        let codes = Disjoint::new(&mut scratch.acts.codes);
        let scales = Disjoint::new(&mut scratch.acts.scales);
        let starts = Disjoint::new(&mut scratch.acts.starts);
        let tall_codes = Disjoint::new(&mut scratch.acts.tall);
        each(context, rows.div_ceil(TILE), |tile| {
            // SAFETY: each tile takes its own part, and each row of it its own.
            let mut part = unsafe {
                TileMut {
                    codes: codes.part(tile * TILE * inputs, TILE * inputs),
                    scales: scales.part(tile * TILE * groups, TILE * groups),
                    starts: starts.part(tile * TILE * groups, TILE * groups),
                }
            };
            for row in tile * TILE..rows.min((tile + 1) * TILE) {
                let x = &x[row * width..][..width];
                let values = match self.prepare {
                    Prepare::Nothing => x,
                    Prepare::Norm => {
                        // SAFETY: as above.
                        let out = unsafe { prepared.part(row * inputs, inputs) };
                        cpu.rms_norm(x, norm.unwrap_or_default(), self.epsilon, out);
                        out
                    }
                    Prepare::SwiGlu => {
                        // SAFETY: as above.
                        let out = unsafe { prepared.part(row * inputs, inputs) };
                        cpu.swiglu(x, out);
                        out
                    }
                };
                cpu.quantize(&mut part, row % TILE, values);
            }
            if !tall {
                return;
            }
            let (band, tile) = (tile / BAND_TILES, tile % BAND_TILES);
            for group in 0..groups {
                let at = ((band * groups + group) * BAND + tile * TILE) * GROUP;
                // SAFETY: each tile takes its own rows of its band.
                part.write_tall(group, unsafe { tall_codes.part(at, TILE * GROUP) });
            }
        })
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
    /// The inputs in 8 bits.
    bands: Vec<BandRef<'a>>,
    /// The memory of the next layer's adapters, a piece for every panel and band.
    ahead: Vec<&'a [u8]>,
}

impl Job<'_> {
    /// Computes some panels' outputs of all rows: the weights are read once.
    fn panels(&self, panels: Range<usize>, out: &Disjoint<'_, f32>) {
        // SAFETY: nothing that is called meanwhile makes others.
        let mut products = unsafe { Products::new(self.cpu) };
        EXPANDED.with_borrow_mut(|room| {
            for panel in panels {
                self.panel(&mut products, panel, room, out);
            }
        });
    }

    /// Computes a panel's outputs of all rows. `room`: for its codes, if they are not there as they are wanted.
    fn panel(&self, products: &mut Products, panel: usize, room: &mut Vec<Line>, out: &Disjoint<'_, f32>) {
        let start = panel * PANEL;
        let columns = PANEL.min(self.outputs - start);
        let scales = self.weights.scales(panel);
        let lines = if let Some(lines) = self.weights.lines(panel) {
            lines
        } else {
            room.resize(self.weights.inputs() / LINE, Line::default());
            self.weights.expand(self.cpu, panel, room);
            room
        };
        let mut product = [[0.0; PANEL]; BAND];
        let bands = self.bands.len();
        for (index, band) in self.bands.iter().enumerate() {
            let rows = BAND.min(self.rows - index * BAND);
            // The next panel, and the next layer's adapters, come while this one is multiplied.
            let ahead = self.ahead.get(panel * bands + index).copied().unwrap_or_default();
            let soon = [self.weights.part(panel + 1, index, bands), ahead];
            products.band(lines, &scales, band, rows, soon, &mut product);
            for (row, product) in product[..rows].iter_mut().enumerate() {
                let at = (index * BAND + row) * self.outputs + start;
                if let Some(bias) = self.bias {
                    product.iter_mut().zip(&bias[start..]).for_each(|(y, bias)| *y += bias);
                }
                if let Some(residual) = self.residual {
                    product.iter_mut().zip(&residual[at..]).for_each(|(y, x)| *y += x);
                }
                // SAFETY: this call alone computes these columns.
                let out = unsafe { out.part(at, columns) };
                match <&mut [f32; PANEL]>::try_from(&mut *out) {
                    // A copy of known length is a few instructions.
                    Ok(out) => *out = *product,
                    Err(_) => out.copy_from_slice(&product[..columns]),
                }
            }
        }
    }
}
