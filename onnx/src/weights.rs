//! Writes the large tensors, one after another, so that never more than one of them is in memory.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use half::f16;
use rayon::prelude::*;

use crate::{
    Checkpoint, ImportError, ModelConfig, Precision, Progress,
    graph::{
        DecoderLayout, Embedding, LayerLayout, Linear, NATIVE_WEIGHTS_FILE, NativeTables, Placed,
        PlacedMatrix, WEIGHTS_FILE,
    },
    packed,
    quant::{self, BLOCK},
    rope::RopeTables,
};

/// Tensors start at multiples of this, so that ONNX Runtime can map each into memory as it lies in the file
/// (a memory page).
const ALIGNMENT: u64 = 4096;

/// Fused linear layers of a decoder layer.
const LINEARS: usize = 4;

/// Writes all weights of a checkpoint into one file and remembers where each lies.
pub struct WeightWriter<'a> {
    checkpoint: &'a Checkpoint,
    precision: Precision,
    progress: &'a mut dyn FnMut(Progress),
    done: usize,
    total: usize,
    file: Blob,
    /// The native decoder's weights, if the precision has them.
    native: Option<Blob>,
}

/// A file of tensors, one after another.
struct Blob {
    path: PathBuf,
    file: BufWriter<File>,
    offset: u64,
}

