//! `bench engine`: a closed loop of conversations, straight on the engine.

use std::time::Instant;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::report::{Figures, Machine, Report, VERSION};
use super::stats::{Percentiles, median, percentiles};
use super::{EngineArgs, Workload, adapters};
use crate::config;
use crate::engine::{Engine, Event, Generate, Mix, Sampling, Schedule};

/// What one request saw.
struct Seen {
    first_token_ms: f64,
    gaps_ms: Vec<f64>,
    tokens: u32,
    cached: u32,
    prompt: u32,
    reply: String,
}

/// What one closed loop gave.
struct Loop {
    seconds: f64,
    cold: Vec<Seen>,
    warm: Vec<Seen>,
}

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
    print!("{}", report.table());
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(args: &EngineArgs, engine: &Engine, config: &config::Engine) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    if args.adapters.iter().any(|workload| *workload != Workload::None) {
        adapters::load(engine, folder.path()).await?;
    }
    let cases: Vec<(usize, Workload)> = args
        .rows
        .iter()
        .flat_map(|rows| args.adapters.iter().map(move |workload| (usize::from(*rows), *workload)))
        .collect();
    let mut results: Vec<Vec<Figures>> = cases.iter().map(|_| Vec::new()).collect();
    // The first run pays for memory that is touched for the first time.
    closed_loop(args, engine, 1, Workload::None, 0).await?;
    // In turns, so that a neighbour on the machine disturbs all alike.
    for repeat in 0..args.repeats {
        for ((rows, workload), results) in cases.iter().zip(&mut results) {
            eprintln!("==> {} of {}: {rows} rows, adapters {workload:?}", repeat + 1, args.repeats);
            let seed = u64::from(repeat) << 32 | (*rows as u64) << 8 | *workload as u64;
            results.push(figures(
                *rows,
                *workload,
                &closed_loop(args, engine, *rows, *workload, seed).await?,
            ));
        }
    }
    Ok(Report {
        version: VERSION,
        machine: Machine::read(),
        model: engine.model().name.clone(),
        decoder: engine.decoder().to_owned(),
        prompt_tokens: args.prompt_tokens,
        answer_tokens: args.tokens,
        requests_each: args.requests,
        repeats: args.repeats,
        prefill_budget: config.prefill_budget,
        results: results.iter().map(|all| Figures::median(all)).collect(),
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
    const WORDS: [&str; 24] = [
        "king", "river", "sword", "tavern", "winter", "market", "bread", "horse", "tower", "shadow",
        "garden", "merchant", "silver", "forest", "road", "bridge", "captain", "story", "song", "debt",
        "harvest", "storm", "lantern", "iron",
    ];
    let mut text = format!("{:08x}", rng.random::<u32>());
    loop {
        for _ in 0..tokens.max(8) {
            text.push_str(if rng.random_bool(0.3) { " the " } else { " " });
            text.push_str(WORDS.choose(rng).copied().unwrap_or("king"));
        }
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
        schedule: Schedule { owner: client as u64, background: false },
    };
    let sent = Instant::now();
    let mut generation = engine.generate(request)?;
    let (mut last, mut first_token_ms, mut gaps_ms, mut reply) = (sent, 0.0, Vec::new(), String::new());
    while let Some(event) = generation.next().await {
        match event {
            Event::Started { .. } => {}
            Event::Text { text, tokens } => {
                let now = Instant::now();
                let gap = (now - last).as_secs_f64() * 1e3;
                if reply.is_empty() {
                    first_token_ms = gap;
                } else {
                    // A piece of text may hold several tokens, of which the first ones had no whole character.
                    gaps_ms.extend((0..tokens).map(|_| gap / f64::from(tokens)));
                }
                last = now;
                reply += &text;
            }
            Event::Finished { usage, .. } => {
                let (tokens, cached, prompt) =
                    (usage.generated_tokens, usage.cached_tokens, usage.prompt_tokens);
                return Ok(Seen { first_token_ms, gaps_ms, tokens, cached, prompt, reply });
            }
            Event::Failed { error } => return Err(error.into()),
        }
    }
    anyhow::bail!("a generation ended without an end")
}

fn figures(rows: usize, adapters: Workload, measured: &Loop) -> Figures {
    let tokens: u32 = measured.cold.iter().map(|seen| seen.tokens).sum();
    let share = |seen: &Seen| f64::from(seen.cached) / f64::from(seen.prompt.max(1));
    let gaps: Vec<f64> = measured.cold.iter().flat_map(|seen| seen.gaps_ms.iter().copied()).collect();
    let step = percentiles(gaps);
    Figures {
        rows,
        adapters,
        tokens_per_second: f64::from(tokens) / measured.seconds,
        decode_tokens_per_second: if step.p50 > 0.0 { rows as f64 * 1e3 / step.p50 } else { 0.0 },
        first_token_ms: percentiles(measured.cold.iter().map(|seen| seen.first_token_ms).collect()),
        inter_token_ms: step,
        warm_first_token_ms: percentiles(measured.warm.iter().map(|seen| seen.first_token_ms).collect()),
        warm_cached_share: median(measured.warm.iter().map(share).collect()),
    }
}

impl Figures {
    /// The median of each figure.
    fn median(all: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| median(all.iter().map(value).collect());
        let three = |value: fn(&Self) -> Percentiles| Percentiles {
            p50: median(all.iter().map(|f| value(f).p50).collect()),
            p95: median(all.iter().map(|f| value(f).p95).collect()),
            p99: median(all.iter().map(|f| value(f).p99).collect()),
        };
        Self {
            rows: all.first().map_or(0, |f| f.rows),
            adapters: all.first().map_or(Workload::None, |f| f.adapters),
            tokens_per_second: of(|f| f.tokens_per_second),
            decode_tokens_per_second: of(|f| f.decode_tokens_per_second),
            first_token_ms: three(|f| f.first_token_ms),
            inter_token_ms: three(|f| f.inter_token_ms),
            warm_first_token_ms: three(|f| f.warm_first_token_ms),
            warm_cached_share: of(|f| f.warm_cached_share),
        }
    }
}
