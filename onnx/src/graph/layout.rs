use crate::packed::Bits;

/// The file beside `decoder.onnx` that holds the large tensors.
pub const WEIGHTS_FILE: &str = "weights.bin";

/// The file beside `native.onnx` that holds its large tensors.
pub const NATIVE_WEIGHTS_FILE: &str = "native.bin";

/// Where a packed matrix lies in [`NATIVE_WEIGHTS_FILE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedMatrix {
    pub bits: Bits,
    pub at: Placed,
}

/// The rotary tables in [`NATIVE_WEIGHTS_FILE`], `[max_position, head_dim / 2]` floats each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeTables {
    pub cos: Placed,
    pub sin: Placed,
}

/// Where a tensor lies in [`WEIGHTS_FILE`], in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub offset: u64,
    pub length: u64,
}

/// A linear layer's weight: `outputs · inputs` numbers.
#[derive(Debug, Clone)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    /// Int8: bytes, `[outputs, inputs]`. Otherwise floats, `[inputs, outputs]`, as `MatMul` wants them.
    pub weight: Placed,
    /// Int8: `[outputs, inputs / 32]`.
    pub scales: Option<Placed>,
    /// The same for the native decoder.
    pub packed: Option<PlacedMatrix>,
    /// `[outputs]`.
    pub bias: Option<Vec<f32>>,
}

/// The token embedding or the output layer: `[vocab, hidden]`, a row for each token in both.
#[derive(Debug, Clone)]
pub struct Embedding {
    pub weight: Placed,
    /// Int8: `[vocab, hidden / 32]`.
    pub scales: Option<Placed>,
    /// The same for the native decoder.
    pub packed: Option<PlacedMatrix>,
}

/// One decoder layer's weights.
#[derive(Debug, Clone)]
pub struct LayerLayout {
    pub input_norm: Vec<f32>,
    pub qkv: Linear,
    /// Norms of each head of q and of k, `[head_dim]` each.
    pub qk_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub o: Linear,
    pub post_attention_norm: Vec<f32>,
    pub gate_up: Linear,
    pub down: Linear,
}

/// A whole decoder's weights. What is small travels in the graph file itself.
#[derive(Debug, Clone)]
pub struct DecoderLayout {
    pub embedding: Embedding,
    /// Rotary tables, `[max_position, head_dim / 2]`.
    pub cos: Placed,
    pub sin: Placed,
    pub layers: Vec<LayerLayout>,
    pub final_norm: Vec<f32>,
    /// The embedding again where the two are tied, so that the file holds their bytes once.
    pub head: Embedding,
    /// Where the precision has a native decoder.
    pub native: Option<NativeTables>,
}
