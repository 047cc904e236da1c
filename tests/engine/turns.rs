//! The five tasks of a turn in the same steps, and what a full engine promises.

use std::path::Path;
use std::time::{Duration, Instant};

use npc_gateway::config;
use npc_gateway::engine::{Choose, Engine, EngineError, Event, Generate, Mix, Schedule, Weighted};

use super::pool::write_adapter;
use super::support::{collect, config, library, model_dir, prompt};

fn options(task: usize) -> Vec<String> {
    let lists: [&[&str]; 4] = [
        &[" joy", " sadness", " anger", " fear", " disgust", " surprise", " contempt", " no feeling at all"],
        &[
            " bow to the stranger",
            " attack with claws",
            " flee into the night",
            " offer a cup of wine",
            " wait",
        ],
        &[
            " trust grows",
            " trust falls",
            " respect grows",
            " respect falls",
            " nothing changes between them",
        ],
        &[
            " find the silver key",
            " guard the crypt",
            " feed",
            " sleep until dusk",
            " learn the name",
            " leave",
        ],
    ];
    lists[task].iter().map(|option| (*option).to_owned()).collect()
}

/// The five tasks of a turn, on the base model, so that they share what their prompts have in common.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_choices_are_there_before_the_twelfth_token_of_the_line() {
    five_tasks(false).await;
}

/// The same with an adapter of its own for each, so that nothing can be shared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_are_if_each_task_has_its_own_adapter() {
    five_tasks(true).await;
}

async fn with_adapters(folder: &Path, config: config::Engine) -> Engine {
    let engine = Engine::start(&model_dir(), &library(), &config).unwrap();
    for task in 0..5 {
        let folder = folder.join(task.to_string());
        write_adapter(&folder, task);
        engine.load_adapter(&format!("task-{task}"), &folder).await.unwrap();
    }
    engine
}

async fn five_tasks(adapters: bool) {
    let folder = tempfile::tempdir().unwrap();
    let engine = with_adapters(folder.path(), config()).await;
    let mix = |task: usize| -> Mix {
        let own = Weighted { adapter: format!("task-{task}").into(), weight: 1.0 };
        adapters.then_some(own).into_iter().collect()
    };
    let shared =
        "You are Carmilla, a vampire of an old house in the mountains. You speak softly and you never lie. \
                  A traveller stands at your door in the rain and asks for shelter until the morning comes. "
            .repeat(3);
    let task = |text: &str| engine.tokenizer().encode_text(&format!("{shared}{text}"));
    let questions = ["What does she feel?", "What does she do?", "What changes?", "What does she want?"];
    let choose = |i: usize| Choose {
        prompt: task(questions[i]),
        mix: mix(i),
        options: options(i),
        schedule: Schedule::default(),
    };
    let line = || Generate {
        prompt: task("She says:"),
        mix: mix(4),
        max_tokens: 24,
        ignore_end: true,
        ..prompt(&engine, "x")
    };
    let prompt_tokens = line().prompt.len();
    assert!(prompt_tokens > 128, "{prompt_tokens}");

    let steps = engine.stats().steps;
    let tokens = engine.stats().tokens;
    let generation = engine.generate(line()).unwrap();
    let (line_end, a, b, c, d) = tokio::join!(
        collect(generation),
        engine.choose(choose(0)),
        engine.choose(choose(1)),
        engine.choose(choose(2)),
        engine.choose(choose(3)),
    );
    let usage = line_end.2;
    let together: Vec<_> = [a, b, c, d].into_iter().map(Result::unwrap).collect();
    println!("{usage:?}; {:?}", together.iter().map(|choice| choice.usage).collect::<Vec<_>>());
    // 128 prompt tokens a step: two steps for the line alone.
    assert_eq!(usage.first_token_steps as usize, prompt_tokens.div_ceil(128));
    for choice in &together {
        assert!(choice.usage.steps <= usage.first_token_steps + 11, "{:?}", choice.usage);
        // What they share was computed for one of them.
        assert!(adapters || choice.usage.cached_tokens as usize > prompt_tokens - 10, "{:?}", choice.usage);
    }
    let stats = engine.stats();
    assert!(stats.steps - steps <= u64::from(usage.steps) + 1);
    let own: usize = (0..4).map(|i| options(i).len() * 5 + 12).sum();
    let prompts = if adapters { 5 * prompt_tokens } else { prompt_tokens };
    assert!(stats.tokens - tokens <= (prompts + 24 + own) as u64, "{}", stats.tokens - tokens);

    // Alone, on an engine that knows nothing of them, they are the same; one option a step there.
    let lonely = config::Engine { kept_conversations: 0, rows: 1, kv_memory_mb: 16, ..config() };
    let lonely = with_adapters(folder.path(), lonely).await;
    for (i, choice) in together.iter().enumerate() {
        let alone = lonely.choose(choose(i)).await.unwrap();
        assert_eq!(alone.usage.cached_tokens, 0);
        for (p, q) in alone.probs.iter().zip(&choice.probs) {
            // The portable decoder's last digits depend on the batch.
            let tolerance = if lonely.decoder() == "native" { 0.0 } else { 0.05 };
            assert!(
                (p - q).abs() <= tolerance,
                "task {i}: {:?} alone, {:?} together",
                alone.probs,
                choice.probs
            );
        }
    }
}

