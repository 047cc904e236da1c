//! The native decoder: near the exact model, exact in its mixes, the same whatever is computed beside it.

use std::collections::HashMap;
use std::sync::Arc;

use npc_gateway::config::{self, AdapterPrecision, KvPrecision};
use npc_gateway::engine::{
    Adapter, Decoder, Logits, Native, Portable, ResolvedMix, Step, StepToken, Tokenizer,
};
use npc_onnx::{ModelFile, NATIVE_GRAPH_FILE, NATIVE_WEIGHTS_FILE};
use safetensors::tensor::{Dtype, TensorView};

use super::support::{config, fp32_model_dir, model_dir, runtime};

const ENGLISH: &str = include_str!("../../onnx/tests/data/english.txt");

fn no_mixes(sequences: usize) -> Vec<Arc<ResolvedMix>> {
    let none = Arc::new(ResolvedMix::new());
    vec![none; sequences]
}

fn native(config: &config::Engine) -> Native {
    let model = Arc::new(ModelFile::read(&model_dir()).unwrap());
    Native::open(&runtime(), &model_dir(), model, config).unwrap()
}

fn english() -> Vec<u32> {
    let model = ModelFile::read(&model_dir()).unwrap().model;
    Tokenizer::load(&model_dir(), &model).unwrap().encode_text(ENGLISH)
}

/// The logits of every token, computed `chunk` tokens at a time.
pub fn all_logits(decoder: &mut dyn Decoder, tokens: &[u32], chunk: usize) -> Vec<f32> {
    let mixes = no_mixes(decoder.sequences());
    let mut all = Vec::new();
    let mut logits = Logits::default();
    for (i, chunk_tokens) in tokens.chunks(chunk).enumerate() {
        let step: Vec<_> = chunk_tokens
            .iter()
            .enumerate()
            .map(|(j, token)| StepToken {
                sequence: 0,
                position: i * chunk + j,
                token: *token,
                wants_logits: true,
            })
            .collect();
        decoder.step(Step { tokens: &step, mixes: &mixes }, &mut logits).unwrap();
        all.extend_from_slice(&logits);
    }
    decoder.release(0);
    all
}

#[test]
fn weights_are_the_same_from_the_file_and_on_huge_pages() {
    let tokens = &english()[..70];
    let found = [true, false].map(|huge_pages| {
        let config = config::Engine { huge_pages, context: 128, ..config() };
        all_logits(&mut native(&config), tokens, 64)
    });
    assert!(found[0] == found[1]);
}

#[test]
fn a_weights_file_that_ends_early_is_named() {
    let (whole, cut) = (model_dir(), tempfile::tempdir().unwrap());
    for name in ["model.toml", NATIVE_GRAPH_FILE] {
        std::fs::copy(whole.join(name), cut.path().join(name)).unwrap();
    }
    let weights = std::fs::read(whole.join(NATIVE_WEIGHTS_FILE)).unwrap();
    std::fs::write(cut.path().join(NATIVE_WEIGHTS_FILE), &weights[..weights.len() / 2]).unwrap();
    let model = Arc::new(ModelFile::read(cut.path()).unwrap());
    for huge_pages in [true, false] {
        let config = config::Engine { huge_pages, ..config() };
        let error =
            Native::open(&runtime(), cut.path(), Arc::clone(&model), &config).unwrap_err().to_string();
        // From a mapped file it is ONNX Runtime that says it.
        assert!(error.contains(NATIVE_WEIGHTS_FILE) || error.contains(".weight"), "{error}");
    }
}

fn log_probs(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - highest).exp()).sum();
    logits.iter().map(|l| f64::from(l - highest) - total.ln()).collect()
}

