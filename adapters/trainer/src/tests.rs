//! The computation against others that know nothing of it: differences, candle's own Llama, each example by itself.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama};
use safetensors::SafeTensors;

use crate::base::PROJECTIONS;
use crate::batch::{Batch, common_prefix};
use crate::lora::Factors;
use crate::model::{chunks, module, prefixes};
use crate::testing::{THETA, base, examples, lora, rng};
use crate::{
    Base, Below, Data, Example, Lora, LoraConfig, Measured, Model, Part, Settings, TrainError, Training,
};

fn total(measured: &[Measured]) -> f64 {
    measured.iter().map(|m| m.log_prob).sum()
}

#[test]
fn gradients_are_those_of_differences() {
    let base = base();
    let lora = lora(&base, 0, 3);
    let model = Model::new(&base);
    let examples = examples(5, 1, 11);
    let members: Vec<&Example> = examples.iter().collect();
    let batch = model.batch(&members, common_prefix(members.iter().copied())).unwrap();
    let loss = || {
        let context = model.context(&batch).unwrap();
        let hidden = model.layers(&model.embed(&batch).unwrap(), &context, 0..3, &[(&lora, 1.0)]).unwrap();
        model.log_probs(&hidden, &batch).unwrap().sum_all().unwrap()
    };
    let gradients = loss().backward().unwrap();
    let vars = lora.vars();
    assert_eq!(vars.len(), 3 * 7 * 2);
    for var in &vars {
        let gradient = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // Along the gradient, where the difference is largest beside the rounding.
        let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        let moved = |by: f32| {
            let values: Vec<f32> = values.iter().zip(&gradient).map(|(v, g)| v + by * g / norm).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
            f64::from(loss().to_scalar::<f32>().unwrap())
        };
        let step = 0.01;
        let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        moved(0.0);
        let wanted = f64::from(norm);
        assert!((slope - wanted).abs() <= 0.01 * wanted + 1e-3, "{slope} along a gradient of {wanted}");
    }
}