impl<'a> WeightWriter<'a> {
    /// Starts the files in `folder`, which must not exist yet.
    pub fn create(
        checkpoint: &'a Checkpoint,
        precision: Precision,
        folder: &Path,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Self, ImportError> {
        let config = checkpoint.config();
        let native = (precision == Precision::Int8).then(|| Blob::create(&folder.join(NATIVE_WEIGHTS_FILE)));
        Ok(Self {
            checkpoint,
            precision,
            progress,
            done: 0,
            total: config.layers * LINEARS + 1 + usize::from(!config.tie_word_embeddings),
            file: Blob::create(&folder.join(WEIGHTS_FILE))?,
            native: native.transpose()?,
        })
    }

    /// Writes everything and sees it onto the disk.
    pub fn write(mut self) -> Result<DecoderLayout, ImportError> {
        let config = self.checkpoint.config();
        let hidden = config.hidden_size;
        let embedding = self.rows("model.embed_tokens.weight", config.vocab_size, hidden)?;
        let head = if config.tie_word_embeddings {
            embedding.clone()
        } else {
            self.rows("lm_head.weight", config.vocab_size, hidden)?
        };
        let tables = RopeTables::new(config);
        let (cos, sin) = (self.floats(&tables.cos)?, self.floats(&tables.sin)?);
        let native = match &mut self.native {
            Some(blob) => Some(NativeTables {
                cos: blob.append(bytemuck::cast_slice(&tables.cos))?,
                sin: blob.append(bytemuck::cast_slice(&tables.sin))?,
            }),
            None => None,
        };
        let layers = (0..config.layers).map(|i| self.layer(i, config)).collect::<Result<_, _>>()?;
        let final_norm = self.vector("model.norm.weight", hidden)?;
        self.report("finishing the file");
        self.file.finish()?;
        self.native.as_mut().map_or(Ok(()), Blob::finish)?;
        Ok(DecoderLayout { embedding, cos, sin, layers, final_norm, head, native })
    }

    fn layer(&mut self, i: usize, config: &ModelConfig) -> Result<LayerLayout, ImportError> {
        let layer = format!("model.layers.{i}");
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let attention = format!("{layer}.self_attn");
        let q_norm = format!("{attention}.q_norm.weight");
        let qk_norms = if self.checkpoint.has_tensor(&q_norm) {
            let k_norm = format!("{attention}.k_norm.weight");
            Some((self.vector(&q_norm, config.head_dim)?, self.vector(&k_norm, config.head_dim)?))
        } else {
            None
        };
        Ok(LayerLayout {
            input_norm: self.vector(&format!("{layer}.input_layernorm.weight"), hidden)?,
            qkv: self.linear(&attention, hidden, &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)])?,
            qk_norms,
            o: self.linear(&attention, q, &[("o_proj", hidden)])?,
            post_attention_norm: self.vector(&format!("{layer}.post_attention_layernorm.weight"), hidden)?,
            gate_up: self.linear(
                &format!("{layer}.mlp"),
                hidden,
                &[("gate_proj", inner), ("up_proj", inner)],
            )?,
            down: self.linear(&format!("{layer}.mlp"), inner, &[("down_proj", hidden)])?,
        })
    }

    /// Reads projections of the same input, joins their outputs and writes them as one.
    fn linear(
        &mut self,
        module: &str,
        inputs: usize,
        projections: &[(&str, usize)],
    ) -> Result<Linear, ImportError> {
        let outputs = projections.iter().map(|(_, size)| size).sum();
        let mut joined = Vec::with_capacity(inputs * outputs);
        let mut bias = Vec::new();
        let biased =
            projections.iter().any(|(name, _)| self.checkpoint.has_tensor(&format!("{module}.{name}.bias")));
        for (name, size) in projections {
            let tensor = format!("{module}.{name}.weight");
            self.report(&tensor);
            joined.extend(self.read(&tensor, &[*size, inputs])?);
            let tensor = format!("{module}.{name}.bias");
            if self.checkpoint.has_tensor(&tensor) {
                bias.extend(self.vector(&tensor, *size)?);
            } else if biased {
                bias.resize(bias.len() + size, 0.0);
            }
        }
        let packed = self.packed(module, &joined, inputs)?;
        let (weight, scales) = match self.precision {
            Precision::Int8 => self.quantized(module, &joined, inputs)?,
            Precision::Fp32 | Precision::Fp16 => {
                let transposed = transpose(&joined, inputs);
                drop(joined);
                (self.floats(&transposed)?, None)
            }
        };
        self.done += 1;
        Ok(Linear { inputs, outputs, weight, scales, packed, bias: biased.then_some(bias) })
    }

    /// Writes a matrix with a row for each token.
    fn rows(&mut self, name: &str, rows: usize, columns: usize) -> Result<Embedding, ImportError> {
        self.report(name);
        let values = self.read(name, &[rows, columns])?;
        let packed = self.packed(name, &values, columns)?;
        let (weight, scales) = match self.precision {
            Precision::Int8 => self.quantized(name, &values, columns)?,
            Precision::Fp32 | Precision::Fp16 => (self.floats(&values)?, None),
        };
        self.done += 1;
        Ok(Embedding { weight, scales, packed })
    }

    /// Writes a matrix for the native decoder, if the precision has one.
    fn packed(
        &mut self,
        name: &str,
        values: &[f32],
        columns: usize,
    ) -> Result<Option<PlacedMatrix>, ImportError> {
        let Some(blob) = &mut self.native else { return Ok(None) };
        check_blocks(self.checkpoint, name, columns)?;
        let packed = packed::pack(values, columns);
        Ok(Some(PlacedMatrix { bits: packed.bits, at: blob.append(&packed.bytes)? }))
    }

    fn quantized(
        &mut self,
        name: &str,
        values: &[f32],
        columns: usize,
    ) -> Result<(Placed, Option<Placed>), ImportError> {
        check_blocks(self.checkpoint, name, columns)?;
        let quantized = quant::quantize(values, columns);
        let weight = self.file.append(&quantized.bytes)?;
        let scales = self.file.append(bytemuck::cast_slice(&quantized.scales))?;
        Ok((weight, Some(scales)))
    }

    /// Writes floats in the graph's precision.
    fn floats(&mut self, values: &[f32]) -> Result<Placed, ImportError> {
        match self.precision {
            Precision::Fp32 | Precision::Int8 => self.file.append(bytemuck::cast_slice(values)),
            Precision::Fp16 => {
                let halves: Vec<f16> = values.par_iter().map(|&value| f16::from_f32(value)).collect();
                self.file.append(bytemuck::cast_slice(&halves))
            }
        }
    }

    fn vector(&self, name: &str, size: usize) -> Result<Vec<f32>, ImportError> {
        self.read(name, &[size])
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ImportError> {
        let tensor = self.checkpoint.tensor(name)?;
        let invalid = |reason| Err(ImportError::Invalid { path: self.checkpoint.path().to_owned(), reason });
        if tensor.shape != shape {
            return invalid(format!(
                "{name} has the shape {:?}, and the model's sizes make it {shape:?}",
                tensor.shape
            ));
        }
        // Half precision ends at 65,504: a weight beyond it would become infinite.
        let limit = if self.precision == Precision::Fp16 { f16::MAX.to_f32() } else { f32::MAX };
        if let Some(value) = tensor.data.par_iter().find_any(|value| value.is_nan() || value.abs() > limit) {
            return invalid(format!("{name} holds {value}, and weights must lie within ±{limit:e}"));
        }
        Ok(tensor.data)
    }

    fn report(&mut self, what: &str) {
        (self.progress)(Progress { what, done: self.done, total: self.total });
    }
}