/// What 8 bits cost, as `onnx/tests/decoder/smollm2.rs` measures it of the portable graph: the divergence of the next
/// token's distribution from that of fp32.
#[test]
fn it_stays_near_fp32_on_english() {
    /// Tokens of text that are scored together.
    const WINDOW: usize = 256;
    const LEAST_TOKENS: usize = 2000;
    /// The largest mean divergence, in nats.
    const LIMIT: f64 = 0.02;

    let tokens = english();
    let config = config::Engine { context: WINDOW, rows: 2, ..config() };
    let model = Arc::new(ModelFile::read(&fp32_model_dir()).unwrap());
    let vocab = model.model.vocab_size;
    let mut exact = Portable::open(&runtime(), &fp32_model_dir(), model, &config).unwrap();
    let expected: Vec<_> = tokens.chunks(WINDOW).map(|window| all_logits(&mut exact, window, 64)).collect();
    for kv_precision in [KvPrecision::Bf16, KvPrecision::Int8] {
        let config = config::Engine { kv_precision, ..config.clone() };
        let mut native = native(&config);
        let mut divergences: Vec<f64> = Vec::new();
        let (mut surprise, mut native_surprise, mut scored) = (0.0, 0.0, 0_usize);
        for (window, expected) in tokens.chunks(WINDOW).zip(&expected) {
            let found = all_logits(&mut native, window, 64);
            let pairs = expected.chunks_exact(vocab).zip(found.chunks_exact(vocab));
            for (i, (expected, found)) in pairs.enumerate() {
                let (p, q) = (log_probs(expected), log_probs(found));
                divergences.push(p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum());
                if let Some(&next) = window.get(i + 1) {
                    surprise -= p[next as usize];
                    native_surprise -= q[next as usize];
                    scored += 1;
                }
            }
        }
        let count = divergences.len();
        divergences.sort_by(f64::total_cmp);
        let mean = divergences.iter().sum::<f64>() / count as f64;
        let p99 = divergences[count * 99 / 100];
        println!(
            "{kv_precision:?}, {count} tokens: mean KL {mean:.4}, p99 KL {p99:.4}, perplexity {:.2} in fp32 and {:.2} in int8",
            (surprise / scored as f64).exp(),
            (native_surprise / scored as f64).exp(),
        );
        assert!(count == tokens.len() && count >= LEAST_TOKENS, "{count} of {} tokens", tokens.len());
        assert!(mean <= LIMIT, "mean KL {mean}");
        assert!(p99 < 0.2, "p99 KL {p99}");
        // Rounding loses something: a divergence of nothing would mean that the same model ran twice.
        assert!(mean > 1e-5, "mean KL {mean}");
    }
}

#[test]
fn chunks_and_neighbours_change_no_bit() {
    for (kv_precision, threads) in [(KvPrecision::Int8, 0), (KvPrecision::Bf16, 0), (KvPrecision::Int8, 1)] {
        let adapter_precision = AdapterPrecision::F32;
        no_bit_changes(&config::Engine { kv_precision, threads, adapter_precision, ..config() });
    }
}

fn no_bit_changes(config: &config::Engine) {
    let tokens = english();
    let mut decoder = native(config);
    let vocab = decoder.vocab_size();
    let (alone, other) = (&tokens[..48], &tokens[60..160]);
    let expected = all_logits(&mut decoder, alone, 48);
    let expected_of_other = all_logits(&mut decoder, other, 25);
    // In chunks of every length, each beside three other sequences at other positions.
    let mixes = no_mixes(decoder.sequences());
    let mut logits = Logits::default();
    for chunk in [1, 3, 8, 17] {
        for (i, part) in alone.chunks(chunk).enumerate() {
            let mut step = Vec::new();
            for (neighbour, length) in [(1, 1), (5, 4), (2, 9)] {
                for j in 0..length {
                    let position = i * length + j;
                    let Some(token) = other.get(position) else { continue };
                    step.push(StepToken {
                        sequence: neighbour,
                        position,
                        token: *token,
                        wants_logits: neighbour == 5,
                    });
                }
            }
            let skipped = step.iter().filter(|token| token.wants_logits).count();
            for (j, token) in part.iter().enumerate() {
                let position = i * chunk + j;
                step.push(StepToken { sequence: 3, position, token: *token, wants_logits: true });
            }
            decoder.step(Step { tokens: &step, mixes: &mixes }, &mut logits).unwrap();
            for (j, found) in logits.chunks_exact(vocab).take(skipped).enumerate() {
                let expected = &expected_of_other[(i * 4 + j) * vocab..][..vocab];
                assert!(found == expected, "position {} beside chunks of {chunk} differs", i * 4 + j);
            }
            for (j, found) in logits.chunks_exact(vocab).skip(skipped).enumerate() {
                let position = i * chunk + j;
                let expected = &expected[position * vocab..][..vocab];
                assert!(found == expected, "position {position} in chunks of {chunk} differs");
            }
        }
        for sequence in [1, 5, 2, 3] {
            decoder.release(sequence);
        }
    }
}

