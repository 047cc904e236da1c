//! Mixes are exact: y = Wx + Σᵢ gᵢ·sᵢ·Bᵢ(Aᵢx), whatever the neighbours in the batch.
//!
//! The reference merges the deltas into the base weights and runs in candle, from the same GGUF.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use npc_gateway::config::{self, AdapterPrecision, KvPrecision};
use npc_gateway::engine::{Adapter, Decoder, Logits, Native, Portable, ResolvedMix, Step, StepToken};
use npc_onnx::ModelFile;
use npc_reference::Reference;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

use super::support::{config, fp32_model_dir, gguf, model_dir, runtime};

/// An adapter as PEFT knows it, kept to merge it into the reference.
struct Source {
    rank: usize,
    alpha: f32,
    rslora: bool,
    targets: &'static [&'static str],
    /// What one module has for itself, in every layer or in one.
    own: Option<Own>,
    tensors: Vec<Factor>,
}

/// An entry of `rank_pattern` and one of `alpha_pattern`.
#[derive(Clone, Copy)]
struct Own {
    /// What the module's path ends in.
    key: &'static str,
    rank: usize,
    alpha: f32,
}

struct Factor {
    /// `model.layers.3.self_attn.q_proj`
    module: String,
    a: Vec<f32>,
    b: Vec<f32>,
    shape: (usize, usize),
}

impl Source {
    /// Random factors, large enough to change what the model says.
    fn random(
        seed: u64,
        rank: usize,
        rslora: bool,
        targets: &'static [&'static str],
        reference: &Reference,
    ) -> Self {
        Self::with_own(seed, rank, rslora, targets, None, reference)
    }

    /// The same, with a module that has a rank and an alpha of its own.
    fn with_own(
        seed: u64,
        rank: usize,
        rslora: bool,
        targets: &'static [&'static str],
        own: Option<Own>,
        reference: &Reference,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut tensors = Vec::new();
        for layer in 0..reference.layers() {
            for target in targets {
                let module = format!("model.layers.{layer}.{target}");
                let shape = reference.shape(&module).unwrap();
                let mut numbers = |n: usize, scale: f32| -> Vec<f32> {
                    (0..n).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * scale).collect()
                };
                let rank = own.filter(|own| module.ends_with(own.key)).map_or(rank, |own| own.rank);
                let (a, b) = (numbers(rank * shape.1, 0.05), numbers(shape.0 * rank, 0.02));
                tensors.push(Factor { module, a, b, shape });
            }
        }
        Self { rank, alpha: 16.0, rslora, targets, own, tensors }
    }

    /// Writes it as PEFT does.
    fn write(&self, dir: &Path) {
        let names: Vec<&str> = self.targets.iter().filter_map(|t| t.rsplit('.').next()).collect();
        let mut config = serde_json::json!({
            "peft_type": "LORA", "r": self.rank, "lora_alpha": self.alpha, "use_rslora": self.rslora,
            "target_modules": names, "bias": "none", "fan_in_fan_out": false, "task_type": "CAUSAL_LM",
            "rank_pattern": {}, "alpha_pattern": {},
        });
        if let Some(own) = self.own {
            config["rank_pattern"][own.key] = own.rank.into();
            config["alpha_pattern"][own.key] = own.alpha.into();
        }
        std::fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
        let views: HashMap<String, TensorView<'_>> = self
            .tensors
            .iter()
            .flat_map(|factor| {
                let view = |data, shape| TensorView::new(Dtype::F32, shape, data).unwrap();
                let (out, input) = factor.shape;
                let name = |which| format!("base_model.model.{}.lora_{which}.weight", factor.module);
                let rank = self.rank_of(&factor.module);
                [
                    (name("A"), view(bytemuck::cast_slice(&factor.a), vec![rank, input])),
                    (name("B"), view(bytemuck::cast_slice(&factor.b), vec![out, rank])),
                ]
            })
            .collect();
        safetensors::serialize_to_file(views, None, &dir.join("adapter_model.safetensors")).unwrap();
    }

    /// Loads it as a file would be.
    fn load(&self, model: &ModelFile) -> Arc<Adapter> {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        Arc::new(Adapter::load("test", dir.path(), &model.graph, model.model.layers).unwrap())
    }

    fn own(&self, module: &str) -> Option<Own> {
        self.own.filter(|own| module.ends_with(own.key))
    }

    fn rank_of(&self, module: &str) -> usize {
        self.own(module).map_or(self.rank, |own| own.rank)
    }

    /// gᵢ·sᵢ of a module of this adapter.
    fn scale(&self, module: &str, weight: f32) -> f32 {
        let rank = self.rank_of(module) as f32;
        let alpha = self.own(module).map_or(self.alpha, |own| own.alpha);
        weight * if self.rslora { alpha / rank.sqrt() } else { alpha / rank }
    }
}

