//! More adapters than there is memory for, and keys and values that belong to the very adapters.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use npc_gateway::config::{self, AdapterPrecision};
use npc_gateway::engine::{Engine, EngineError, Event, Generate, Generation, Schedule, Usage, Weighted};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

use super::support::{collect, config, library, model_dir, prompt};

/// A PEFT folder of rank 8 on q and v, of noise that changes what the model says.
pub fn write_adapter(dir: &Path, seed: u64) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("adapter_config.json"), r#"{"peft_type":"LORA","r":8,"lora_alpha":16}"#).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut numbers =
        |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-0.2..0.2)).collect() };
    let factors: Vec<_> = [("q_proj", 576), ("v_proj", 192)]
        .map(|(name, out)| (name, out, numbers(8 * 576), numbers(out * 8)))
        .into();
    let mut tensors = HashMap::new();
    for layer in 0..30 {
        for (module, out, a, b) in &factors {
            let name =
                |f| format!("base_model.model.model.layers.{layer}.self_attn.{module}.lora_{f}.weight");
            let view = |data, shape| TensorView::new(Dtype::F32, shape, data).unwrap();
            tensors.insert(name("A"), view(bytemuck::cast_slice(a), vec![8, 576]));
            tensors.insert(name("B"), view(bytemuck::cast_slice(b), vec![*out, 8]));
        }
    }
    safetensors::serialize_to_file(tensors, None, &dir.join("adapter_model.safetensors")).unwrap();
}

/// The same adapter in another folder, with files of its own that take no space.
fn link_adapter(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::hard_link(from.join(file), to.join(file)).unwrap();
    }
}

const MIB: usize = 1 << 20;

fn small(adapter_memory_mb: usize) -> config::Engine {
    config::Engine {
        max_adapters: 1000,
        adapter_memory_mb,
        adapter_precision: AdapterPrecision::Bf16,
        queue: 64,
        kept_conversations: 32,
        ..config()
    }
}

fn with(engine: &Engine, text: &str, mix: &[(&str, f32)]) -> Generate {
    let mix = mix.iter().map(|(id, weight)| Weighted { adapter: (*id).into(), weight: *weight }).collect();
    Generate { mix, max_tokens: 6, ..prompt(engine, text) }
}

async fn failure(mut generation: Generation) -> EngineError {
    loop {
        match generation.next().await {
            Some(Event::Failed { error }) => return error,
            Some(Event::Finished { .. }) | None => panic!("it did not fail"),
            Some(_) => {}
        }
    }
}

/// A thousand registered, memory for some ten, requests by Zipf's law: nobody notices but by waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_adapters_in_the_memory_of_ten() {
    const COUNT: usize = 1000;
    const KINDS: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let kind = |k: usize| folder.path().join(format!("kind-{k}"));
    (0..KINDS).for_each(|k| write_adapter(&kind(k), k as u64));
    let lines = ["The old king said", "In the tavern she", "Why did the wolf"];

    // What the answers are when all of them are in memory.
    let roomy = Engine::start(&model_dir(), &library(), &small(512)).unwrap();
    for k in 0..KINDS {
        roomy.load_adapter(&format!("{k}"), &kind(k)).await.unwrap();
    }
    let mut expected = HashMap::new();
    for k in 0..KINDS {
        for line in lines {
            let request = with(&roomy, line, &[(&k.to_string(), 1.0), (&((k + 1) % KINDS).to_string(), 0.5)]);
            expected.insert((k, line), collect(roomy.generate(request).unwrap()).await.0);
        }
    }
    let bytes = roomy.adapters()[0].bytes;
    assert_eq!(roomy.stats().adapter_reads, 0);
    roomy.stop();

    let budget = (12 * bytes).div_ceil(MIB);
    let engine = Engine::start(&model_dir(), &library(), &small(budget)).unwrap();
    for i in 0..COUNT {
        let dir = folder.path().join(i.to_string());
        link_adapter(&kind(i % KINDS), &dir);
        engine.load_adapter(&i.to_string(), &dir).await.unwrap();
        assert!(engine.stats().adapter_bytes <= budget * MIB);
    }
    let stats = engine.stats();
    assert_eq!((stats.adapters, engine.adapters().len()), (COUNT, COUNT));
    assert!((8..16).contains(&stats.resident_adapters), "{stats:?}");
    let refused = engine.load_adapter("one more", &kind(0)).await.unwrap_err().to_string();
    assert!(refused.contains("engine.max_adapters"), "{refused}");

    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let weights: Vec<f64> = (1..=COUNT).map(|rank| 1.0 / rank as f64).collect();
    let total: f64 = weights.iter().sum();
    let mut zipf = || {
        let mut at = rng.random::<f64>() * total;
        weights
            .iter()
            .position(|w| {
                at -= w;
                at <= 0.0
            })
            .unwrap_or(COUNT - 1)
    };
    let pick: Vec<(usize, usize)> = (0..160).map(|i| (zipf(), i % lines.len())).collect();
    // Four at a time, two adapters each: they fit, and little beside them.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || async {
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some((first, line)) = pick.get(at).copied() else { return };
            // The second one's kind is the one after the first's.
            let second = (first + 1 + KINDS * (at % 3)) % COUNT;
            let mix = [(&*first.to_string(), 1.0), (&*second.to_string(), 0.5)];
            let (text, _, _) = collect(engine.generate(with(&engine, lines[line], &mix)).unwrap()).await;
            assert_eq!(text, expected[&(first % KINDS, lines[line])], "adapters {first} and {second}");
            let stats = engine.stats();
            assert!(stats.adapter_bytes <= budget * MIB, "{stats:?}");
        }
    };
    tokio::join!(worker(), worker(), worker(), worker());
    let stats = engine.stats();
    println!("{stats:?}");
    // It was no test of the pool if everything stayed in memory.
    assert!(stats.adapter_reads > 40, "{stats:?}");
    assert!(stats.adapter_reads < 320, "{stats:?}");
}

