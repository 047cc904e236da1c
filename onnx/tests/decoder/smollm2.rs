//! The default model itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use npc_onnx::{ModelFile, Precision};
use tokenizers::Tokenizer;

use crate::support::candle::Reference;
use crate::support::runner::{Run, Runner};
use crate::support::{best, gguf, import, log_softmax};

/// Where the two best logits are nearer than this, either token is right.
const TIE: f32 = 1e-3;

/// Tokens of text that are scored together.
const WINDOW: usize = 256;

/// The model imported in a precision: once for all tests of a run.
fn model(precision: Precision) -> PathBuf {
    static IMPORTED: Mutex<Vec<Precision>> = Mutex::new(Vec::new());
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smollm2");
    let mut imported = IMPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if imported.contains(&precision) {
        return parent.join(precision.as_str());
    }
    // What an earlier run left there may be from other code.
    let _ = fs::remove_dir_all(parent.join(precision.as_str()));
    let folder = import(&gguf(), &parent, precision);
    imported.push(precision);
    folder
}

fn tokens(folder: &Path, text: &str) -> Vec<u32> {
    let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).expect("the tokenizer reads");
    tokenizer.encode(text, false).expect("the text encodes").get_ids().to_vec()
}

/// Eight prompts, each continued for 64 tokens: in one batch here, one after another in candle.
#[test]
fn greedy_text_is_that_of_candle() {
    const PROMPTS: [&str; 8] = [
        "The old vampire looked at the guest and said:",
        "<|im_start|>user\nWho are you, and where were you born?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nList three things that a ghoul would eat.<|im_end|>\n<|im_start|>assistant\n",
        "In 1897, a book about a count from Transylvania",
        "def fibonacci(n):\n    \"\"\"Return the n-th number.\"\"\"\n",
        "Water boils at",
        "<|im_start|>system\nYou are a lich who speaks in riddles.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n",
        "Once upon a time, in a village under the mountain, there lived a werewolf who",
    ];
    const LENGTH: usize = 64;

    let folder = model(Precision::Fp32);
    let prompts = PROMPTS.map(|prompt| tokens(&folder, prompt));
    let mut runner = Runner::open(&folder, PROMPTS.len(), 160);
    let mut reference = Reference::from_gguf(&gguf());
    let mut rows: Vec<Vec<u32>> = prompts.to_vec();
    // The reference's greedy text, and how far ahead each token was of the next best.
    let expected: Vec<Vec<(u32, f32)>> = prompts
        .iter()
        .map(|prompt| {
            reference.reset();
            let mut past = prompt.len();
            let mut token = best(&reference.forward(prompt, 0));
            let mut text = vec![token];
            while text.len() < LENGTH {
                token = best(&reference.forward(&[token.0], past));
                text.push(token);
                past += 1;
            }
            text
        })
        .collect();

    let mut logits: Vec<Vec<f32>> = Vec::new();
    for (row, prompt) in prompts.iter().enumerate() {
        logits.extend(runner.run_for(&Run::plain(row, &[&prompt[..]], &[0]), &[prompt.len() - 1]));
    }
    let mut ties = 0;
    #[allow(clippy::needless_range_loop)] // A step is a column of `expected`, a row for each prompt.
    for step in 0..LENGTH {
        for (row, (logits, expected)) in logits.iter().zip(&expected).enumerate() {
            let (token, lead) = expected[step];
            let found = best(logits).0;
            if found != token {
                assert!(
                    lead <= TIE,
                    "prompt {row}, token {step}: {found} instead of {token}, which led by {lead}"
                );
                ties += 1;
            }
            rows[row].push(token);
        }
        let past: Vec<usize> = rows.iter().map(|row| row.len() - 1).collect();
        let next: Vec<&[u32]> = rows.iter().map(|row| &row[row.len() - 1..]).collect();
        logits = runner.run(&Run::plain(0, &next, &past));
    }
    println!("{} prompts of {LENGTH} tokens: {ties} ties, no other difference", PROMPTS.len());
}

/// What 8 bits cost: the divergence of the next token's distribution from that of fp32.
#[test]
fn int8_stays_near_fp32_on_english() {
    /// The largest mean divergence, in nats.
    const LIMIT: f64 = 0.02;
    const LEAST_TOKENS: usize = 2000;

    let (exact, quantized) = (model(Precision::Fp32), model(Precision::Int8));
    let text = tokens(&exact, include_str!("../data/english.txt"));
    let mut exact = Runner::open(&exact, 1, WINDOW);
    let mut quantized = Runner::open(&quantized, 1, WINDOW);
    let mut divergences = Vec::new();
    let (mut surprise, mut quantized_surprise, mut scored) = (0.0, 0.0, 0_usize);
    for window in text.chunks(WINDOW) {
        let expected = exact.run(&Run::plain(0, &[window], &[0]));
        let found = quantized.run(&Run::plain(0, &[window], &[0]));
        for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let (p, q) = (log_softmax(expected), log_softmax(found));
            divergences.push(p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>());
            if let Some(&next) = window.get(i + 1) {
                surprise -= p[next as usize];
                quantized_surprise -= q[next as usize];
                scored += 1;
            }
        }
    }
    let count = divergences.len();
    divergences.sort_by(f64::total_cmp);
    let mean = divergences.iter().sum::<f64>() / count as f64;
    println!(
        "{count} tokens: mean KL {mean:.4}, p99 KL {:.4}, perplexity {:.2} in fp32 and {:.2} in int8",
        divergences[count * 99 / 100],
        (surprise / scored as f64).exp(),
        (quantized_surprise / scored as f64).exp(),
    );
    assert!(count >= LEAST_TOKENS, "only {count} tokens");
    assert!(mean <= LIMIT, "mean KL {mean}");
    // Rounding loses something: a divergence of nothing would mean that the same model ran twice.
    assert!(mean > 1e-5, "mean KL {mean}");
}

/// The embedding and the output layer are one matrix, and the file holds it once.
#[test]
fn tied_weights_are_stored_once() {
    for precision in [Precision::Int8, Precision::Fp32] {
        let folder = model(precision);
        let ModelFile { model, graph, .. } = ModelFile::read(&folder).unwrap();
        let linear: usize = graph.groups.iter().map(|group| group.inputs * group.outputs).sum();
        let weights = model.vocab_size * model.hidden_size + model.layers * linear;
        // A byte and a 32nd of a scale for each weight.
        let bytes = if precision == Precision::Int8 { weights + weights / 8 } else { 4 * weights };
        let tables = model.max_position * model.head_dim * 4;
        let page = 4096;
        let tensors = 2 * (4 * model.layers + 2);
        let size = fs::metadata(folder.join("weights.bin")).unwrap().len() as usize;
        let least = bytes + tables;
        assert!(
            (least..least + tensors * page).contains(&size),
            "{precision}: {size} bytes, and {least} to {} are expected",
            least + tensors * page
        );
        println!("{precision}: weights.bin has {:.1} MB", size as f64 / 1e6);
    }
}