/// Feeds each row its tokens in one step; returns each row's logits after its last one.
fn feed(
    decoder: &mut dyn Decoder,
    starts: &[usize],
    chunks: &[&[u32]],
    mixes: &[Arc<ResolvedMix>],
) -> Vec<Vec<f32>> {
    let mut tokens = Vec::new();
    for (sequence, (start, chunk)) in starts.iter().zip(chunks).enumerate() {
        for (i, token) in chunk.iter().enumerate() {
            let wants_logits = i + 1 == chunk.len();
            tokens.push(StepToken { sequence, position: start + i, token: *token, wants_logits });
        }
    }
    let mut logits = Logits::default();
    decoder.step(Step { tokens: &tokens, mixes }, &mut logits).unwrap();
    logits.chunks_exact(decoder.vocab_size()).map(<[f32]>::to_vec).collect()
}

/// Largest difference over the largest magnitude.
fn relative(got: &[f32], wanted: &[f32]) -> f32 {
    let scale = wanted.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let difference = got.iter().zip(wanted).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    difference / scale
}

/// Length of the difference over the length.
fn relative_length(got: &[f32], wanted: &[f32]) -> f32 {
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    length(&mut got.iter().zip(wanted).map(|(a, b)| a - b)) / length(&mut wanted.iter().copied())
}

