//! A layer of the decoder: norm, queries, keys and values, attention, what comes out of it, and the MLP, with both
//! residuals and the adapters of all four linear layers.

use std::sync::Arc;

use npc_onnx::packed::Bits;
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::{TensorElementType, ValueRef};

use super::super::disjoint::Disjoint;
use super::super::state::{GROUPS, Shared};
use super::attention::{HEAD, Sizes, Tables};
use super::pass::{Linear, Parameters, Pass};
use super::{bits, epsilon, floats, input, size, size_below, size_of_model, weights};

/// `Layer(x [tokens, hidden], input_norm, post_norm, qkv, o, gate_up, down, cos, sin, q_norm?, k_norm?, qkv_bias?, o_bias?,
/// gate_up_bias?, down_bias?) -> [tokens, hidden]`
pub struct LayerOp(pub Arc<Shared>);

/// Inputs, of which [`BIASES`] and the two before them may be missing.
const INPUTS: usize = BIASES + GROUPS;
const WEIGHTS: usize = 3;
const BIASES: usize = 11;

pub struct LayerKernel<'attr> {
    shared: Arc<Shared>,
    /// All inputs but x, which never change: a layer has fifteen, and asking for them takes longer than a small stage.
    constants: [Option<ValueRef<'attr>>; INPUTS],
    /// Whether no other input was found.
    is_checked: bool,
    layer: usize,
    bits: [Bits; GROUPS],
    /// Outputs and inputs of each linear layer.
    linear: [(usize, usize); GROUPS],
    attention: Sizes,
    /// Its outputs are those of [`State::picked`](super::super::state::State::picked).
    picked: bool,
}

impl Operator for LayerOp {
    type Kernel<'attr> = LayerKernel<'attr>;

    fn name(&self) -> &'static str {
        "Layer"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        (0..INPUTS).map(|input| match input {
            WEIGHTS..7 => OperatorInput::required(TensorElementType::Uint8),
            0..9 => OperatorInput::required(TensorElementType::Float32),
            _ => OperatorInput::optional(TensorElementType::Float32),
        })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, kernel: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let (model, groups) = (&self.0.model.model, &self.0.model.graph.groups);
        let [.., down] = groups.as_slice() else { return Err(ort::Error::new("no adapter groups")) };
        let hidden = size_of_model(kernel, "hidden", model.hidden_size)?;
        let intermediate = size_of_model(kernel, "intermediate", down.inputs)?;
        let head_dim = size_of_model(kernel, "head_dim", model.head_dim)?;
        if !head_dim.is_multiple_of(HEAD) {
            return Err(ort::Error::new(format!("head_dim is {head_dim}, and must be a multiple of {HEAD}")));
        }
        let attention = Sizes {
            // A multiple of `kv_heads`, as whoever read the folder has checked.
            heads: size_of_model(kernel, "heads", model.heads)?,
            kv_heads: size_of_model(kernel, "kv_heads", model.kv_heads)?,
            head_dim,
            window: size(kernel, "window")?,
            epsilon: epsilon(kernel)?,
        };
        let linear = [
            (attention.width(), hidden),
            (hidden, attention.queries()),
            (2 * intermediate, hidden),
            (hidden, intermediate),
        ];
        if !groups.iter().map(|group| (group.outputs, group.inputs)).eq(linear) {
            return Err(ort::Error::new(
                "the adapter groups of model.toml are not the layer's linear layers",
            ));
        }
        let bits = |name| bits(kernel, name);
        Ok(LayerKernel {
            shared: Arc::clone(&self.0),
            constants: constants(kernel),
            is_checked: false,
            layer: size_below(kernel, "layer", model.layers)?,
            bits: [bits("qkv_bits")?, bits("o_bits")?, bits("gate_up_bits")?, bits("down_bits")?],
            linear,
            attention,
            picked: size(kernel, "picked")? != 0,
        })
    }
}

/// The inputs of a node that are the same in every run: all but the first. Those that are not are looked for later.
fn constants<'attr>(kernel: &KernelContext<'attr>) -> [Option<ValueRef<'attr>>; INPUTS] {
    std::array::from_fn(|index| if index == 0 { None } else { kernel.constant_input(index).ok() })
}

impl Kernel for LayerKernel<'_> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        self.check(context)?;
        let parameters = self.parameters()?;
        let hidden = self.linear[0].1;
        let x = input(context, 0)?;
        let (_, x) = x.try_extract_tensor::<f32>()?;
        let mut state = self.shared.lock();
        let tokens = state.plan.tokens.len();
        if x.len() != tokens * hidden {
            return Err(ort::Error::new("a layer's input has another size than the step"));
        }
        let rows = if self.picked { state.picked_rows.len() } else { tokens };
        let mut out =
            context.output(0, [rows as i64, hidden as i64])?.ok_or_else(|| ort::Error::new("no output"))?;
        let (_, out) = out.try_extract_tensor_mut::<f32>()?;
        let pass = Pass { layer: self.layer, attention: self.attention, parameters, picked: self.picked };
        pass.run(context, &mut state, x, &Disjoint::new(out))
    }
}

impl LayerKernel<'_> {
    /// A graph whose parameters come from elsewhere would be computed without them.
    fn check(&mut self, context: &ComputeContext) -> ort::Result<()> {
        if !self.is_checked {
            for (index, constant) in self.constants.iter().enumerate().skip(1) {
                // There may be fewer.
                let is_there = index < context.num_inputs()? && context.input(index)?.is_some();
                if is_there != constant.is_some() {
                    return Err(ort::Error::new(format!("input {index} of a layer is not constant")));
                }
            }
            self.is_checked = true;
        }
        Ok(())
    }

    /// All inputs but x, of the sizes that the model has.
    fn parameters(&self) -> ort::Result<Parameters<'_>> {
        let inputs = &self.constants;
        let missing = || ort::Error::new("an input of a layer is missing");
        let given = |index: usize| floats(inputs[index].as_ref());
        let wanted = |index: usize| given(index)?.ok_or_else(missing);
        let linear = |group: usize| {
            let weight = inputs[WEIGHTS + group].as_ref().ok_or_else(missing)?;
            let weights = weights(weight, self.bits[group], self.linear[group])?;
            let bias = given(BIASES + group)?;
            if bias.is_some_and(|bias| bias.len() != weights.outputs()) {
                return Err(ort::Error::new("a bias has another size than the model"));
            }
            ort::Result::Ok(Linear { weights, bias })
        };
        let norms = [wanted(1)?, wanted(2)?];
        if norms.iter().any(|norm| norm.len() != self.linear[0].1) {
            return Err(ort::Error::new("a norm has another size than the model"));
        }
        let tables = Tables { cos: wanted(7)?, sin: wanted(8)?, q_norm: given(9)?, k_norm: given(10)? };
        tables.check(self.attention.head_dim, self.shared.context)?;
        Ok(Parameters { norms, linear: [linear(0)?, linear(1)?, linear(2)?, linear(3)?], tables })
    }
}
