//! Runs an exported decoder the way the engine does: one cache for all rows, bound in place.

use std::path::Path;
use std::ptr::NonNull;
use std::sync::OnceLock;

use half::f16;
use npc_onnx::{ModelFile, Precision};
use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, Tensor, TensorElementType, Value};

use super::runtime;

/// ONNX Runtime, loaded once in a process.
fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let builder = ort::init_from(runtime()).expect("ONNX Runtime loads");
        builder.with_telemetry(false).build().expect("an environment")
    })
}

/// An opened decoder with its KV cache.
pub struct Runner {
    session: Session,
    pub file: ModelFile,
    /// Keys and values of each layer in turn, `[rows, kv_heads, max_len, head_dim]` as bytes.
    cache: Vec<Vec<u8>>,
    max_len: usize,
    /// By group.
    ranks: Vec<usize>,
    /// `lora.{i}.{G}.a` and `.b`.
    adapters: Vec<(String, DynValue)>,
}

/// Adapters side by side: for every group a rank, for every layer and group `a` `[inputs, rank]` and `b`
/// `[rank, outputs]`.
pub struct Adapters {
    pub ranks: Vec<usize>,
    /// Layer by layer, in each group by group.
    pub factors: Vec<(Vec<f32>, Vec<f32>)>,
}

/// One run: some rows of the cache, each with equally many new tokens.
pub struct Run<'a> {
    pub first_row: usize,
    pub tokens: &'a [&'a [u32]],
    /// Tokens of each row before the run.
    pub past: &'a [usize],
    /// For each row: for each group its gate. Empty: no adapters.
    pub gates: &'a [Vec<Vec<f32>>],
}

impl<'a> Run<'a> {
    /// A run without adapters.
    pub fn plain(first_row: usize, tokens: &'a [&'a [u32]], past: &'a [usize]) -> Self {
        Self { first_row, tokens, past, gates: &[] }
    }
}

impl Runner {
    pub fn open(dir: &Path, rows: usize, max_len: usize) -> Self {
        let file = ModelFile::read(dir).expect("model.toml reads");
        let session = Session::builder(environment())
            .and_then(|b| Ok(b.with_intra_threads(2)?))
            .and_then(|mut b| b.commit_from_file(dir.join("decoder.onnx")))
            .expect("ONNX Runtime takes the graph");
        let model = &file.model;
        let plane = rows * model.kv_heads * max_len * model.head_dim * bytes(file.precision);
        // Not zeros: what lies beyond a row's tokens must not matter.
        let cache = vec![vec![0x3c; plane]; model.layers * 2];
        let mut runner = Self { session, file, cache, max_len, ranks: vec![], adapters: vec![] };
        runner.set_adapters(None);
        runner
    }

    /// `None`: ranks of 0.
    pub fn set_adapters(&mut self, adapters: Option<&Adapters>) {
        let groups = self.file.graph.groups.clone();
        self.ranks = adapters.map_or_else(|| vec![0; groups.len()], |adapters| adapters.ranks.clone());
        self.adapters.clear();
        for layer in 0..self.file.model.layers {
            for (g, group) in groups.iter().enumerate() {
                let (a, b) = match adapters {
                    None => (vec![], vec![]),
                    Some(adapters) => adapters.factors[layer * groups.len() + g].clone(),
                };
                let rank = self.ranks[g];
                let name = format!("lora.{layer}.{}", group.name);
                self.adapters.push((format!("{name}.a"), self.floats(&[group.inputs, rank], a)));
                self.adapters.push((format!("{name}.b"), self.floats(&[rank, group.outputs], b)));
            }
        }
    }

    /// Runs and returns the logits of every new token, row by row.
    pub fn run(&mut self, run: &Run) -> Vec<Vec<f32>> {
        let all: Vec<usize> = (0..run.tokens.len() * run.tokens[0].len()).collect();
        self.run_for(run, &all)
    }