const ATTENTION: &[&str] = &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
const QUERY_KEY: &[&str] = &["self_attn.q_proj", "self_attn.k_proj"];
const EVERYTHING: &[&str] = &[
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// Eight rows, each of another length; then two more tokens for each, one at a time.
fn random_tokens() -> (Vec<Vec<u32>>, Vec<[u32; 2]>) {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut token = || rng.random_range(100..40_000);
    let prompts = (0..8).map(|row| (0..3 + row).map(|_| token()).collect()).collect();
    (prompts, (0..8).map(|_| [token(), token()]).collect())
}

/// Other targets, rslora, alphas that are no ranks, and modules with a rank and an alpha of their own.
fn sources(base: &Reference) -> [Source; 4] {
    [
        Source::random(1, 4, false, ATTENTION, base),
        Source::random(2, 8, false, EVERYTHING, base),
        Source::with_own(
            3,
            16,
            true,
            QUERY_KEY,
            Some(Own { key: "layers.7.self_attn.k_proj", rank: 5, alpha: 40.0 }),
            base,
        ),
        Source::with_own(
            4,
            8,
            false,
            &["self_attn.v_proj", "mlp.down_proj"],
            Some(Own { key: "down_proj", rank: 3, alpha: 4.0 }),
            base,
        ),
    ]
}

#[test]
fn a_batch_of_mixes_equals_merged_weights() {
    let base = Reference::from_gguf(&gguf()).unwrap();
    let sources = sources(&base);
    // Eight rows, each with a mix of its own; the first has none.
    let weights: [&[(usize, f32)]; 8] = [
        &[],
        &[(0, 1.0)],
        &[(1, 0.5)],
        &[(2, -1.0)],
        &[(0, 2.0), (1, -0.5)],
        &[(0, 0.7), (1, 0.3), (2, 1.1), (3, -0.9)],
        &[(3, 2.0), (2, 0.25)],
        &[(1, -1.0), (3, 1.5)],
    ];
    let dir = fp32_model_dir();
    let model = Arc::new(ModelFile::read(&dir).unwrap());
    let environment = runtime();
    let mut decoder = Portable::open(&environment, &dir, Arc::clone(&model), &config()).unwrap();
    let adapters: Vec<Arc<Adapter>> = sources.iter().map(|source| source.load(&model)).collect();

    let (prompts, more) = random_tokens();
    let mixes: Vec<Arc<ResolvedMix>> = weights
        .iter()
        .map(|mix| Arc::new(mix.iter().map(|(i, g)| (Arc::clone(&adapters[*i]), *g)).collect()))
        .collect();
    let none: Vec<Arc<ResolvedMix>> = (0..8).map(|_| Arc::default()).collect();
    let run = |decoder: &mut dyn Decoder, mixes: &[Arc<ResolvedMix>]| -> Vec<Vec<Vec<f32>>> {
        let prompt_slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let mut lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        let mut steps = vec![feed(decoder, &[0; 8], &prompt_slices, mixes)];
        for i in 0..2 {
            let next: Vec<&[u32]> = more.iter().map(|m| &m[i..=i]).collect();
            steps.push(feed(decoder, &lengths, &next, mixes));
            for length in &mut lengths {
                *length += 1;
            }
        }
        for row in 0..8 {
            decoder.release(row);
        }
        steps
    };

    let without_adapters = run(&mut decoder, &none);
    decoder.set_adapters(&adapters).unwrap();
    let mixed = run(&mut decoder, &mixes);

    let native_dir = model_dir();
    let native_model = Arc::new(ModelFile::read(&native_dir).unwrap());
    // What rounded keys and values cost is measured on English; here it is about the mixes.
    let exact = config::Engine { kv_precision: KvPrecision::Bf16, ..config() };
    let mut native = Native::open(&environment, &native_dir, native_model, &exact).unwrap();
    let native_without = run(&mut native, &none);
    for adapter in &adapters {
        adapter.pack(AdapterPrecision::F32);
    }
    let native_mixed = run(&mut native, &mixes);

    for step in 0..3 {
        assert!(
            mixed[step][0] == without_adapters[step][0] && native_mixed[step][0] == native_without[step][0],
            "step {step}: the row without adapters is not the base model's, bit for bit"
        );
    }
    // On the native decoder a row among others is the row alone, bit for bit.
    let mut lonely: Vec<Arc<ResolvedMix>> = none.clone();
    lonely[0] = Arc::clone(&mixes[5]);
    let alone = feed(&mut native, &[0], &[&prompts[5]], &lonely);
    assert!(alone[0] == native_mixed[0][5], "the batch changed a row");
    let mut native_errors: Vec<(f32, f32)> = Vec::new();
    for (row, mix) in weights.iter().enumerate() {
        let mut merged = base.clone();
        for (i, g) in *mix {
            for factor in &sources[*i].tensors {
                merged
                    .merge(&factor.module, &factor.a, &factor.b, sources[*i].scale(&factor.module, *g))
                    .unwrap();
            }
        }
        let mut reference = merged.run().unwrap();
        let mut unmixed_difference = 0.0_f32;
        for step in 0..3 {
            let fed = if step == 0 { &prompts[row][..] } else { &more[row][step - 1..step] };
            let wanted = reference.push(fed).unwrap();
            let error = relative(&mixed[step][row], &wanted);
            let native_error = relative_length(&native_mixed[step][row], &wanted);
            let native_distance = relative_length(&native_without[step][row], &wanted);
            println!(
                "row {row} step {step}: relative error {error:.2e}, native int8 {native_error:.2e}, without its mix \
                 {native_distance:.2e}"
            );
            assert!(error < 1e-3, "row {row}, step {step}: relative error {error}");
            // As far off as 8-bit activations make it, mix or no mix.
            assert!(
                native_error < 0.1,
                "row {row}, step {step}: relative error {native_error} on the native one"
            );
            if !mix.is_empty() {
                native_errors.push((native_error, native_distance));
            }
            unmixed_difference = unmixed_difference.max(relative(&without_adapters[step][row], &wanted));
        }
        // The mixes must matter, or the comparison above would prove nothing.
        assert!(mix.is_empty() || unmixed_difference > 0.01, "row {row}: {unmixed_difference}");
    }
    // On the native one too: far nearer to what the mix says than the base is.
    let (errors, distances) =
        native_errors.iter().fold((0.0, 0.0), |(e, d), (error, distance)| (e + error, d + distance));
    assert!(errors < 0.7 * distances, "{errors} of {distances}");
}

#[test]
fn weights_zero_and_dropped_adapters_leave_the_base() {
    let base = Reference::from_gguf(&gguf()).unwrap();
    let dir = fp32_model_dir();
    let model = Arc::new(ModelFile::read(&dir).unwrap());
    let mut decoder = Portable::open(&runtime(), &dir, Arc::clone(&model), &config()).unwrap();
    let peft = tempfile::tempdir().unwrap();
    Source::random(5, 8, false, ATTENTION, &base).write(peft.path());
    let adapter = Arc::new(Adapter::load("a", peft.path(), &model.graph, model.model.layers).unwrap());
    let none = vec![Arc::new(ResolvedMix::new())];
    let used = vec![Arc::new(vec![(Arc::clone(&adapter), 1.0)])];
    let tokens: &[u32] = &[500, 600, 700, 800];
    let before = feed(&mut decoder, &[0], &[tokens], &none);
    decoder.set_adapters(&[Arc::clone(&adapter)]).unwrap();
    let with = feed(&mut decoder, &[0], &[tokens], &used);
    let beside = feed(&mut decoder, &[0], &[tokens], &none);
    decoder.set_adapters(&[]).unwrap();
    let after = feed(&mut decoder, &[0], &[tokens], &none);
    assert!(before != with && before == beside && before == after);
    // A mix that names an adapter which is not resident is an error, not a silent base model.
    let mut logits = Logits::default();
    let token = StepToken { sequence: 0, position: 0, token: 5, wants_logits: true };
    assert!(decoder.step(Step { tokens: &[token], mixes: &used }, &mut logits).is_err());
}