/// A prompt's chunks want nothing but the last one's last token, which has the bits that it has where all are wanted.
#[test]
fn what_nobody_wants_is_not_missed() {
    let tokens = english();
    let mut decoder = native(&config());
    let vocab = decoder.vocab_size();
    let prompt = &tokens[..50];
    let expected = all_logits(&mut decoder, prompt, 50);
    let (mixes, mut logits) = (no_mixes(decoder.sequences()), Logits::default());
    for chunk in [1, 3, 20] {
        for (i, part) in prompt.chunks(chunk).enumerate() {
            let step: Vec<_> = (i * chunk..)
                .zip(part)
                .map(|(position, token)| {
                    let wants_logits = position + 1 == prompt.len();
                    StepToken { sequence: 0, position, token: *token, wants_logits }
                })
                .collect();
            decoder.step(Step { tokens: &step, mixes: &mixes }, &mut logits).unwrap();
            let wanted = (i + 1) * chunk >= prompt.len();
            assert_eq!(logits.len(), if wanted { vocab } else { 0 });
        }
        assert!(*logits == expected[(prompt.len() - 1) * vocab..], "in chunks of {chunk}");
        decoder.release(0);
    }
}

#[test]
fn a_sequence_stands_in_one_piece() {
    let mut decoder = native(&config());
    let (mixes, mut logits) = (no_mixes(decoder.sequences()), Logits::default());
    let token =
        |sequence: usize, position: usize| StepToken { sequence, position, token: 5, wants_logits: true };
    for wrong in [
        vec![token(0, 0), token(1, 0), token(0, 1)],
        vec![token(0, 0), token(0, 2)],
        vec![token(decoder.sequences(), 0)],
    ] {
        let error = decoder.step(Step { tokens: &wrong, mixes: &mixes }, &mut logits).unwrap_err();
        assert!(error.to_string().contains("sequence"), "{error}");
    }
    let right = [token(0, 0), token(0, 1), token(1, 0)];
    decoder.step(Step { tokens: &right, mixes: &mixes }, &mut logits).unwrap();
}

/// The pool counts an adapter as gone when nobody uses it any more; so the decoder must not keep the last step's.
#[test]
fn a_step_keeps_no_adapter() {
    let model = ModelFile::read(&model_dir()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("adapter_config.json"), r#"{"peft_type":"LORA","r":1,"lora_alpha":1}"#)
        .unwrap();
    let ones = bytemuck::cast_slice::<f32, u8>(&[1.0; 576]).to_vec();
    let views: HashMap<_, _> = [("A", vec![1, 576]), ("B", vec![576, 1])]
        .into_iter()
        .map(|(factor, shape)| {
            let name = format!("model.layers.3.self_attn.q_proj.lora_{factor}.weight");
            (name, TensorView::new(Dtype::F32, shape, &ones).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &dir.path().join("adapter_model.safetensors")).unwrap();
    let adapter = Adapter::load("a", dir.path(), &model.graph, model.model.layers).unwrap();
    let adapter = Arc::new(adapter.into_packed(AdapterPrecision::Int8));
    let packed = Arc::downgrade(adapter.packed().unwrap());

    let mut decoder = native(&config());
    let mixes = vec![Arc::new(vec![(adapter, 1.0)])];
    let mut logits = Logits::default();
    let token = StepToken { sequence: 0, position: 0, token: 5, wants_logits: true };
    decoder.step(Step { tokens: &[token], mixes: &mixes }, &mut logits).unwrap();
    assert!(packed.upgrade().is_some());
    drop(mixes);
    assert!(packed.upgrade().is_none(), "the decoder still has it");
}
