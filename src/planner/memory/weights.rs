//! Bytes of a base model's weights, by the format that they are stored in.

use super::super::input::InputError;
use super::super::models::Architecture;

/// Weights of a row that share a scale.
const BLOCK: f64 = 32.0;

/// Bits of a scale.
const FLOAT: f64 = 32.0;
const HALF: f64 = 16.0;

/// How many bits the weights of a base model have, in general terms. Embedding, head, norms and biases stay in 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 16-bit floats.
    Fp16,
    /// 8 bits, and a 32-bit float scale for each 32 weights of a row: 9 bits a weight.
    Int8,
    /// 4 bits, and a 16-bit float scale for each 32 weights of a row: 4.5 bits a weight.
    Int4,
}

impl Precision {
    pub const ALL: [Self; 3] = [Self::Fp16, Self::Int8, Self::Int4];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// The precision of a name.
    pub fn named(name: &str) -> Result<Self, InputError> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| InputError::unknown("precision", name, Self::ALL.map(Self::name)))
    }

    pub const fn scheme(self) -> WeightScheme {
        let linear_bits = match self {
            Self::Fp16 => 16.0,
            Self::Int8 => 8.0 + FLOAT / BLOCK,
            Self::Int4 => 4.0 + HALF / BLOCK,
        };
        WeightScheme {
            linear_bits,
            embedding_bits: 16.0,
            row_bits: 0.0,
            small_bits: 16.0,
            rotary_positions: 0,
        }
    }
}

/// How weights are stored, in bits, what goes with blocks of them included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightScheme {
    /// A weight of the linear layers.
    pub linear_bits: f64,
    /// A weight of the embedding, and of the head.
    pub embedding_bits: f64,
    /// What goes with each output of a linear layer and each row of the embedding and the head, besides.
    pub row_bits: f64,
    /// A weight of norms and biases.
    pub small_bits: f64,
    /// Positions for which the file holds rotary tables: a cosine and a sine in 32-bit floats for each half head.
    pub rotary_positions: u64,
}

impl WeightScheme {
    /// What `import --precision int8` writes for the portable decoder: embedding and head too in 8 bits, a 32-bit scale
    /// for each 32 weights, norms in 32-bit floats.
    pub const fn gateway_portable(context_tokens: u64) -> Self {
        Self {
            linear_bits: 9.0,
            embedding_bits: 9.0,
            row_bits: 0.0,
            small_bits: 32.0,
            rotary_positions: context_tokens,
        }
    }

    /// What the native decoder reads of a checkpoint that is not quantized: 8 bits, a 32-bit scale for each output.
    pub const fn gateway_native(context_tokens: u64) -> Self {
        Self {
            linear_bits: 8.0,
            embedding_bits: 8.0,
            row_bits: 32.0,
            small_bits: 32.0,
            rotary_positions: context_tokens,
        }
    }

    /// What the native decoder reads of a checkpoint whose linear layers have 4 bits already, such as the default
    /// model's Q4_1: 4 bits and a factor and an offset of 16 bits for each 32 weights, so 5 bits a weight.
    pub const fn gateway_native_of_4_bit(context_tokens: u64) -> Self {
        Self { linear_bits: 5.0, ..Self::gateway_native(context_tokens) }
    }

    /// Bytes of the linear layers alone.
    pub fn linear_bytes(&self, architecture: &Architecture) -> u64 {
        let weights = architecture.parameters().linear as f64 * self.linear_bits;
        bytes(weights + architecture.linear_outputs() as f64 * self.row_bits)
    }

    /// Bytes of the embedding, and of the head where it is another matrix.
    pub fn embedding_bytes(&self, architecture: &Architecture) -> u64 {
        let parameters = architecture.parameters();
        let matrices = if architecture.tied_embeddings { 1.0 } else { 2.0 };
        let rows = f64::from(architecture.vocab) * matrices;
        bytes((parameters.embedding + parameters.head) as f64 * self.embedding_bits + rows * self.row_bits)
    }

    /// Bytes of norms, biases and rotary tables.
    pub fn small_bytes(&self, architecture: &Architecture) -> u64 {
        let rotary = self.rotary_positions.saturating_mul(u64::from(architecture.head_dim) * 4);
        bytes(architecture.parameters().small as f64 * self.small_bits).saturating_add(rotary)
    }

    /// Bytes of all weights.
    pub fn bytes(&self, architecture: &Architecture) -> u64 {
        self.linear_bytes(architecture)
            .saturating_add(self.embedding_bytes(architecture))
            .saturating_add(self.small_bytes(architecture))
    }
}

/// Whole bytes that hold so many bits.
fn bytes(bits: f64) -> u64 {
    (bits / 8.0).ceil() as u64
}
