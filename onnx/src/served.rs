//! A model folder's weights as plain numbers: what the portable decoder computes with, read back for a trainer.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use rayon::prelude::*;

use crate::graph::WEIGHTS_FILE;
use crate::placed;
use crate::proto::{DataType, Tensor};
use crate::quant::BLOCK;
use crate::{ImportError, ModelFile};

/// Eight-bit weights count from here.
const ZERO: f32 = 128.0;

/// The weights of a model folder, read on demand.
#[derive(Debug)]
pub struct ServedWeights {
    path: PathBuf,
    file: ModelFile,
    tensors: HashMap<String, Tensor>,
    bytes: Mmap,
}

impl ServedWeights {
    /// Opens the folder that [`crate::import`] wrote. No weight is read yet.
    ///
    /// # Errors
    /// [`ImportError::Io`] and [`ImportError::Invalid`], with the file.
    pub fn open(dir: &Path) -> Result<Self, ImportError> {
        let file = ModelFile::read(dir)?;
        let graph = dir.join("decoder.onnx");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ImportError::Io { path, source }
        };
        let initializers = placed::initializers(&graph)?;
        let named = |tensor: Tensor| Some((tensor.name.clone()?, tensor));
        let tensors = initializers.into_iter().filter_map(named).collect();
        let path = dir.join(WEIGHTS_FILE);
        let weights = File::open(&path).map_err(io(&path))?;
        // SAFETY: the file is only read, and whoever writes to a published model folder breaks the server, too.
        let bytes = unsafe { Mmap::map(&weights) }.map_err(io(&path))?;
        Ok(Self { path: graph, file, tensors, bytes })
    }

    /// The folder's description.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// The fused linear layer `group` (`qkv`, `o`, `gate_up`, `down`) of a decoder layer: `outputs · inputs` numbers, a
    /// row for each output.
    ///
    /// # Errors
    /// [`ImportError::Invalid`]: it is not there, or its size is not the model's.
    pub fn linear(&self, layer: usize, group: &str) -> Result<Vec<f32>, ImportError> {
        let name = format!("{layer}.{group}");
        let Some(spec) = self.file.graph.groups.iter().find(|spec| spec.name == group) else {
            return Err(self.invalid(format!("the model has no linear layer {group:?}")));
        };
        self.matrix(&name, spec.outputs, spec.inputs, true)
    }

    /// The bias of a fused linear layer, where it has one.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn bias(&self, layer: usize, group: &str) -> Result<Option<Vec<f32>>, ImportError> {
        self.optional(&format!("{layer}.{group}.bias"))
    }

    /// The token embedding, `vocab · hidden` numbers, a row for each token.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn embedding(&self) -> Result<Vec<f32>, ImportError> {
        self.matrix("embed", self.file.model.vocab_size, self.file.model.hidden_size, false)
    }

    /// The output layer, `vocab · hidden` numbers, a row for each token.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn head(&self) -> Result<Vec<f32>, ImportError> {
        self.matrix("head", self.file.model.vocab_size, self.file.model.hidden_size, false)
    }

    /// A norm's weight: `final_norm`, or `{layer}.input_norm`, `{layer}.post_norm`.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn norm(&self, name: &str) -> Result<Vec<f32>, ImportError> {
        self.optional(name)?.ok_or_else(|| self.invalid(format!("tensor {name} is missing")))
    }

    /// The norms of each head of q and of k, where the model has them.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn head_norms(&self, layer: usize) -> Result<Option<[Vec<f32>; 2]>, ImportError> {
        let q = self.optional(&format!("{layer}.q_norm"))?;
        let k = self.optional(&format!("{layer}.k_norm"))?;
        Ok(q.zip(k).map(|(q, k)| [q, k]))
    }

    /// Cosines and sines of the rotary embedding, `max_position · head_dim / 2` each, a row for each position.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn rope(&self) -> Result<(Vec<f32>, Vec<f32>), ImportError> {
        Ok((self.norm("rope.cos")?, self.norm("rope.sin")?))
    }

    fn optional(&self, name: &str) -> Result<Option<Vec<f32>>, ImportError> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        self.floats(tensor).map(Some)
    }

    /// A matrix of this many rows. `turned`: where it is in floats, it lies as `[inputs, outputs]`.
    fn matrix(&self, name: &str, rows: usize, columns: usize, turned: bool) -> Result<Vec<f32>, ImportError> {
        let weight = format!("{name}.weight");
        let missing = || self.invalid(format!("tensor {weight} is missing"));
        let tensor = self.tensors.get(&weight).ok_or_else(missing)?;
        let scales = self.optional(&format!("{name}.scales"))?;
        let values = if let Some(scales) = scales {
            let codes = self.raw(tensor)?;
            let whole = codes.len() == rows * columns && scales.len() * BLOCK == codes.len();
            if !whole {
                return Err(self.invalid(format!("{weight} is not {rows} rows of {columns} codes")));
            }
            let blocks = codes.par_chunks_exact(BLOCK).zip(&scales);
            blocks
                .flat_map_iter(|(codes, scale)| codes.iter().map(move |c| (f32::from(*c) - ZERO) * scale))
                .collect()
        } else {
            self.floats(tensor)?
        };
        if values.len() != rows * columns {
            let count = values.len();
            return Err(self.invalid(format!("{weight} has {count} numbers, not {rows} times {columns}")));
        }
        if turned && !self.tensors.contains_key(&format!("{name}.scales")) {
            let turn =
                |row: usize| (0..columns).map(|column| values[column * rows + row]).collect::<Vec<_>>();
            return Ok((0..rows).into_par_iter().flat_map_iter(turn).collect());
        }
        Ok(values)
    }

    fn floats(&self, tensor: &Tensor) -> Result<Vec<f32>, ImportError> {
        let bytes = self.raw(tensor)?;
        match tensor.data_type {
            Some(t) if t == DataType::Float as i32 => {
                Ok(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
            }
            Some(t) if t == DataType::Float16 as i32 => {
                Ok(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect())
            }
            other => {
                let name = tensor.name.as_deref().unwrap_or_default();
                Err(self.invalid(format!("tensor {name} has type {other:?}, which is no float")))
            }
        }
    }

    /// The bytes of a tensor, in the graph or in the weights' file.
    fn raw<'a>(&'a self, tensor: &'a Tensor) -> Result<&'a [u8], ImportError> {
        if let Some(raw) = &tensor.raw_data {
            return Ok(raw);
        }
        let within = |range: Range<u64>| {
            self.bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
        };
        placed::range(tensor).and_then(within).ok_or_else(|| {
            let name = tensor.name.as_deref().unwrap_or_default();
            self.invalid(format!("tensor {name} does not lie in {WEIGHTS_FILE}"))
        })
    }

    fn invalid(&self, reason: String) -> ImportError {
        ImportError::Invalid { path: self.path.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Draft, HIDDEN, INNER, LAYERS};
    use crate::{Checkpoint, Precision, import};

    /// Imports a tiny checkpoint; what is read back, and the checkpoint.
    fn imported(precision: Precision) -> (ServedWeights, Checkpoint, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let gguf = dir.path().join("tiny.gguf");
        std::fs::write(&gguf, Draft::new().bytes()).unwrap();
        let out = dir.path().join("model");
        import(&gguf, &out, precision, &mut |_| {}).unwrap();
        (ServedWeights::open(&out).unwrap(), Checkpoint::open(&gguf).unwrap(), dir)
    }

    /// The largest difference between what is served and the checkpoint's tensors one below another.
    fn difference(served: &[f32], checkpoint: &Checkpoint, names: &[String]) -> f32 {
        let wanted: Vec<f32> = names.iter().flat_map(|name| checkpoint.tensor(name).unwrap().data).collect();
        assert_eq!(served.len(), wanted.len());
        served.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn what_is_read_back_is_the_checkpoint() {
        for (precision, most) in [(Precision::Fp32, 0.0), (Precision::Fp16, 2e-3), (Precision::Int8, 0.02)] {
            let (weights, checkpoint, _dir) = imported(precision);
            for layer in 0..LAYERS {
                let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
                let qkv = ["q_proj", "k_proj", "v_proj"].map(|name| at(&format!("self_attn.{name}")));
                let mlp = ["gate_proj", "up_proj"].map(|name| at(&format!("mlp.{name}")));
                let read = |group| weights.linear(layer, group).unwrap();
                for (group, names) in [
                    ("qkv", qkv.to_vec()),
                    ("o", vec![at("self_attn.o_proj")]),
                    ("gate_up", mlp.to_vec()),
                    ("down", vec![at("mlp.down_proj")]),
                ] {
                    let found = difference(&read(group), &checkpoint, &names);
                    assert!(found <= most, "{precision}, {group}: {found}");
                }
                let norm = weights.norm(&format!("{layer}.input_norm")).unwrap();
                assert!(difference(&norm, &checkpoint, &[at("input_layernorm")]) <= 2e-3);
                assert_eq!(weights.bias(layer, "qkv").unwrap(), None);
                assert_eq!(weights.head_norms(layer).unwrap(), None);
            }
            let embedding = ["model.embed_tokens.weight".to_owned()];
            assert!(difference(&weights.embedding().unwrap(), &checkpoint, &embedding) <= most);
            assert_eq!(weights.head().unwrap(), weights.embedding().unwrap());
            let (cos, _) = weights.rope().unwrap();
            assert!((cos[0] - 1.0).abs() < 1e-3);
            assert_eq!(weights.norm("final_norm").unwrap().len(), HIDDEN);
            assert!(weights.linear(LAYERS, "down").unwrap_err().to_string().contains("missing"));
            assert!(weights.linear(0, "experts").is_err());
            assert_eq!(weights.linear(0, "down").unwrap().len(), HIDDEN * INNER);
        }
    }

    #[test]
    fn a_folder_that_is_not_whole_is_refused() {
        let (weights, _, dir) = imported(Precision::Int8);
        drop(weights);
        let model = dir.path().join("model");
        let bytes = std::fs::read(model.join(WEIGHTS_FILE)).unwrap();
        std::fs::write(model.join(WEIGHTS_FILE), &bytes[..bytes.len() / 2]).unwrap();
        let cut = ServedWeights::open(&model).unwrap();
        assert!((0..LAYERS).any(|layer| cut.linear(layer, "down").is_err()));
        std::fs::write(model.join("decoder.onnx"), b"no graph").unwrap();
        assert!(ServedWeights::open(&model).is_err());
    }
}
