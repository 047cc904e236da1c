//! An adapter that was trained is served as it was trained: the trainer's own forward pass in floats and the native decoder
//! in eight bits find the same perplexity.

use std::path::Path;
use std::sync::Arc;

use npc_gateway::archetype::{Packs, Task};
use npc_gateway::config;
use npc_gateway::engine::{Adapter, Decoder, Logits, Native, Step, StepToken, Tokenizer};
use npc_gateway::training::{Items, Lines, lora};
use npc_onnx::ModelFile;
use npc_trainer::{Base, Device, Model};

use super::support::{config, model_dir, runtime};

/// ln p of a token by a row of logits.
fn log_prob(logits: &[f32], token: u32) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - highest).exp()).sum();
    f64::from(logits[token as usize] - highest) - total.ln()
}

#[test]
fn what_is_served_is_what_was_trained() {
    /// The largest difference of the two perplexities, as a share.
    const LIMIT: f64 = 0.02;
    let (folder, task) = (Path::new("adapters"), Task::DialogueStyle);
    let packs = Packs::load(Some(folder)).unwrap();
    let file = Arc::new(ModelFile::read(&model_dir()).unwrap());
    let base = Base::load(&model_dir(), &Device::Cpu).unwrap();
    let tokenizer = Tokenizer::load(&model_dir(), &file.model).unwrap();
    let config = config::Engine { context: 512, rows: 2, ..config() };
    let mut native = Native::open(&runtime(), &model_dir(), Arc::clone(&file), &config).unwrap();
    let vocab = native.vocab_size();
    for name in ["vampire", "zombie"] {
        let pack = packs.get(name).unwrap();
        let lines = Lines::read(folder, pack, task).unwrap();
        let mut examples = Items::new(&lines, pack, &tokenizer, 512).unwrap().held_out();
        examples.truncate(12);
        let of = pack.adapters()[&task].clone();
        let adapter = Adapter::load(&of.id, &of.dir, &file.graph, file.model.layers).unwrap();
        let trained = lora(&base, &adapter, &file.graph).unwrap();
        let model = Model::new(&base);
        let total = |measured: Vec<npc_trainer::Measured>| measured.iter().map(|m| m.log_prob).sum::<f64>();
        let without = total(model.measure(&[], &examples).unwrap());
        let with = total(model.measure(&[(&trained, 1.0)], &examples).unwrap());
        adapter.pack(config.adapter_precision);
        let mix = Arc::new(vec![(Arc::new(adapter), 1.0)]);
        let mixes = vec![mix; native.sequences()];
        let (mut served, mut count, mut logits) = (0.0, 0, Logits::default());
        for example in &examples {
            let step: Vec<StepToken> = example
                .tokens
                .iter()
                .enumerate()
                .map(|(position, token)| StepToken {
                    sequence: 0,
                    position,
                    token: *token,
                    wants_logits: true,
                })
                .collect();
            native.step(Step { tokens: &step, mixes: &mixes }, &mut logits).unwrap();
            native.release(0);
            for (at, row) in logits.chunks_exact(vocab).enumerate() {
                if example.learned.get(at + 1) == Some(&true) {
                    served += log_prob(row, example.tokens[at + 1]);
                    count += 1;
                }
            }
        }
        let perplexity = |sum: f64| (-sum / f64::from(count)).exp();
        let [without, with, served] = [without, with, served].map(perplexity);
        println!("{name}: {with:.3} in floats, {served:.3} served; without the adapter {without:.3}");
        assert!((served / with - 1.0).abs() <= LIMIT, "{with} in training, {served} served");
        assert!(with < 0.75 * without, "{with} with the adapter, {without} without");
    }
}
