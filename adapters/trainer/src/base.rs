//! The frozen weights of a model folder, as tensors.

use std::path::Path;

use candle_core::{Device, Tensor};
use npc_onnx::{ModelConfig, ServedWeights};

use crate::TrainError;
use crate::ops::Frozen;

/// A linear projection of the base: `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub weight: Frozen,
    pub bias: Option<Tensor>,
}

/// One decoder layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub input_norm: Tensor,
    /// By projection, as in [`PROJECTIONS`].
    pub linears: Vec<Linear>,
    pub head_norms: Option<(Tensor, Tensor)>,
    pub post_norm: Tensor,
}

/// The projections of a layer under PEFT's names, with the module that they are in.
pub(crate) const PROJECTIONS: [(&str, &str); 7] = [
    ("q_proj", "self_attn"),
    ("k_proj", "self_attn"),
    ("v_proj", "self_attn"),
    ("o_proj", "self_attn"),
    ("gate_proj", "mlp"),
    ("up_proj", "mlp"),
    ("down_proj", "mlp"),
];

/// The weights that a server with this model folder computes with, in 32-bit floats. They do not change.
#[derive(Debug, Clone)]
pub struct Base {
    pub(crate) config: ModelConfig,
    /// What people call the model, and the SHA-256 of its checkpoint.
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) device: Device,
    /// `[vocab, hidden]`.
    pub(crate) embedding: Tensor,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Tensor,
    pub(crate) head: Frozen,
    /// `[max_position, head_dim / 2]`.
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
}

impl Base {
    /// Reads a model folder.
    ///
    /// # Errors
    /// [`TrainError::Model`] if a weight is missing or is not of the model's size.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, TrainError> {
        let weights = ServedWeights::open(dir)?;
        let file = weights.file().clone();
        let config = &file.model;
        let matrix =
            |values: Vec<f32>, rows: usize, columns: usize| Tensor::from_vec(values, (rows, columns), device);
        let vector = |values: Vec<f32>| {
            let length = values.len();
            Tensor::from_vec(values, length, device)
        };
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embedding = matrix(weights.embedding()?, vocab, hidden)?;
        let head = if config.tie_word_embeddings {
            embedding.clone()
        } else {
            matrix(weights.head()?, vocab, hidden)?
        };
        let mut layers = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let mut linears = Vec::with_capacity(PROJECTIONS.len());
            for group in &file.graph.groups {
                let fused = matrix(weights.linear(i, &group.name)?, group.outputs, group.inputs)?;
                let bias = weights.bias(i, &group.name)?.map(vector).transpose()?;
                for projection in &group.projections {
                    let rows = |tensor: &Tensor| tensor.narrow(0, projection.offset, projection.size);
                    let weight = Frozen::new(rows(&fused)?.contiguous()?);
                    linears.push(Linear { weight, bias: bias.as_ref().map(rows).transpose()? });
                }
            }
            let head_norms = match weights.head_norms(i)? {
                Some([q, k]) => Some((vector(q)?, vector(k)?)),
                None => None,
            };
            layers.push(Layer {
                input_norm: vector(weights.norm(&format!("{i}.input_norm"))?)?,
                linears,
                head_norms,
                post_norm: vector(weights.norm(&format!("{i}.post_norm"))?)?,
            });
        }
        let half = config.head_dim / 2;
        let (cos, sin) = weights.rope()?;
        let positions = cos.len() / half.max(1);
        let (cos, sin) = (matrix(cos, positions, half)?, matrix(sin, positions, half)?);
        let final_norm = vector(weights.norm("final_norm")?)?;
        let head = Frozen::new(head);
        let (config, name, sha256) = (file.model, file.name, file.source_sha256);
        let device = device.clone();
        Ok(Self { config, name, sha256, device, embedding, layers, final_norm, head, cos, sin })
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The model's name, and what tells it from others.
    pub fn identity(&self) -> (&str, &str) {
        (&self.name, &self.sha256)
    }

    /// Inputs and outputs of a projection.
    pub(crate) fn sizes(&self, projection: usize) -> (usize, usize) {
        let config = self.config();
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        [
            (hidden, q),
            (hidden, kv),
            (hidden, kv),
            (q, hidden),
            (hidden, inner),
            (hidden, inner),
            (inner, hidden),
        ][projection]
    }
}
