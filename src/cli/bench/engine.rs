//! `bench engine`: a closed loop of conversations, straight on the engine.

use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::figures::{Figures, Loop, Seen};
use super::report::{Machine, Report, VERSION, Via};
use super::{EngineArgs, Workload, adapters, cases, words};
use crate::config;
use crate::engine::{Engine, Event, Generate, Mix, Sampling, Schedule, int8_ceiling, threads};

pub fn run(args: &EngineArgs) -> anyhow::Result<()> {
    let mut config = args.settings.config()?;
    super::super::logging::start(&config.log)?;
    let most = usize::from(args.rows.iter().copied().max().unwrap_or(1));
    config.engine.rows = config.engine.rows.max(most);
    config.engine.queue = config.engine.queue.max(most);
    config.engine.max_adapters = config.engine.max_adapters.max(adapters::COUNT);
    let paths = super::super::serve::paths(&config)?;
    let runtime = super::super::runtime()?;
    let engine = Engine::start(&paths.model, &paths.library, &config.engine)?;
    let report = runtime.block_on(measure(args, &engine, &config.engine))?;
    engine.stop();
    report.publish(args.json.as_deref())
}

async fn measure(args: &EngineArgs, engine: &Engine, config: &config::Engine) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    if args.adapters.iter().any(|workload| *workload != Workload::None) {
        adapters::load(engine, folder.path()).await?;
    }
    let cases = cases(&args.rows, &args.adapters);
    let mut results: Vec<Vec<Figures>> = cases.iter().map(|_| Vec::new()).collect();
    // The first run pays for memory that is touched for the first time.
    closed_loop(args, engine, 1, Workload::None, 0).await?;
    // In turns, so that a neighbour on the machine disturbs all alike.
    for repeat in 0..args.repeats {
        for ((rows, workload), results) in cases.iter().zip(&mut results) {
            eprintln!("==> {} of {}: {rows} rows, adapters {workload:?}", repeat + 1, args.repeats);
            let seed = u64::from(repeat) << 32 | (*rows as u64) << 8 | *workload as u64;
            let measured = closed_loop(args, engine, *rows, *workload, seed).await?;
            results.push(Figures::new(*rows, *workload, &measured));
        }
    }
    let ceiling = int8_ceiling(threads(config));
    Ok(Report {
        version: VERSION,
        via: Via::Engine,
        machine: Machine::read(),
        model: engine.model().name.clone(),
        decoder: engine.decoder().to_owned(),
        prompt_tokens: args.prompt_tokens,
        answer_tokens: args.tokens,
        requests_each: args.requests,
        repeats: args.repeats,
        fixed_length: true,
        prefill_budget: Some(config.prefill_budget),
        int8_ceiling_gops: Some(ceiling),
        gop_per_token: Some(engine.model().model.operations_per_token() as f64 / 1e9),
        results: results.iter().filter_map(|all| Figures::median(all)).collect(),
        conversation: None,
    })
}

/// Every client sends its requests one after another, then goes on with its last conversation once: the warm turn.
async fn closed_loop(
    args: &EngineArgs,
    engine: &Engine,
    clients: usize,
    workload: Workload,
    seed: u64,
) -> anyhow::Result<Loop> {
    let start = Instant::now();
    let tasks = (0..clients).map(|client| {
        let engine = engine.clone();
        let (prompt_tokens, tokens, requests) = (args.prompt_tokens as usize, args.tokens, args.requests);
        tokio::spawn(async move {
            let mut rng = ChaCha8Rng::seed_from_u64(seed << 16 | client as u64);
            let (mut seen, mut last) = (Vec::new(), None);
            for _ in 0..requests {
                let mix = match workload {
                    Workload::None => Mix::new(),
                    Workload::One => adapters::one(),
                    Workload::Different => adapters::different(client, &mut rng),
                };
                let prompt = prompt(&engine, prompt_tokens, &mut rng);
                seen.push(answer(&engine, prompt.clone(), mix.clone(), tokens, client).await?);
                last = Some((prompt, mix));
            }
            anyhow::Ok((seen, last))
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut cold, mut conversations) = (Vec::new(), Vec::new());
    for (client, task) in tasks.into_iter().enumerate() {
        let (seen, last) = task.await??;
        conversations.extend(last.zip(seen.last().map(|s| s.reply.clone())).map(|both| (client, both)));
        cold.extend(seen);
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut tasks = Vec::new();
    for (client, ((mut prompt, mix), reply)) in conversations {
        prompt.extend(engine.tokenizer().encode_text(&reply));
        prompt.extend(engine.tokenizer().encode_text(" And then what did they say of it?"));
        let engine = engine.clone();
        tasks.push(tokio::spawn(async move { answer(&engine, prompt, mix, 2, client).await }));
    }
    let mut warm = Vec::new();
    for task in tasks {
        warm.push(task.await??);
    }
    Ok(Loop { seconds, cold, warm })
}

/// A prompt of random words, exactly so many tokens long, that begins like no other.
fn prompt(engine: &Engine, tokens: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut text = words::mark(rng);
    loop {
        words::extend(&mut text, tokens.max(8), rng);
        let mut ids = engine.tokenizer().encode_text(&text);
        if ids.len() >= tokens {
            ids.truncate(tokens);
            return ids;
        }
    }
}

async fn answer(
    engine: &Engine,
    prompt: Vec<u32>,
    mix: Mix,
    tokens: u32,
    client: usize,
) -> anyhow::Result<Seen> {
    let sampling = Sampling {
        greedy: true,
        temperature: 1.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: None,
    };
    let request = Generate {
        prompt,
        mix,
        sampling,
        stop: Vec::new(),
        max_tokens: tokens,
        ignore_end: true,
        schedule: Schedule { owner: client as u64, ..Schedule::default() },
    };
    let mut seen = Seen { adapters: request.mix.len(), ..Seen::default() };
    let mut last = Instant::now();
    let mut generation = engine.generate(request)?;
    while let Some(event) = generation.next().await {
        match event {
            Event::Started { .. } => {}
            Event::Text { text, tokens } => {
                let now = Instant::now();
                seen.piece(&text, tokens, (now - last).as_secs_f64() * 1e3);
                last = now;
            }
            Event::Finished { usage, .. } => {
                seen.tokens = usage.generated_tokens;
                seen.cached = usage.cached_tokens;
                seen.prompt = usage.prompt_tokens;
                return Ok(seen);
            }
            Event::Failed { error } => return Err(error.into()),
        }
    }
    anyhow::bail!("a generation ended without an end")
}
