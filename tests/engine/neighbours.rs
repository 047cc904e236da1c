//! Same input, same output: an answer does not depend on what else is computed beside it.
//!
//! Lines are answered one after another by an engine that does nothing else, and again in a batch that is full
//! of other requests, which come and go at random. The native decoder promises the same answers, token for token; of
//! the portable one it is only counted.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use npc_gateway::config::{self, AdapterPrecision, DecoderKind};
use npc_gateway::engine::{
    Choose, Engine, Event, FinishReason, Generate, Generation, Mix, Sampling, Schedule, Weighted,
};
use npc_onnx::{ModelFile, NATIVE_GRAPH_FILE};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

use super::support::{config, greedy, library, model_dir, prompt};

/// Longest answer of a line, in tokens.
const ANSWER: u32 = 24;
const ROWS: usize = 16;
/// Others that always want a row, and callers of the lines: more than there are rows.
const OTHERS: usize = 7;
const CALLERS: usize = 12;

/// Rank and targets of the adapters.
const ADAPTERS: [(usize, &[&str]); 4] = [
    (4, &["q_proj", "k_proj", "v_proj", "o_proj"]),
    (8, &["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]),
    (16, &["q_proj", "k_proj"]),
    (8, &["v_proj", "down_proj"]),
];

const ENGLISH: &str = include_str!("../../onnx/tests/data/english.txt");

/// A PEFT folder of noise, enough of it to change what the model says.
fn write_adapter(dir: &Path, model: &ModelFile, seed: u64, rank: usize, targets: &[&str]) {
    let config =
        serde_json::json!({"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": targets});
    std::fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut factors = Vec::new();
    for layer in 0..model.model.layers {
        for group in &model.graph.groups {
            let part = if matches!(&*group.name, "qkv" | "o") { "self_attn" } else { "mlp" };
            for projection in group.projections.iter().filter(|p| targets.contains(&&*p.name)) {
                let name = format!("base_model.model.model.layers.{layer}.{part}.{}", projection.name);
                for (factor, shape) in [("A", [rank, group.inputs]), ("B", [projection.size, rank])] {
                    let numbers: Vec<f32> =
                        (0..shape[0] * shape[1]).map(|_| (rng.random::<f32>() - 0.5) * 0.06).collect();
                    factors.push((format!("{name}.lora_{factor}.weight"), shape, numbers));
                }
            }
        }
    }
    let views: HashMap<String, TensorView<'_>> = factors
        .iter()
        .map(|(name, shape, numbers)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(numbers));
            (name.clone(), view.unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &dir.join("adapter_model.safetensors")).unwrap();
}

/// An engine with the adapters.
async fn start(config: &config::Engine) -> Engine {
    let engine = Engine::start(&model_dir(), &library(), config).unwrap();
    for (i, (rank, targets)) in ADAPTERS.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        write_adapter(dir.path(), engine.model(), i as u64, rank, targets);
        engine.load_adapter(&i.to_string(), dir.path()).await.unwrap();
    }
    engine
}

fn settings(decoder: DecoderKind, rows: usize, kept_conversations: usize) -> config::Engine {
    let adapter_precision = AdapterPrecision::Bf16;
    config::Engine { decoder, rows, kept_conversations, adapter_precision, queue: 64, ..config() }
}

/// Some of an English text, from anywhere in it.
fn passage(tokens: &[u32], rng: &mut ChaCha8Rng, longest: usize) -> Vec<u32> {
    let length = rng.random_range(4..=longest);
    let start = rng.random_range(0..tokens.len() - length);
    tokens[start..start + length].to_vec()
}

/// No adapter, or several of them with weights of their own.
fn mix(rng: &mut ChaCha8Rng) -> Mix {
    let mut ids: Vec<usize> = (0..ADAPTERS.len()).collect();
    let count = rng.random_range(0..=ADAPTERS.len());
    (0..count)
        .map(|_| Weighted {
            adapter: ids.swap_remove(rng.random_range(0..ids.len())).to_string().into(),
            weight: rng.random_range(-1.0..1.5),
        })
        .collect()
}

/// Greedy, or drawn with a seed.
fn sampling(rng: &mut ChaCha8Rng, seeded: bool) -> Sampling {
    let seed = Some(rng.random());
    if seeded {
        Sampling { greedy: false, temperature: 0.9, top_p: 0.95, seed, ..greedy() }
    } else {
        greedy()
    }
}

fn lines(engine: &Engine, count: usize) -> Vec<Generate> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let english = engine.tokenizer().encode_text(ENGLISH);
    (0..count)
        .map(|i| Generate {
            prompt: passage(&english, &mut rng, 60),
            mix: mix(&mut rng),
            sampling: sampling(&mut rng, i % 2 == 1),
            max_tokens: ANSWER,
            ..prompt(engine, "")
        })
        .collect()
}

/// What a request got: its pieces of text with the tokens of each, why it ended, and how many tokens that took.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    pieces: Vec<(String, u32)>,
    reason: FinishReason,
    tokens: u32,
}

impl Answer {
    async fn of(mut generation: Generation) -> Self {
        let mut pieces = Vec::new();
        while let Some(event) = generation.next().await {
            match event {
                Event::Started { .. } => {}
                Event::Text { text, tokens } => pieces.push((text, tokens)),
                Event::Finished { reason, usage } => {
                    return Self { pieces, reason, tokens: usage.generated_tokens };
                }
                Event::Failed { error } => panic!("{error}"),
            }
        }
        panic!("the stream ended without an end");
    }