/// The adapter's products added to the base's weights, under the names of Hugging Face's Llama.
fn merged(base: &Base, lora: &Lora, weight: f64) -> VarBuilder<'static> {
    let mut tensors = std::collections::HashMap::new();
    tensors.insert("model.embed_tokens.weight".to_owned(), base.embedding.clone());
    tensors.insert("model.norm.weight".to_owned(), base.final_norm.clone());
    for (i, layer) in base.layers.iter().enumerate() {
        let at = format!("model.layers.{i}");
        tensors.insert(format!("{at}.input_layernorm.weight"), layer.input_norm.clone());
        tensors.insert(format!("{at}.post_attention_layernorm.weight"), layer.post_norm.clone());
        for (p, linear) in layer.linears.iter().enumerate() {
            let mut matrix = linear.weight.tensor().clone();
            if let Some(Factors { a, b, scale }) = &lora.layers[i][p] {
                matrix = (matrix + (b.matmul(a).unwrap() * (scale * weight)).unwrap()).unwrap();
            }
            tensors.insert(format!("{at}.{}.{}.weight", module(p), PROJECTIONS[p].0), matrix);
        }
    }
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// Σ ln p of the learned tokens by candle's own Llama.
fn by_candle(llama: &Llama, config: &Config, example: &Example) -> f64 {
    let mut sum = 0.0;
    for at in (1..example.tokens.len()).filter(|at| example.learned[*at]) {
        let mut cache = Cache::new(false, DType::F32, config, &Device::Cpu).unwrap();
        let tokens = Tensor::new(&example.tokens[..at], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = llama.forward(&tokens, 0, &mut cache).unwrap();
        let log = candle_nn::ops::log_softmax(&logits, 1).unwrap().squeeze(0).unwrap();
        sum += f64::from(log.to_vec1::<f32>().unwrap()[example.tokens[at] as usize]);
    }
    sum
}

#[test]
fn the_result_is_that_of_merged_weights_in_another_implementation() {
    let base = base();
    let lora = lora(&base, 1, 5);
    let config = Config {
        hidden_size: 32,
        intermediate_size: 48,
        vocab_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        use_flash_attn: false,
        rms_norm_eps: 1e-5,
        rope_theta: THETA,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 64,
        tie_word_embeddings: true,
    };
    let examples = examples(9, 2, 1);
    for weight in [0.0, 1.0, -0.5] {
        let llama = Llama::load(merged(&base, &lora, weight), &config).unwrap();
        let measured = Model::new(&base).measure(&[(&lora, weight)], &examples).unwrap();
        for (example, measured) in examples.iter().zip(measured) {
            let wanted = by_candle(&llama, &config, example);
            assert!((measured.log_prob - wanted).abs() < 2e-4, "{} and {wanted}", measured.log_prob);
            assert_eq!(measured.tokens, example.targets());
        }
    }
}

#[test]
fn side_by_side_is_as_alone() {
    let base = base();
    let lora = lora(&base, 0, 5);
    let model = Model::new(&base);
    let together = examples(12, 2, 4);
    let measured = model.measure(&[(&lora, 0.7)], &together).unwrap();
    for (example, measured) in together.iter().zip(measured) {
        let alone = model.measure(&[(&lora, 0.7)], std::slice::from_ref(example)).unwrap();
        assert!((alone[0].log_prob - measured.log_prob).abs() < 1e-4);
    }
}

#[test]
fn a_row_sees_what_is_near_of_the_beginning_and_of_its_own_example() {
    let example = |tokens: &[u32]| Example::answer(&tokens[..4], &tokens[4..], 0);
    let (a, b) = (example(&[2, 3, 4, 5, 6]), example(&[2, 3, 4, 7, 8, 9]));
    for window in [None, Some(2), Some(4), Some(64)] {
        let batch = Batch::new(&[&a, &b], 3, window, &Device::Cpu).unwrap();
        let positions = batch.positions.to_vec1::<u32>().unwrap();
        assert_eq!(positions, [0, 1, 2, 3, 4, 3, 4, 5]);
        // The beginning is nobody's.
        let owners = [0, 0, 0, 1, 1, 2, 2, 2];
        for row in 0..positions.len() {
            let wanted: Vec<usize> = (0..=row)
                .filter(|column| owners[*column] == 0 || owners[*column] == owners[row])
                .filter(|column| {
                    window.is_none_or(|window| positions[row] - positions[*column] < window as u32)
                })
                .collect();
            let seen: Vec<usize> = batch.spans[row].iter().cloned().flatten().collect();
            assert_eq!(seen, wanted, "row {row} with {window:?}");
        }
        let rows = batch.rows.to_vec1::<u32>().unwrap();
        let asked: Vec<_> = rows.iter().map(|row| batch.spans[*row as usize].clone()).collect();
        assert_eq!(*batch.asked_spans, *asked);
    }
}

#[test]
fn chunks_hold_every_example_once_and_one_group_each() {
    let examples = examples(50, 3, 2);
    let order: Vec<usize> = (0..50).rev().collect();
    let chunks = chunks(&examples, &order, &prefixes(&examples), 7);
    let mut seen: Vec<usize> = chunks.iter().flat_map(|chunk| chunk.members.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    for chunk in chunks {
        assert!(chunk.members.len() <= 7 && chunk.prefix >= 6);
        assert!(chunk.members.iter().all(|at| examples[*at].group == examples[chunk.members[0]].group));
    }
}

fn settings(epochs: usize) -> Settings {
    Settings { epochs, batch: 4, learning_rate: 0.02, patience: 50, ..Settings::default() }
}

fn data(examples: Vec<Example>, held_out: Vec<Example>) -> Data {
    Data { examples, held_out }
}

fn config(base: &Base) -> LoraConfig {
    LoraConfig { rank: 4, alpha: 8.0, first_layer: 1, ..LoraConfig::for_base(base) }
}

#[test]
fn what_is_learned_becomes_likely() {
    let base = base();
    let examples = examples(12, 2, 9);
    let mut training =
        Training::new(&base, config(&base), settings(30), data(examples.clone(), Vec::new())).unwrap();
    let mut losses = Vec::new();
    let (lora, outcome) = training
        .run(None, &mut |told| {
            losses.push(told.loss);
            true
        })
        .unwrap();
    assert_eq!((outcome.epochs, outcome.steps), (30, losses.len()));
    let model = Model::new(&base);
    let (before, after) = (
        total(&model.measure(&[], &examples).unwrap()),
        total(&model.measure(&[(&lora, 1.0)], &examples).unwrap()),
    );
    assert!(after > before * 0.3, "ln p was {before} and is {after}");
    assert!(losses.last().unwrap() < &(losses[0] * 0.4));
}

#[test]
fn the_best_epoch_is_kept_and_it_ends_early() {
    let base = base();
    // Nothing that is held out can be learned from these.
    let (learned, held_out) = (examples(8, 1, 1), examples(6, 1, 2));
    let settings = Settings { patience: 2, ..settings(40) };
    let mut training =
        Training::new(&base, config(&base), settings, data(learned, held_out.clone())).unwrap();
    let mut last = (0, 1);
    let (lora, outcome) = training
        .run(None, &mut |told| {
            last = (told.step, told.steps);
            true
        })
        .unwrap();
    assert_eq!(last, (outcome.steps, outcome.steps), "its last word is that it is done");
    assert!(outcome.epochs < 40 && outcome.epochs <= outcome.best_epoch + 2, "{outcome:?}");
    let measured = Model::new(&base).measure(&[(&lora, 1.0)], &held_out).unwrap();
    let tokens: usize = measured.iter().map(|m| m.tokens).sum();
    assert!((-total(&measured) / tokens as f64 - outcome.loss).abs() < 1e-5, "{outcome:?}");
    assert!(outcome.loss <= outcome.base_loss);
}

#[test]
fn a_training_that_was_stopped_ends_as_one_that_was_not() {
    let base = base();
    let (learned, held_out) = (examples(10, 2, 1), examples(4, 2, 1));
    let training =
        || Training::new(&base, config(&base), settings(4), data(learned.clone(), held_out.clone())).unwrap();
    let (whole, outcome) = training().run(None, &mut |_| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for stop_at in [2, 5, 8] {
        let stopped = training().run(Some(folder.path()), &mut |told| told.step < stop_at).unwrap_err();
        assert!(matches!(stopped, TrainError::Stopped));
    }
    let (resumed, again) = training().run(Some(folder.path()), &mut |_| true).unwrap();
    assert_eq!(outcome, again);
    for (a, b) in whole.vars().iter().zip(resumed.vars()) {
        let values = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(a), values(&b));
    }
    // Another training does not go on with it.
    let other = Settings { seed: 2, ..settings(4) };
    let mut other =
        Training::new(&base, config(&base), other, data(learned.clone(), held_out.clone())).unwrap();
    let mut first = None;
    other.run(Some(folder.path()), &mut |told| *first.get_or_insert(told.step) > 0).unwrap();
    assert_eq!(first, Some(1));
}

#[test]
fn a_training_on_what_was_computed_before_is_the_same() {
    let base = base();
    let all = examples(24, 2, 1);
    let below = Arc::new(Below::new(&base, 1, &all).unwrap());
    // Also one that all of its group have more in common than the others have.
    for learned in [all[..12].to_vec(), all[6..8].to_vec()] {
        let training =
            || Training::new(&base, config(&base), settings(4), data(learned.clone(), Vec::new())).unwrap();
        let (own, _) = training().run(None, &mut |_| true).unwrap();
        let (shared, _) = training().on(Arc::clone(&below)).unwrap().run(None, &mut |_| true).unwrap();
        for (a, b) in own.vars().iter().zip(shared.vars()) {
            let apart = (a.as_tensor() - b.as_tensor()).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 2e-3);
        }
    }
    let refused = |training: Training<'_>| training.on(Arc::clone(&below)).unwrap_err().to_string();
    let other = examples(3, 1, 9);
    let missing = Training::new(&base, config(&base), settings(1), data(other, Vec::new())).unwrap();
    assert!(refused(missing).contains("missing"));
    let config = LoraConfig { first_layer: 2, ..config(&base) };
    let higher = Training::new(&base, config, settings(1), data(all.clone(), Vec::new())).unwrap();
    assert!(refused(higher).contains("other layers"));
}

#[test]
fn what_peft_reads_is_what_was_trained() {
    let base = base();
    let lora = lora(&base, 1, 8);
    let folder = tempfile::tempdir().unwrap();
    lora.save(&base, folder.path()).unwrap();
    let config = std::fs::read_to_string(folder.path().join("adapter_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&3.into(), &6.0.into()));
    assert_eq!(config["layers_to_transform"], serde_json::json!([1, 2]));
    let scale = 2.0;
    let bytes = std::fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let view = tensors.tensor(name).unwrap();
        view.data().as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()
    };
    let mut parts = Vec::new();
    for layer in 1..3 {
        for (projection, module) in PROJECTIONS {
            let at = format!("base_model.model.model.layers.{layer}.{module}.{projection}");
            let b = floats(&format!("{at}.lora_B.weight")).iter().map(|value| value * scale).collect();
            let a = floats(&format!("{at}.lora_A.weight"));
            parts.push(Part { layer, projection: projection.to_owned(), rank: 3, a, b });
        }
    }
    assert_eq!(tensors.len(), parts.len() * 2);
    let read = Lora::from_parts(&base, parts.clone()).unwrap();
    let examples = examples(6, 1, 3);
    let model = Model::new(&base);
    let (own, read) = (
        total(&model.measure(&[(&lora, 1.0)], &examples).unwrap()),
        total(&model.measure(&[(&read, 1.0)], &examples).unwrap()),
    );
    assert!((own - read).abs() < 0.05 * own.abs() / 10.0, "{own} and {read}");
    parts[0].rank = 4;
    assert!(Lora::from_parts(&base, parts).unwrap_err().to_string().contains("q_proj of layer 1"));
}

#[test]
fn bad_settings_and_examples_are_named() {
    let base = base();
    let good = examples(3, 1, 1);
    let refused = |config: LoraConfig, settings: Settings, examples: Vec<Example>| {
        Training::new(&base, config, settings, data(examples, Vec::new())).unwrap_err().to_string()
    };
    let with = |change: fn(&mut LoraConfig)| {
        let mut config = config(&base);
        change(&mut config);
        refused(config, settings(1), good.clone())
    };
    assert!(with(|c| c.rank = 0).starts_with("rank is 0"));
    assert!(with(|c| c.alpha = f64::NAN).starts_with("alpha"));
    assert!(with(|c| c.first_layer = 3).contains("3 layers"));
    assert!(with(|c| c.targets = vec!["lm_head".into()]).contains("lm_head"));
    assert!(with(|c| c.targets.clear()).contains("empty"));
    let set = |change: fn(&mut Settings)| {
        let mut settings = settings(1);
        change(&mut settings);
        refused(config(&base), settings, good.clone())
    };
    assert!(set(|s| s.epochs = 0).starts_with("epochs is 0"));
    assert!(set(|s| s.batch = 300).contains("1 to 256"));
    assert!(set(|s| s.learning_rate = f64::INFINITY).starts_with("learning_rate"));
    let example = |tokens: Vec<u32>, learned: Vec<bool>| {
        refused(config(&base), settings(1), vec![Example { tokens, learned, group: 0 }])
    };
    assert!(example(vec![1, 99], vec![false, true]).contains("token 99"));
    assert!(example(vec![1, 2], vec![false, false]).contains("no token that is learned"));
    let many = |count: usize| {
        let mut base = base.clone();
        base.config.max_position = 4096;
        let learned = (0..count).map(|at| at > 0).collect();
        let examples = vec![Example { tokens: vec![1; count], learned, group: 0 }];
        Training::new(&base, config(&base), settings(1), data(examples, Vec::new())).unwrap_err().to_string()
    };
    assert!(many(1025).contains("at most 1024 are trained on"));
    assert!(example(vec![1; 65], (0..65).map(|at| at > 60).collect()).contains("65 tokens"));
    assert!(example(vec![1, 2], vec![true, true]).contains("first"));
    assert!(refused(config(&base), settings(1), Vec::new()).contains("no examples"));
    let wild = Settings { learning_rate: 1.0, clip: 1e6, ..settings(200) };
    let mut wild = Training::new(&base, config(&base), wild, data(good.clone(), Vec::new())).unwrap();
    // It may diverge or not; it does not panic.
    drop(wild.run(None, &mut |told| told.loss.is_finite()));
    let _ = rng(0);
}