    /// Runs and returns the logits of the tokens at `positions`, counted through all rows.
    pub fn run_for(&mut self, run: &Run, positions: &[usize]) -> Vec<Vec<f32>> {
        let (batch, seq) = (run.tokens.len(), run.tokens[0].len());
        let ends: Vec<i32> = run.past.iter().map(|past| (past + seq) as i32).collect();
        assert!(run.tokens.iter().all(|row| row.len() == seq));
        let ids: Vec<i64> = run.tokens.concat().into_iter().map(i64::from).collect();
        let lengths: Vec<i32> = ends.iter().map(|end| end - 1).collect();
        let total = ends.iter().copied().max().expect("a run has rows");
        let positions: Vec<i64> = positions.iter().map(|&p| p as i64).collect();
        let wanted = positions.len();

        let mut binding = self.session.create_binding().expect("a binding");
        bind(&mut binding, "input_ids", &Tensor::from_array(([batch, seq], ids)).unwrap().into_dyn());
        bind(&mut binding, "seqlens_k", &Tensor::from_array(([batch], lengths)).unwrap().into_dyn());
        let no_dims: [usize; 0] = [];
        let total = Tensor::from_array((no_dims, vec![total])).unwrap().into_dyn();
        bind(&mut binding, "total_sequence_length", &total);
        bind(&mut binding, "logit_positions", &Tensor::from_array(([wanted], positions)).unwrap().into_dyn());
        for (g, group) in self.file.graph.groups.iter().enumerate() {
            let rank = if run.gates.is_empty() { 0 } else { self.ranks[g] };
            assert!(rank == self.ranks[g], "adapters are loaded, so every row needs gates");
            let gate: Vec<f32> = run.gates.iter().flat_map(|row| row[g].iter().copied()).collect();
            let gate = self.floats(&[batch, 1, rank], gate);
            bind(&mut binding, &format!("lora.{}.gate", group.name), &gate);
        }
        for (name, value) in &self.adapters {
            binding.bind_input(name, value).expect(name);
        }
        self.bind_cache(&mut binding, run.first_row, batch);
        binding.bind_output_to_device("logits", &MemoryInfo::default()).unwrap();
        let outputs = self.session.run_binding(&binding).expect("the decoder runs");
        let (shape, logits) = outputs["logits"].try_extract_tensor::<f32>().expect("logits are float32");
        let vocab = self.file.model.vocab_size;
        assert_eq!(&shape[..], [wanted as i64, vocab as i64]);
        logits.chunks(vocab).map(<[f32]>::to_vec).collect()
    }

    fn bind_cache(&mut self, binding: &mut IoBinding, first_row: usize, rows: usize) {
        let model = &self.file.model;
        let (heads, dim) = (model.kv_heads, model.head_dim);
        let shape = [rows, heads, self.max_len, dim];
        let row_bytes = heads * self.max_len * dim * bytes(self.file.precision);
        let element = element(self.file.precision);
        for (plane, cache) in self.cache.iter_mut().enumerate() {
            let name = format!("{}.{}", plane / 2, ["key", "value"][plane % 2]);
            let part = &mut cache[first_row * row_bytes..(first_row + rows) * row_bytes];
            // SAFETY: the tensors live no longer than the binding, which is dropped at the end of the run;
            // that past and present are the same memory is what the operator is made for.
            let (past, present) = unsafe { (view(part, shape, element), view(part, shape, element)) };
            binding.bind_input(format!("past.{name}"), &past).expect("a past");
            binding.bind_output(format!("present.{name}"), present).expect("a present");
        }
    }

    /// A tensor of the graph's float type.
    fn floats(&self, shape: &[usize], values: Vec<f32>) -> DynValue {
        let element = element(self.file.precision);
        if element == TensorElementType::Float16 {
            tensor(element, shape, values.into_iter().map(f16::from_f32).collect())
        } else {
            tensor(element, shape, values)
        }
    }
}

fn element(precision: Precision) -> TensorElementType {
    if precision == Precision::Fp16 { TensorElementType::Float16 } else { TensorElementType::Float32 }
}

fn bytes(precision: Precision) -> usize {
    if precision == Precision::Fp16 { 2 } else { 4 }
}

fn tensor<T>(element: TensorElementType, shape: &[usize], values: Vec<T>) -> DynValue
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    if values.is_empty() {
        // An array without elements has no address to make a tensor from.
        return DynTensor::new(&Allocator::default(), element, shape.to_vec()).unwrap().into_dyn();
    }
    Tensor::from_array((shape.to_vec(), values)).unwrap().into_dyn()
}

/// A tensor over borrowed memory that a binding takes without a copy.
///
/// # Safety
/// The memory must outlive the tensor.
unsafe fn view(memory: &mut [u8], shape: [usize; 4], element: TensorElementType) -> DynValue {
    let info = MemoryInfo::default();
    let shape = shape.map(|dim| dim as i64);
    let mut value = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the caller keeps the memory alive after it.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            info.ptr(),
            memory.as_mut_ptr().cast(),
            memory.len(),
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &raw mut value,
        )
    };
    // SAFETY: `status` came from the call above and is consumed once.
    unsafe { ort::Error::result_from_status(status) }.expect("a tensor over the cache");
    // SAFETY: the tensor is fresh and nobody else owns it.
    unsafe { Value::from_ptr(NonNull::new(value).expect("a tensor"), Some(&Allocator::default())) }
}

fn bind(binding: &mut IoBinding, name: &str, value: &DynValue) {
    binding.bind_input(name, value).unwrap_or_else(|error| panic!("{name}: {error}"));
}