    fn text(&self) -> String {
        self.pieces.iter().map(|(text, _)| text.as_str()).collect()
    }
}

/// Every line on its own, in an engine that has one row and keeps nothing.
async fn alone(decoder: DecoderKind, count: usize) -> Vec<Answer> {
    let engine = start(&settings(decoder, 1, 0)).await;
    let mut answers = Vec::new();
    for line in lines(&engine, count) {
        answers.push(Answer::of(engine.generate(line).unwrap()).await);
    }
    answers
}

/// Sends one request after another until it is told to end: lines of any length, some left in the middle, and choices.
async fn disturb(engine: Engine, seed: u64, over: Arc<AtomicBool>, left: Arc<AtomicUsize>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let english = engine.tokenizer().encode_text(ENGLISH);
    while !over.load(Ordering::Relaxed) {
        let seeded = rng.random();
        let request = Generate {
            prompt: passage(&english, &mut rng, 100),
            mix: mix(&mut rng),
            sampling: sampling(&mut rng, seeded),
            max_tokens: rng.random_range(1..40),
            ..prompt(&engine, "")
        };
        if rng.random_bool(0.1) {
            let options = [" gold", " a red horse", " nothing"].map(str::to_owned).to_vec();
            let Generate { prompt, mix, .. } = request;
            engine.choose(Choose { prompt, mix, options, schedule: Schedule::default() }).await.unwrap();
            continue;
        }
        let cancelled = rng.random_bool(0.3);
        let events = if cancelled { rng.random_range(0..12) } else { usize::MAX };
        let mut generation = engine.generate(request).unwrap();
        for _ in 0..events {
            if generation.next().await.is_none() {
                break;
            }
        }
        left.fetch_add(usize::from(cancelled), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..5))).await;
    }
}

/// Every line in a batch that is full of others. Also returns the most rows that were seen to compute at once.
async fn in_a_crowd(decoder: DecoderKind, count: usize) -> (Vec<Answer>, usize) {
    let engine = start(&settings(decoder, ROWS, 8)).await;
    let over = Arc::new(AtomicBool::new(false));
    let left = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..OTHERS)
        .map(|i| tokio::spawn(disturb(engine.clone(), 100 + i as u64, Arc::clone(&over), Arc::clone(&left))))
        .collect();
    let queue: Arc<Mutex<VecDeque<_>>> =
        Arc::new(Mutex::new(lines(&engine, count).into_iter().enumerate().collect()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|i| {
            let (engine, queue) = (engine.clone(), Arc::clone(&queue));
            let mut rng = ChaCha8Rng::seed_from_u64(200 + i as u64);
            tokio::spawn(async move {
                let (mut answers, mut most) = (Vec::new(), 0);
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some((number, line)) = next else { return (answers, most) };
                    tokio::time::sleep(Duration::from_millis(rng.random_range(0..40))).await;
                    let generation = engine.generate(line).unwrap();
                    most = most.max(engine.stats().live);
                    answers.push((number, Answer::of(generation).await));
                    most = most.max(engine.stats().live);
                }
            })
        })
        .collect();
    let (mut answers, mut most) = (Vec::new(), 0);
    for caller in callers {
        let (some, rows) = caller.await.unwrap();
        answers.extend(some);
        most = most.max(rows);
    }
    over.store(true, Ordering::Relaxed);
    for other in others {
        other.await.unwrap();
    }
    assert!(left.load(Ordering::Relaxed) > 0, "nobody left in the middle");
    answers.sort_by_key(|(number, _)| *number);
    (answers.into_iter().map(|(_, answer)| answer).collect(), most)
}

/// The lines that were answered otherwise in a crowd than alone.
async fn different(decoder: DecoderKind, count: usize) -> Vec<(Answer, Answer)> {
    let alone = alone(decoder, count).await;
    let (crowd, rows) = in_a_crowd(decoder, count).await;
    assert_eq!((alone.len(), crowd.len()), (count, count));
    assert_eq!(rows, ROWS, "the batch was never full");
    // The lines must be of some length and differ from each other, or their being the same would prove little.
    assert!(alone.iter().map(|answer| answer.tokens).sum::<u32>() > count as u32 * ANSWER / 2);
    let texts: std::collections::HashSet<_> = alone.iter().map(Answer::text).collect();
    assert!(texts.len() > count * 9 / 10, "{texts:?}");
    alone.into_iter().zip(crowd).filter(|(alone, crowd)| alone != crowd).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_does_not_change_an_answer() {
    assert!(model_dir().join(NATIVE_GRAPH_FILE).is_file());
    let auto = Engine::start(&model_dir(), &library(), &settings(DecoderKind::Auto, 1, 0)).unwrap();
    if auto.decoder() != "native" {
        println!("skipped: this processor has no vector instructions that the native decoder knows");
        return;
    }
    drop(auto);
    let different = different(DecoderKind::Native, 50).await;
    assert!(different.is_empty(), "{} differ: {different:#?}", different.len());
}

/// The portable decoder does not promise it: how often an answer differs is shown, not bounded.
#[tokio::test(flavor = "multi_thread")]
async fn the_batch_may_change_an_answer_of_the_portable_decoder() {
    let different = different(DecoderKind::Portable, 25).await;
    for (alone, crowd) in &different {
        println!("{:?} alone, {:?} in a crowd", alone.text(), crowd.text());
    }
    println!("portable: {} of 25 answers differ in a crowd", different.len());
}