struct Few {
    engine: Engine,
    folder: tempfile::TempDir,
    budget: usize,
}

impl Few {
    fn dir(&self, id: &str) -> PathBuf {
        self.folder.path().join(id)
    }

    async fn add(&self, id: &str, seed: u64) {
        write_adapter(&self.dir(id), seed);
        self.engine.load_adapter(id, &self.dir(id)).await.unwrap();
    }

    async fn answer(&self, text: &str, mix: &[(&str, f32)]) -> (String, Usage) {
        let (text, _, usage) = collect(self.engine.generate(with(&self.engine, text, mix)).unwrap()).await;
        (text, usage)
    }

    /// Adapters that the next requests find in memory.
    fn resident(&self) -> usize {
        let stats = self.engine.stats();
        assert!(stats.adapter_bytes <= self.budget);
        stats.resident_adapters
    }
}

/// An engine with memory for three adapters.
fn few() -> Few {
    // 30 layers of 2 · 8 · 576 + 8 · (576 + 192) numbers of two bytes, padded, are a little less than 1 MiB.
    let engine = Engine::start(&model_dir(), &library(), &small(3)).unwrap();
    Few { engine, folder: tempfile::tempdir().unwrap(), budget: 3 * MIB }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_damaged_or_gone_fails_its_request_alone() {
    let few = few();
    for (i, id) in ["a", "b", "c", "damaged", "gone", "changed"].into_iter().enumerate() {
        few.add(id, i as u64).await;
    }
    assert_eq!(few.resident(), 3);
    let weights = |id: &str| few.dir(id).join("adapter_model.safetensors");
    let whole = std::fs::read(weights("damaged")).unwrap();
    std::fs::write(weights("damaged"), &whole[..whole.len() / 2]).unwrap();
    std::fs::remove_dir_all(few.dir("gone")).unwrap();
    write_adapter(&few.dir("changed"), 77);

    let mut long = with(&few.engine, "Once upon a time", &[("a", 1.0)]);
    long.max_tokens = 60;
    let alone = collect(few.engine.generate(long.clone()).unwrap()).await.0;
    let beside = few.engine.generate(long).unwrap();
    for (id, named) in [("damaged", "damaged"), ("gone", "adapter_config.json"), ("changed", "have changed")]
    {
        let mix = [("a", 1.0), (id, 0.5)];
        let error = failure(few.engine.generate(with(&few.engine, "Hello", &mix)).unwrap()).await;
        let EngineError::BadAdapter { path, reason } = error else { panic!("{error:?}") };
        assert_eq!(path, few.dir(id));
        assert!(reason.contains(named), "{reason}");
    }
    assert_eq!(collect(beside).await.0, alone);
    // Whole again, it is read again.
    std::fs::write(weights("damaged"), whole).unwrap();
    few.answer("Hello", &[("damaged", 1.0)]).await;
    assert!(few.resident() <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_in_use_stay_and_one_more_is_overloaded() {
    let few = few();
    for (i, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        few.add(id, i as u64).await;
    }
    let mut long = with(&few.engine, "Once upon a time", &[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
    long.max_tokens = 200;
    long.ignore_end = true;
    let mut running = few.engine.generate(long).unwrap();
    assert!(matches!(running.next().await, Some(Event::Started { .. })));
    match few.engine.generate(with(&few.engine, "Hello", &[("d", 1.0)])) {
        Err(EngineError::Overloaded { retry_after_ms }) => assert!(retry_after_ms >= 50),
        other => panic!("{other:?}"),
    }
    // Those in use may be used by others too.
    few.answer("Hello", &[("b", 1.0)]).await;
    assert_eq!(few.engine.stats().adapter_reads, 0);
    drop(running);
    while few.engine.stats().live > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    few.answer("Hello", &[("d", 1.0)]).await;
    assert_eq!(few.engine.stats().adapter_reads, 1);
    // More than the memory holds is nothing to wait for.
    let all = [("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)];
    match few.engine.generate(with(&few.engine, "Hello", &all)) {
        Err(EngineError::BadRequest { field: "mix", .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_the_same_absent_adapter_read_it_once_and_those_who_leave_free_their_place() {
    let few = few();
    for (i, id) in ["a", "b", "c", "absent"].into_iter().enumerate() {
        few.add(id, i as u64).await;
    }
    let request = || with(&few.engine, "The old king said", &[("absent", 1.0)]);
    let all: Vec<_> = (0..8).map(|_| few.engine.generate(request()).unwrap()).collect();
    let gone = few.engine.generate(request()).unwrap();
    drop(gone);
    let mut texts = Vec::new();
    for generation in all {
        texts.push(collect(generation).await.0);
    }
    texts.dedup();
    assert_eq!((texts.len(), few.engine.stats().adapter_reads), (1, 1));
    assert_eq!(few.engine.stats().waiting, 0);
}

/// What is kept of a conversation is found again if nothing has changed, and only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_values_belong_to_the_tokens_and_to_every_adapter_and_weight() {
    let few = few();
    for (i, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        few.add(id, i as u64).await;
    }
    let text = "The old king said to the wolf that winter was near and";
    let mix: &[(&str, f32)] = &[("a", 1.0), ("b", 0.5)];
    let (first, cold) = few.answer(text, mix).await;
    assert_eq!(cold.cached_tokens, 0);
    let (again, warm) = few.answer(text, mix).await;
    assert_eq!((warm.cached_tokens, &again), (cold.prompt_tokens - 1, &first));
    let others: [&[(&str, f32)]; 6] = [
        &[],
        &[("a", 1.0)],
        &[("a", 1.0), ("b", 0.5), ("c", 0.1)],
        &[("a", 1.0), ("c", 0.5)],
        &[("a", 1.0), ("b", 0.500_01)],
        &[("a", -1.0), ("b", 0.5)],
    ];
    for other in others {
        assert_eq!(few.answer(text, other).await.1.cached_tokens, 0, "{other:?}");
    }
    // Another token in the middle: what comes before it, and no more.
    let (other, whole) = ("The old king said to the bear that winter was near and", few.engine.tokenizer());
    let (one, two) = (whole.encode_text(text), whole.encode_text(other));
    let common = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
    assert_eq!(few.answer(other, mix).await.1.cached_tokens as usize, common);

    // It leaves memory and comes back: what is kept is right still.
    let reads = few.engine.stats().adapter_reads;
    few.answer("Hello", &[("c", 1.0), ("d", 1.0)]).await;
    let (back, usage) = few.answer(text, mix).await;
    assert!(few.engine.stats().adapter_reads > reads + 1);
    assert_eq!((usage.cached_tokens, &back), (cold.prompt_tokens - 1, &first));

    // Another adapter under the same id.
    few.engine.drop_adapter("b").unwrap();
    std::fs::remove_dir_all(few.dir("b")).unwrap();
    few.add("b", 99).await;
    let (changed, usage) = few.answer(text, mix).await;
    assert_eq!(usage.cached_tokens, 0);
    assert_ne!(changed, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_holds_while_adapters_are_awaited() {
    let few = few();
    few.add("a", 1).await;
    let mut late = with(&few.engine, "Hello", &[("a", 1.0)]);
    late.schedule = Schedule { deadline: Some(std::time::Instant::now()), ..Schedule::default() };
    match failure(few.engine.generate(late).unwrap()).await {
        EngineError::DeadlineExceeded { retry_after_ms, .. } => assert!(retry_after_ms >= 50),
        other => panic!("{other:?}"),
    }
    // It is counted a moment after the caller was told.
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while few.engine.stats().late == 0 && std::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(few.engine.stats().late, 1);
}
