//! `bench socket`: a closed loop of clients over the real WebSocket.

use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::conversation::{self, Conversation};
use super::figures::{Figures, Loop, Seen};
use super::host::Host;
use super::report::{Machine, Parts, Report, VERSION, Via};
use super::talker::{Line, Talker};
use super::{SocketArgs, Workload, adapters, cases, words};
use crate::app::Paths;
use crate::cli::link;
use crate::config::Config;

/// Words of the lines from which it is learned how many a prompt needs.
const FEW: usize = 16;
const MANY: usize = 80;

pub fn run(args: &SocketArgs) -> anyhow::Result<()> {
    let mut config = args.settings.config()?;
    if !args.tracks {
        config.turn.tracks.clear();
    }
    super::super::logging::start(&config.log)?;
    let runtime = super::super::runtime()?;
    let report = if let Some(url) = &args.url {
        runtime.block_on(elsewhere(args, &link::url(url)?))?
    } else {
        let paths = super::super::serve::model_paths(&config)?;
        runtime.block_on(here(args, config, paths))?
    };
    report.publish(args.json.as_deref())
}

/// Measures a gateway that runs.
async fn elsewhere(args: &SocketArgs, url: &str) -> anyhow::Result<Report> {
    let results = measure(args, url).await?;
    let conversation = match args.conversation {
        Some(lines) => Some(conversation::measure(url, lines, args.repeats).await?),
        None => None,
    };
    Ok(report(args, url.to_owned(), "unknown", None, results, conversation))
}

/// Measures a gateway of its own.
async fn here(args: &SocketArgs, config: Config, paths: Paths) -> anyhow::Result<Report> {
    let packs = tempfile::tempdir()?;
    let with_adapters = args.adapters.iter().any(|workload| *workload != Workload::None);
    let model = npc_onnx::ModelFile::read(&paths.model)?;
    adapters::write_packs(&model, packs.path(), with_adapters)?;

    let most = usize::from(args.rows.iter().copied().max().unwrap_or(1));
    let mut loaded = config.clone();
    packs.path().clone_into(&mut loaded.packs.path);
    loaded.turn.ignore_end = true;
    loaded.engine.rows = config.engine.rows.max(most);
    loaded.engine.queue = config.engine.queue.max(most * 2);
    loaded.engine.max_adapters = config.engine.max_adapters.max(adapters::COUNT);
    // Room for the next line after an answer.
    let line = (args.prompt_tokens + args.tokens) as usize;
    loaded.engine.context = config.engine.context.max(line * 2 + 64);
    let budget = loaded.engine.prefill_budget;

    let host = Host::start(loaded, paths.clone()).await?;
    let (model, decoder) = (host.model.clone(), host.decoder);
    let results = measure(args, &host.url).await?;
    host.stop().await?;
    let conversation = match args.conversation {
        // Answers end where the model ends them, or what was said would not be what is cached.
        Some(lines) => {
            let host = Host::start(config, paths).await?;
            let conversation = conversation::measure(&host.url, lines, args.repeats).await?;
            host.stop().await?;
            Some(conversation)
        }
        None => None,
    };
    Ok(report(args, model, decoder, Some(budget), results, conversation))
}

fn report(
    args: &SocketArgs,
    model: String,
    decoder: &str,
    prefill_budget: Option<usize>,
    results: Vec<Figures>,
    conversation: Option<Conversation>,
) -> Report {
    Report {
        version: VERSION,
        via: Via::Socket,
        machine: Machine::read(),
        model,
        decoder: decoder.to_owned(),
        prompt_tokens: args.prompt_tokens,
        answer_tokens: args.tokens,
        requests_each: args.requests,
        repeats: args.repeats,
        fixed_length: args.url.is_none(),
        prefill_budget,
        int8_ceiling_gops: None,
        int8_tile_ceiling_gops: None,
        gop_per_token: None,
        results,
        conversation,
        parts: Parts::default(),
    }
}

async fn measure(args: &SocketArgs, url: &str) -> anyhow::Result<Vec<Figures>> {
    let line_words = words_for(url, args.prompt_tokens).await?;
    let cases = cases(&args.rows, &args.adapters);
    let mut results: Vec<Vec<Figures>> = cases.iter().map(|_| Vec::new()).collect();
    // In turns, so that a neighbour on the machine disturbs all alike.
    for repeat in 0..args.repeats {
        for ((clients, workload), results) in cases.iter().zip(&mut results) {
            eprintln!("==> {} of {}: {clients} clients, adapters {workload:?}", repeat + 1, args.repeats);
            let plan = Plan { workload: *workload, line_words, tokens: args.tokens, requests: args.requests };
            let measured = closed_loop(url, *clients, plan).await?;
            results.push(Figures::new(*clients, *workload, &measured));
        }
    }
    Ok(results.iter().filter_map(|all| Figures::median(all)).collect())
}

