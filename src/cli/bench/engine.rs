//! `bench engine`: straight on the engine; by default a closed loop of conversations.

use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::figures::{Figures, Loop};
use super::report::{Machine, Parts, Report, VERSION, Via};
use super::{
    EngineArgs, Part, Workload, adapters, ask, cases, loading, memory, registered, steps, swap, switching,
    traces, training, turn,
};
use crate::cli::logging::Switch;
use crate::config;
use crate::engine::{Engine, Mix, int8_ceiling, threads};
use crate::provision::TrainerCommand;

pub fn run(args: &EngineArgs) -> anyhow::Result<()> {
    let mut config = args.settings.config()?;
    let switch = super::super::logging::start_switched(&config.log)?;
    let most = usize::from(args.rows.iter().copied().max().unwrap_or(1)).max(switching::ROWS);
    config.engine.rows = config.engine.rows.max(most);
    config.engine.queue = config.engine.queue.max(most);
    config.engine.max_adapters = config.engine.max_adapters.max(adapters::COUNT);
    let paths = super::super::serve::model_paths(&config)?;
    let runtime = super::super::runtime()?;
    let start = |config: &config::Engine| Ok(Engine::start(&paths.model, &paths.library, config)?);
    let trainer = crate::app::trainer(&config, &paths.model)?;
    // First: memory that others let go of may stay with the process.
    let mut memory = None;
    if args.what.contains(&Part::Memory) {
        let folder = tempfile::tempdir()?;
        adapters::write_all(&npc_onnx::ModelFile::read(&paths.model)?, folder.path())?;
        let measured = memory::measure(start, &config.engine, &paths.model, folder.path());
        memory = Some(runtime.block_on(measured)?);
    }
    let mut report = runtime.block_on(measure(args, start, &config.engine, &trainer, &switch))?;
    report.parts.memory = memory;
    if args.what.contains(&Part::Steps) {
        let mut timer = steps::open(&paths, &config.engine, &config.turn)?;
        report.parts.steps = Some(steps::measure(&mut timer, args.repeats)?);
    }
    report.publish(args.json.as_deref())
}

/// One part after another, since an engine takes the whole machine.
async fn measure(
    args: &EngineArgs,
    start: impl Fn(&config::Engine) -> anyhow::Result<Engine>,
    config: &config::Engine,
    trainer: &TrainerCommand,
    switch: &Switch,
) -> anyhow::Result<Report> {
    let wants = |part| args.what.contains(&part);
    let folder = tempfile::tempdir()?;
    let engine = start(config)?;
    adapters::write_all(engine.model(), folder.path())?;
    let few = args.adapters.iter().any(|workload| *workload != Workload::None);
    if wants(Part::Rows) && few || wants(Part::Turn) || wants(Part::Switching) {
        adapters::load(&engine, folder.path()).await?;
    }
    let mut report = report(args, &engine, config);
    if wants(Part::Rows) {
        report.results = rows(args, &engine).await?;
        let ceiling = int8_ceiling(threads(config));
        report.int8_ceiling_gops = Some(ceiling.vectors);
        report.int8_tile_ceiling_gops = ceiling.tiles;
    }
    let parts = &mut report.parts;
    if wants(Part::Turn) {
        parts.turn = Some(turn::measure(&engine, args.prompt_tokens, args.repeats).await?);
    }
    if wants(Part::Switching) {
        parts.switching = Some(switching::measure(&engine, args.repeats).await?);
    }
    if wants(Part::Tracing) {
        parts.tracing = Some(traces::measure(&engine, switch, args.repeats).await?);
    }
    engine.stop();
    if wants(Part::Loading) {
        parts.loading = Some(loading::measure(&start, config, folder.path(), args.repeats).await?);
    }
    if wants(Part::Swap) {
        parts.swap = Some(swap::measure(&start, config, folder.path(), args.repeats).await?);
    }
    if wants(Part::Training) {
        let measured = training::measure(&start, config, trainer, folder.path(), args.repeats).await?;
        parts.training = Some(measured);
    }
    if wants(Part::Registered) {
        parts.registered = Some(registered::measure(&start, config, folder.path()).await?);
    }
    Ok(report)
}

/// What is known before anything is measured.
fn report(args: &EngineArgs, engine: &Engine, config: &config::Engine) -> Report {
    Report {
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
        int8_ceiling_gops: None,
        int8_tile_ceiling_gops: None,
        gop_per_token: Some(engine.model().model.operations_per_token() as f64 / 1e9),
        results: Vec::new(),
        conversation: None,
        parts: Parts::default(),
    }
}

async fn rows(args: &EngineArgs, engine: &Engine) -> anyhow::Result<Vec<Figures>> {
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
    Ok(results.iter().filter_map(|all| Figures::median(all)).collect())
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
                let prompt = ask::prompt(&engine, prompt_tokens, &mut rng);
                seen.push(ask::answer(&engine, prompt.clone(), mix.clone(), tokens, client).await?);
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
        tasks.push(tokio::spawn(async move { ask::answer(&engine, prompt, mix, 2, client).await }));
    }
    let mut warm = Vec::new();
    for task in tasks {
        warm.push(task.await??);
    }
    Ok(Loop { seconds, cold, warm })
}