/// Whoever is refused and comes back as told finds a place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_honest_and_a_hopeless_deadline_is_refused_at_once() {
    let small = config::Engine { rows: 2, queue: 6, ..config() };
    let engine = Engine::start(&model_dir(), &library(), &small).unwrap();
    let line = |i: usize| Generate {
        max_tokens: 24,
        ignore_end: true,
        ..prompt(&engine, &format!("Story number {i} begins with"))
    };
    // So that the pace is known.
    let warm_up: Vec<_> = (0..4).map(|i| engine.generate(line(i)).unwrap()).collect();
    for generation in warm_up {
        collect(generation).await;
    }
    let mut accepted: Vec<_> = Vec::new();
    let retry_after_ms = loop {
        match engine.generate(line(10 + accepted.len())) {
            Ok(generation) => accepted.push(tokio::spawn(collect(generation))),
            Err(EngineError::Overloaded { retry_after_ms }) => break retry_after_ms,
            Err(error) => panic!("{error}"),
        }
        assert!(accepted.len() < 100, "nobody is refused");
        // Its row, if it gets one, is taken by now.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(accepted.len() >= 6);
    // Behind so much work a millisecond is not enough, and that is known at once.
    let soon = Schedule { deadline: Some(Instant::now() + Duration::from_millis(1)), ..Schedule::default() };
    match engine.generate(Generate { schedule: soon, ..line(50) }) {
        Err(EngineError::Overloaded { retry_after_ms }) => assert!(retry_after_ms >= 50),
        other => panic!("{other:?}"),
    }
    println!("{} accepted, come back in {retry_after_ms} ms", accepted.len());
    tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
    let mut again = engine.generate(line(60)).expect("a place, as promised");
    assert!(matches!(again.next().await, Some(Event::Started { .. })));
    drop(again);
    for task in accepted {
        task.await.unwrap();
    }
    assert_eq!(engine.stats().late, 0);
}

/// What nobody waits for takes half of the queue at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_work_leaves_room_for_players() {
    let small = config::Engine { rows: 1, queue: 4, ..config() };
    let engine = Engine::start(&model_dir(), &library(), &small).unwrap();
    let background = Schedule { background: true, ..Schedule::default() };
    let mut long = prompt(&engine, "Once upon a time");
    long.max_tokens = 200;
    long.ignore_end = true;
    let mut running = engine.generate(long).unwrap();
    assert!(matches!(running.next().await, Some(Event::Started { .. })));
    let work = || Generate { schedule: background, ..prompt(&engine, "Meanwhile") };
    let _waiting: Vec<_> = (0..2).map(|_| engine.generate(work()).unwrap()).collect();
    assert!(matches!(engine.generate(work()), Err(EngineError::Overloaded { .. })));
    let line = engine.generate(prompt(&engine, "Hello")).unwrap();
    drop(running);
    assert!(!collect(line).await.0.is_empty());
}
