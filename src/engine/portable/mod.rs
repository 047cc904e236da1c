//! The decoder that every execution provider can run: standard and `com.microsoft` operators only.

mod kv;
mod lora;
mod runs;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use half::f16;
use npc_onnx::{ModelFile, Precision};
use ort::memory::MemoryInfo;
use ort::session::IoBinding;
use ort::session::Session;
use ort::value::{DynValue, Tensor, TensorElementType};

use self::kv::{KvCache, KvShape};
use self::lora::Columns;
use self::runs::Run;
use super::adapter::Adapter;
use super::decoder::{Decoder, KvUse, ResolvedMix, Step, StepToken};
use super::logits::Logits;
use super::{EngineError, runtime};
use crate::config::{self, Provider};

/// Bindings that are kept: one for every range of rows that runs lately.
const MAX_BINDINGS: usize = 64;

/// See the module's documentation.
pub struct Portable {
    // The bindings alias `kv` and must go before it: fields are dropped in the order of declaration.
    bindings: HashMap<(usize, usize), IoBinding>,
    adapters: Adapters,
    session: Session,
    kv: KvCache,
    model: Arc<ModelFile>,
    element: TensorElementType,
    rows: usize,
    context: usize,
    /// Tokens that each row holds.
    filled: Vec<usize>,
    host: MemoryInfo<'static>,
}

/// What is bound for the resident adapters.
struct Adapters {
    /// By group.
    columns: Vec<Columns>,
    /// Input name and tensor, for every layer and group.
    tensors: Vec<(String, DynValue)>,
}