/// How many random words make a first prompt of about so many tokens. Said to the gateway itself, whose persona and
/// chat template count too; these lines also touch its memory for the first time.
pub(super) async fn words_for(url: &str, tokens: u32) -> anyhow::Result<usize> {
    let mut rng = ChaCha8Rng::from_os_rng();
    let mut talker = Talker::open(url, "bench").await?;
    let mut prompts = Vec::new();
    for count in [FEW, MANY] {
        let npc = words::mark(&mut rng);
        talker.meet(&npc, &words::mark(&mut rng), adapters::ARCHETYPES[0]).await?;
        let mut text = words::mark(&mut rng);
        words::extend(&mut text, count, &mut rng);
        let (_, mix) = adapters::spoken(Workload::None, 0, &mut rng);
        let seen = talker.say(Line { npc: npc.clone(), text, tokens: 1, mix: Some(mix) }).await?;
        prompts.push(f64::from(seen.prompt));
        talker.leave(npc).await?;
    }
    talker.close().await;
    let each = (prompts[1] - prompts[0]) / (MANY - FEW) as f64;
    Ok((FEW as f64 + (f64::from(tokens) - prompts[0]) / each.max(0.1)).round().max(1.0) as usize)
}

/// What every client does.
#[derive(Debug, Clone, Copy)]
struct Plan {
    workload: Workload,
    /// Words of a line.
    line_words: usize,
    /// Tokens of an answer.
    tokens: u32,
    /// Lines of a client, one after another.
    requests: u32,
}

/// Every client meets NPCs one after another and says a line to each, then says a second one to the last: the warm
/// turn, which all say at once.
async fn closed_loop(url: &str, clients: usize, plan: Plan) -> anyhow::Result<Loop> {
    let mut talkers = Vec::new();
    for client in 0..clients {
        talkers.push(Talker::open(url, &format!("bench-{client}")).await?);
    }
    let all_cold = Arc::new(Barrier::new(clients));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, talker) in talkers.into_iter().enumerate() {
        tasks.spawn(talk(talker, client, plan, Arc::clone(&all_cold)));
    }
    let mut measured = Loop { seconds: 0.0, cold: Vec::new(), warm: Vec::new() };
    // The first failure ends the others, which would wait for it.
    while let Some(heard) = tasks.join_next().await {
        let Heard { cold, ended, warm } = heard??;
        measured.seconds = measured.seconds.max((ended - start).as_secs_f64());
        measured.cold.extend(cold);
        measured.warm.push(warm);
    }
    Ok(measured)
}

/// What one client heard.
struct Heard {
    cold: Vec<Seen>,
    /// The end of the last cold answer.
    ended: Instant,
    warm: Seen,
}

async fn talk(
    mut talker: Talker,
    client: usize,
    plan: Plan,
    all_cold: Arc<Barrier>,
) -> anyhow::Result<Heard> {
    let mut rng = ChaCha8Rng::from_os_rng();
    let mut cold = Vec::new();
    let mut last = None;
    for _ in 0..plan.requests {
        if let Some(Line { npc, .. }) = last.take() {
            talker.leave(npc).await?;
        }
        let (archetype, mix) = adapters::spoken(plan.workload, client, &mut rng);
        let npc = format!("{}-{client}", words::mark(&mut rng));
        talker.meet(&npc, &words::mark(&mut rng), archetype).await?;
        let mut text = words::mark(&mut rng);
        words::extend(&mut text, plan.line_words, &mut rng);
        let line = Line { npc, text, tokens: plan.tokens, mix: Some(mix) };
        cold.push(talker.say(line.clone()).await?);
        last = Some(line);
    }
    let ended = Instant::now();
    talker.rest(all_cold.wait()).await?;
    let mut warm = Seen::default();
    if let Some(line) = last {
        let text = "And then what did they say of it?".to_owned();
        warm = talker.say(Line { text, tokens: 2, ..line }).await?;
    }
    talker.close().await;
    Ok(Heard { cold, ended, warm })
}