/// 8-bit weights have one scale for a whole block.
fn check_blocks(checkpoint: &Checkpoint, name: &str, columns: usize) -> Result<(), ImportError> {
    if columns.is_multiple_of(BLOCK) {
        return Ok(());
    }
    Err(ImportError::Unsupported {
        path: checkpoint.path().to_owned(),
        reason: format!(
            "{name} has {columns} inputs, and int8 needs a multiple of {BLOCK}; use fp32 or fp16"
        ),
    })
}

impl Blob {
    fn create(path: &Path) -> Result<Self, ImportError> {
        let file =
            File::create_new(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::with_capacity(1 << 20, file), offset: 0 })
    }

    /// Appends at the next aligned offset. Values are little-endian, as are all machines that ONNX Runtime
    /// is built for.
    fn append(&mut self, bytes: &[u8]) -> Result<Placed, ImportError> {
        let offset = self.offset.next_multiple_of(ALIGNMENT);
        let padding = vec![0; (offset - self.offset) as usize];
        self.file
            .write_all(&padding)
            .and_then(|()| self.file.write_all(bytes))
            .map_err(|source| ImportError::Io { path: self.path.clone(), source })?;
        let length = bytes.len() as u64;
        self.offset = offset + length;
        Ok(Placed { offset, length })
    }

    fn finish(&mut self) -> Result<(), ImportError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|source| ImportError::Io { path: self.path.clone(), source })
    }
}

/// Turns `[rows, columns]` into `[columns, rows]`.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    /// Rows and columns that are turned together, so that reads and writes stay within the cache.
    const TILE: usize = 32;
    let rows = values.len() / columns;
    let mut out = vec![0.0; values.len()];
    out.par_chunks_mut(rows * TILE).enumerate().for_each(|(tile, out)| {
        for first_row in (0..rows).step_by(TILE) {
            for (c, out) in out.chunks_mut(rows).enumerate() {
                let column = tile * TILE + c;
                for row in first_row..(first_row + TILE).min(rows) {
                    out[row] = values[row * columns + column];
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::transpose;

    #[test]
    fn transposes_shapes_that_fill_no_tile() {
        for (rows, columns) in [(1, 1), (3, 5), (32, 33), (70, 64), (1, 40), (40, 1)] {
            let values: Vec<f32> = (0_u16..).take(rows * columns).map(f32::from).collect();
            let turned = transpose(&values, columns);
            for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                let (found, expected) = (turned[c * rows + r], values[r * columns + c]);
                assert!(found.total_cmp(&expected).is_eq(), "{rows}x{columns} at {r},{c}: {found}");
            }
        }
    }
}