impl std::fmt::Debug for Portable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Portable")
            .field("rows", &self.rows)
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl Portable {
    /// Opens the model folder `dir`.
    ///
    /// # Errors
    /// [`EngineError::Provider`] or [`EngineError::Runtime`].
    pub fn open(
        environment: &ort::environment::Environment,
        dir: &Path,
        model: Arc<ModelFile>,
        config: &config::Engine,
    ) -> Result<Self, EngineError> {
        let (session, device) = runtime::open(environment, &dir.join("decoder.onnx"), config)?;
        if device != Provider::Cpu {
            tracing::warn!(
                ?device,
                "this provider was built from its documentation and has not been run on real hardware yet"
            );
        }
        let element = if model.precision == Precision::Fp16 {
            TensorElementType::Float16
        } else {
            TensorElementType::Float32
        };
        let context = config.context.min(model.model.max_position);
        let shape = KvShape {
            layers: model.model.layers,
            rows: config.rows,
            heads: model.model.kv_heads,
            context,
            head_dim: model.model.head_dim,
            element,
        };
        let kv = KvCache::new(&session, device, shape)?;
        let mut decoder = Self {
            bindings: HashMap::new(),
            adapters: Adapters { columns: Vec::new(), tensors: Vec::new() },
            session,
            kv,
            element,
            rows: config.rows,
            context,
            filled: vec![0; config.rows],
            host: MemoryInfo::default(),
            model,
        };
        decoder.set_adapters(&[])?;
        Ok(decoder)
    }

    /// A tensor of the graph's float type.
    fn floats(&self, shape: &[usize], values: Vec<f32>) -> Result<DynValue, EngineError> {
        Ok(if self.element == TensorElementType::Float16 {
            let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
            Tensor::from_array((shape, values))?.into_dyn()
        } else {
            Tensor::from_array((shape, values))?.into_dyn()
        })
    }

    /// Makes a binding for rows `start..start + rows` with the cache and the resident adapters bound.
    fn new_binding(&mut self, start: usize, rows: usize) -> Result<IoBinding, EngineError> {
        let mut binding = self.session.create_binding()?;
        for layer in 0..self.model.model.layers {
            for (kind, name) in ["key", "value"].into_iter().enumerate() {
                // SAFETY: bindings are dropped before the cache (field order), and runs follow one another
                // on the one thread that owns the decoder. Within a run, past and present are meant to be
                // the same memory: that is GroupQueryAttention's shared buffer.
                let (past, present) = unsafe {
                    (self.kv.view(layer, kind, start, rows)?, self.kv.view(layer, kind, start, rows)?)
                };
                binding.bind_input(format!("past.{layer}.{name}"), &past)?;
                binding.bind_output(format!("present.{layer}.{name}"), present)?;
            }
        }
        for (name, tensor) in &self.adapters.tensors {
            binding.bind_input(name.as_str(), tensor)?;
        }
        Ok(binding)
    }

    /// Runs the graph over rows `start..start + rows`, `length` tokens each, and calls `each` with every
    /// row of logits, in the order of `positions`.
    fn run(
        &mut self,
        batch: &Batch,
        mixes: &[Option<&ResolvedMix>],
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<(), EngineError> {
        let rows = batch.ends.len();
        let length = batch.ids.len() / rows;
        let key = (batch.start, rows);
        let mut binding = match self.bindings.remove(&key) {
            Some(binding) => binding,
            None => self.new_binding(batch.start, rows)?,
        };
        let longest = batch.ends.iter().copied().max().unwrap_or(0);
        let seqlens: Vec<i32> = batch.ends.iter().map(|end| *end as i32 - 1).collect();
        binding.bind_input("input_ids", &Tensor::from_array(([rows, length], batch.ids.clone()))?)?;
        binding.bind_input("seqlens_k", &Tensor::from_array(([rows], seqlens))?)?;
        binding.bind_input("total_sequence_length", &Tensor::from_array(((), vec![longest as i32]))?)?;
        binding.bind_input(
            "logit_positions",
            &Tensor::from_array(([batch.wanted.len()], batch.wanted.clone()))?,
        )?;
        for (group, columns) in self.model.graph.groups.iter().zip(&self.adapters.columns) {
            let mut gate = vec![0.0; rows * columns.total];
            for (row, mix) in mixes.iter().enumerate() {
                let Some(mix) = mix else { continue };
                columns
                    .gate(mix, &mut gate[row * columns.total..(row + 1) * columns.total])
                    .map_err(|id| EngineError::UnknownAdapter(id.to_owned()))?;
            }
            let gate = self.floats(&[rows, 1, columns.total], gate)?;
            binding.bind_input(format!("lora.{}.gate", group.name), &gate)?;
        }
        // Bound anew each time: what the last run wrote there has another number of rows.
        binding.bind_output_to_device("logits", &self.host)?;
        let vocab = self.model.model.vocab_size;
        {
            let outputs = self.session.run_binding(&binding)?;
            let (_, logits) = outputs["logits"].try_extract_tensor::<f32>()?;
            let (found, count) = (logits.len(), batch.wanted.len());
            if found != count * vocab {
                return Err(EngineError::Runtime(format!(
                    "the graph gave {found} logits for {count} positions, and model.vocab_size is {vocab}"
                )));
            }
            for (index, row) in logits.chunks_exact(vocab).enumerate() {
                each(index, row);
            }
        }
        if self.bindings.len() >= MAX_BINDINGS {
            self.bindings.clear();
        }
        self.bindings.insert(key, binding);
        Ok(())
    }
}

/// The inputs of one run.
struct Batch {
    /// The first row.
    start: usize,
    /// `[rows, length]`.
    ids: Vec<i64>,
    /// Tokens of each row after the run.
    ends: Vec<usize>,
    /// Flat indices into `ids` whose logits are wanted; never empty.
    wanted: Vec<i64>,
}

impl Decoder for Portable {
    fn sequences(&self) -> usize {
        self.rows
    }

    fn context(&self) -> usize {
        self.context
    }

    fn vocab_size(&self) -> usize {
        self.model.model.vocab_size
    }

    fn set_adapters(&mut self, resident: &[Arc<Adapter>]) -> Result<(), EngineError> {
        let groups = self.model.graph.groups.len();
        let columns: Vec<_> = (0..groups).map(|group| Columns::new(resident, group)).collect();
        let mut tensors = Vec::with_capacity(self.model.model.layers * groups * 2);
        for layer in 0..self.model.model.layers {
            for (index, group) in self.model.graph.groups.iter().enumerate() {
                let total = columns[index].total;
                let (a, b) = lora::dense(&columns[index], &self.model.graph, layer, index);
                let a = self.floats(&[group.inputs, total], a)?;
                let b = self.floats(&[total, group.outputs], b)?;
                tensors.push((format!("lora.{layer}.{}.a", group.name), a));
                tensors.push((format!("lora.{layer}.{}.b", group.name), b));
            }
        }
        self.bindings.clear();
        self.adapters = Adapters { columns, tensors };
        Ok(())
    }

    fn release(&mut self, sequence: usize) {
        self.filled[sequence] = 0;
    }

    fn page_tokens(&self) -> usize {
        self.context
    }

    /// Every sequence has its row for itself: they never run out.
    fn free_pages(&self) -> usize {
        usize::MAX / 2
    }

    fn kv(&self) -> Option<KvUse> {
        let bytes = self.kv.token_bytes();
        let used = self.filled.iter().sum::<usize>() * bytes;
        Some(KvUse { used, limit: self.rows * self.context * bytes })
    }

    fn share(&mut self, from: usize, to: usize, tokens: usize) -> usize {
        if from != to && !self.kv.copy(from, to, tokens) {
            return 0;
        }
        self.filled[to] = tokens;
        tokens
    }

    fn step(&mut self, step: Step<'_>, logits: &mut Logits) -> Result<(), EngineError> {
        let vocab = self.vocab_size();
        // Where in the output each token's logits go.
        let mut place = Vec::with_capacity(step.tokens.len());
        let mut wanted = 0;
        for token in step.tokens {
            place.push(token.wants_logits.then_some(wanted));
            wanted += usize::from(token.wants_logits);
        }
        let logits = logits.zeros(wanted * vocab);
        let runs = runs::cut(step.tokens, |row| self.filled[row] < self.context);
        for run in runs {
            match run {
                Run::Prefill { tokens } => {
                    let first = step.tokens[tokens.start];
                    let ids = step.tokens[tokens.clone()].iter().map(|t| i64::from(t.token)).collect();
                    let end = first.position + tokens.len();
                    let mut targets: Vec<(usize, Option<usize>)> = (0..tokens.len())
                        .filter_map(|i| place[tokens.start + i].map(|at| (i, Some(at))))
                        .collect();
                    if targets.is_empty() {
                        // The graph's head wants at least one position; the last one's logits are dropped.
                        targets.push((tokens.len() - 1, None));
                    }
                    let batch = Batch {
                        start: first.sequence,
                        ids,
                        ends: vec![end],
                        wanted: targets.iter().map(|(i, _)| *i as i64).collect(),
                    };
                    let mixes = [Some(step.mixes[first.sequence].as_ref())];
                    self.run(&batch, &mixes, |i, row| {
                        if let Some(at) = targets[i].1 {
                            logits[at * vocab..(at + 1) * vocab].copy_from_slice(row);
                        }
                    })?;
                    self.filled[first.sequence] = end;
                }
                Run::Decode { rows, tokens } => {
                    let token =
                        |entry: &Option<usize>| -> Option<StepToken> { entry.map(|i| step.tokens[i]) };
                    let ends: Vec<usize> = rows
                        .clone()
                        .zip(&tokens)
                        .map(|(row, entry)| token(entry).map_or(self.filled[row], |t| t.position) + 1)
                        .collect();
                    let mut targets: Vec<(usize, usize)> = tokens
                        .iter()
                        .enumerate()
                        .filter_map(|(row, entry)| Some((row, place[(*entry)?]?)))
                        .collect();
                    let dropped = targets.is_empty();
                    if dropped {
                        targets.push((0, 0));
                    }
                    let batch = Batch {
                        start: rows.start,
                        ids: tokens.iter().map(|e| token(e).map_or(0, |t| i64::from(t.token))).collect(),
                        ends,
                        wanted: targets.iter().map(|(row, _)| *row as i64).collect(),
                    };
                    let mixes: Vec<_> = rows
                        .clone()
                        .zip(&tokens)
                        .map(|(row, entry)| entry.map(|_| step.mixes[row].as_ref()))
                        .collect();
                    self.run(&batch, &mixes, |i, row| {
                        if !dropped {
                            let at = targets[i].1;
                            logits[at * vocab..(at + 1) * vocab].copy_from_slice(row);
                        }
                    })?;
                    for (row, entry) in rows.zip(&tokens) {
                        if let Some(t) = token(entry) {
                            self.filled[row] = t.position + 1;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
