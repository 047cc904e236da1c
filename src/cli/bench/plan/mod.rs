//! `bench plan`: is what the planner predicts true? Offers loads to a gateway of its own, and prints what was seen beside
//! what the simulation of the same lines says.
//!
//! ```text
//! lines       lines that were heard, as a load for the simulation
//! report      the table and the JSON
//! ```
//!
//! The steps are measured first, or read (`--steps`). Then a closed loop tells how long lines are; the simulation says
//! how many of them the gateway should answer at most, and shares of that are offered at random times (an open loop).
//! One figure is taken from the gateway itself: what a turn adds to the engine's first token, from lines said one at a
//! time to a gateway that does nothing else.

mod lines;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;

use self::lines::{Lines, Work};
use self::report::{Check, Checks, Pair};
use super::adapters;
use super::host::Host;
use super::load::{Heard, Offer, Tally, offer};
use super::report::Machine;
use super::stats::{Percentiles, percentiles};
use super::steps::{self, Drift};
use crate::app::Paths;
use crate::cli::serve::{self, ServeArgs};
use crate::config::{Config, OnOverload};
use crate::engine::{OPTION_SEQUENCES, StepTimer};
use crate::planner::load::ArchetypeLoad;
use crate::planner::simulation::{Admission, Arrivals, Process, Server, Simulated, simulate};
use crate::planner::steps::StepTimes;

/// Seconds of a load that are not looked at: conversations become warm, and the queue as long as it will be.
const BEFORE: Duration = Duration::from_secs(3);

/// Seconds between two looks at how fast the machine is.
const PIECE_S: f64 = 20.0;

/// How long it may take at most until conversations are as long as they will be.
const FILL: Duration = Duration::from_mins(5);

/// Simulated seconds of a load that are counted.
const SIMULATED_S: f64 = 600.0;

/// How often the simulation is brought to the pace that was seen.
const PACINGS: usize = 2;

/// NPCs of each kind of line in the simulation: so many that hardly any is spoken to while it answers, as in the load.
const NPCS: u64 = 128;

/// Sequences that are kept in the simulation for each of them: of its line, and of choices. So many that none leaves before
/// its NPC speaks again, at whatever random time: how warm prompts are is known from what was heard.
const KEPT_EACH: u64 = 16;
const KEPT_EACH_WITH_CHOICES: u64 = 64;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// For how long each load is offered.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Loads, as shares of what the gateway should answer at most.
    #[arg(long, value_delimiter = ',', default_value = "0.2,0.4,0.6,0.8")]
    loads: Vec<f64>,
    /// Step times that `bench engine --what steps --json` wrote on this machine. Without it: measured here.
    #[arg(long, value_name = "FILE")]
    steps: Option<PathBuf>,
    /// Tokens of every answer.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    tokens: u32,
    /// Players, each with an NPC of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    conversations: u16,
    /// Lets turns ask what `turn.tracks` says besides their lines: the choices.
    #[arg(long)]
    tracks: bool,
    /// Writes the figures here too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    settings: ServeArgs,
}

pub(super) fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let share = |load: &f64| *load > 0.0 && *load <= 2.0;
    ensure!(args.loads.iter().all(share), "--loads must be above 0 and at most 2");
    ensure!(args.seconds >= 1.0 && args.seconds <= 3600.0, "--seconds must be 1 to 3600");
    let mut config = args.settings.config()?;
    if !args.tracks {
        config.turn.tracks.clear();
    }
    super::super::logging::start(&config.log)?;
    let paths = serve::model_paths(&config)?;
    let packs = tempfile::tempdir()?;
    let model = npc_onnx::ModelFile::read(&paths.model)?;
    adapters::write_packs(&model, packs.path(), true)?;
    packs.path().clone_into(&mut config.packs.path);
    // Answers of one length, and no scripted lines in the place of refusals.
    config.turn.ignore_end = true;
    config.npc.on_overload = OnOverload::Error;
    config.engine.max_adapters = config.engine.max_adapters.max(adapters::COUNT);
    let mut timer = steps::open(&paths, &config.engine, &config.turn)?;
    let steps = step_times(args, &mut timer)?;
    let checks = super::super::runtime()?.block_on(check(args, &config, paths, steps, timer))?;
    print!("{}", checks.table());
    match &args.json {
        Some(file) => {
            let text = serde_json::to_string_pretty(&checks)?;
            std::fs::write(file, text).with_context(|| file.display().to_string())
        }
        None => Ok(()),
    }
}

/// Read, or measured.
fn step_times(args: &PlanArgs, timer: &mut StepTimer) -> anyhow::Result<StepTimes> {
    if let Some(file) = &args.steps {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        return Ok(StepTimes::from_bench(&file.display().to_string(), &text)?);
    }
    let measured = steps::measure(timer, 3)?;
    eprintln!("{}", measured.table());
    Ok(measured.fit.times)
}

async fn check(
    args: &PlanArgs,
    config: &Config,
    paths: Paths,
    steps: StepTimes,
    timer: StepTimer,
) -> anyhow::Result<Checks> {
    let host = Host::start(config.clone(), paths).await?;
    let (model, decoder) = (host.model.clone(), host.decoder);
    let pieces = (args.seconds / PIECE_S).round().max(1.0) as u32;
    let lines = u64::from(args.conversations) * (config.turn.window_max as u64 + 1);
    let measured = Measuring { args, host: &host, server: server(args, config, steps), pieces, lines, timer }
        .run()
        .await;
    host.stop().await?;
    let (server, capacity, loads) = measured?;
    Ok(Checks {
        version: super::report::VERSION,
        machine: Machine::read(),
        model,
        decoder: decoder.to_owned(),
        answer_tokens: args.tokens,
        seconds: args.seconds,
        turn_overhead_ms: server.turn_overhead_s * 1e3,
        capacity_lines_per_s: capacity,
        loads,
        steps: server.steps,
    })
}

/// The gateway as the simulation knows it; what a turn adds is not known yet.
fn server(args: &PlanArgs, config: &Config, steps: StepTimes) -> Server {
    let engine = &config.engine;
    let each = if args.tracks { KEPT_EACH_WITH_CHOICES } else { KEPT_EACH };
    let kept = (NPCS * each) as usize * lines::KINDS;
    let seconds = |ms: u64| ms as f64 / 1e3;
    Server {
        steps,
        rows: engine.rows,
        kept,
        sequences: engine.rows + kept + OPTION_SEQUENCES,
        context: engine.context,
        prefill_budget: engine.prefill_budget,
        queue: engine.queue,
        turn_overhead_s: 0.0,
        admission: Admission {
            queue_timeout_s: seconds(config.turn.queue_timeout_ms),
            overload_after_s: seconds(engine.overload_after_ms),
            overload_wait_s: seconds(engine.overload_wait_ms),
            tracks_timeout_s: seconds(config.turn.tracks_timeout_ms),
            mailbox: config.npc.mailbox,
        },
    }
}

struct Measuring<'a> {
    args: &'a PlanArgs,
    host: &'a Host,
    server: Server,
    /// Parts that each load is offered in.
    pieces: u32,
    /// So many, and every conversation is about as long as it will be.
    lines: u64,
    /// A decoder that tells how fast the machine is while the gateway does nothing.
    timer: StepTimer,
}

impl Measuring<'_> {
    async fn run(mut self) -> anyhow::Result<(Server, Pair, Vec<Check>)> {
        let rows = u16::try_from(self.server.rows).unwrap_or(u16::MAX).min(self.args.conversations);
        eprintln!("==> {} lines before anything is measured", self.lines);
        let (mut said, start) = (0, Instant::now());
        while said < self.lines && start.elapsed() < FILL {
            said += self.offer(None, rows, BEFORE.as_secs_f64()).await?.0.answered;
        }
        eprintln!("==> lines of {rows} clients, as many as there are rows");
        let busy = self.heed(None, rows).await?;
        let lines = Lines::new(&busy.heard, busy.work)?;
        let closed = Process::Closed { clients: usize::from(rows), think_s: 0.0 };
        let most = simulated(&busy.server, lines.spread(1000), closed, 120.0)?;
        let capacity = Pair::new(most.lines_per_s, busy.lines_per_second);

        eprintln!("==> lines one at a time");
        let idle = self.heed(None, 1).await?;
        // So rare that no line meets another.
        let lines = Lines::new(&idle.heard, idle.work)?.at(0.02, 1);
        let alone = simulated(&idle.server, lines, Process::Open, 20_000.0)?;
        let added_ms = idle.first.p50 - alone.first_token_ms.p50;
        self.server.turn_overhead_s = (added_ms / 1e3).clamp(0.0, 1.0);

        let mut loads = Vec::new();
        for share in &self.args.loads {
            let rate = share * most.lines_per_s;
            eprintln!("==> {rate:.2} lines a second, {:.0} % of what should be possible", share * 100.0);
            let heeded = self.heed(Some(rate), 1).await?;
            loads.push(self.compare(*share, &heeded)?);
        }
        Ok((self.server, capacity, loads))
    }

    /// Offers lines in pieces, and looks before and behind each of them how fast the machine is.
    async fn heed(&mut self, rate: Option<f64>, clients: u16) -> anyhow::Result<Heeded> {
        let (pieces, seconds) = (self.pieces, self.args.seconds / f64::from(self.pieces));
        let (mut all, mut drifts) = (Vec::new(), Vec::new());
        let mut work = Work { tokens: 0, busy_s: 0.0 };
        let (mut offered, mut answered, mut took) = (0, 0, 0.0);
        for _ in 0..pieces {
            self.offer(rate, clients, BEFORE.as_secs_f64()).await?;
            drifts.push(Drift::measure(&mut self.timer, &self.server.steps)?);
            let (tally, heard, own) = self.offer(rate, clients, seconds).await?;
            drifts.push(Drift::measure(&mut self.timer, &self.server.steps)?);
            (offered, answered) = (offered + tally.offered, answered + tally.answered);
            took += tally.answered as f64 / tally.lines_per_second.max(f64::MIN_POSITIVE);
            work.tokens += own.tokens;
            work.busy_s += own.busy_s;
            all.extend(heard);
        }
        let drift = Drift::mean(&drifts);
        let server = Server { steps: drift.of(&self.server.steps), ..self.server.clone() };
        let first = percentiles(all.iter().map(|heard| heard.first_token_ms).collect());
        let lines_per_second = answered as f64 / took.max(f64::MIN_POSITIVE);
        Ok(Heeded { offered, answered, lines_per_second, first, heard: all, work, drift, server })
    }

    /// Offers lines; also tells what the engine computed meanwhile.
    async fn offer(
        &self,
        rate: Option<f64>,
        clients: u16,
        seconds: f64,
    ) -> anyhow::Result<(Tally, Vec<Heard>, Work)> {
        let before = self.host.engine.stats();
        let offered = Offer {
            rate,
            clients,
            seconds: Duration::from_secs_f64(seconds),
            conversations: self.args.conversations,
            tokens: self.args.tokens,
        };
        let (tally, heard) = offer(offered, &self.host.url).await?;
        let after = self.host.engine.stats();
        let busy_s = after.busy.saturating_sub(before.busy).as_secs_f64();
        Ok((tally, heard, Work { tokens: after.tokens - before.tokens, busy_s }))
    }

    /// What was seen under a load, and what the simulation says of the same lines.
    fn compare(&self, share: f64, heeded: &Heeded) -> anyhow::Result<Check> {
        let Heeded { offered, answered, first: seen, heard, work, drift, server, .. } = heeded;
        let lines = Lines::new(heard, *work)?;
        let rate = *offered as f64 / self.args.seconds;
        // How long steps took meanwhile says how fast the machine was; a little longer steps also have a little more in them.
        let (mut paced, mut pace) = (server.clone(), 1.0);
        for _ in 0..PACINGS {
            let model = simulated(&paced, lines.at(rate, NPCS), Process::Open, SIMULATED_S)?;
            pace *= pace_of(work.busy_s / self.args.seconds, model.busy);
            paced.steps = server.steps.slower(pace);
        }
        let simulated = simulated(&paced, lines.at(rate, NPCS), Process::Open, SIMULATED_S)?;
        let predicted = simulated.first_token_ms;
        Ok(Check {
            share,
            drift: Drift { decode: drift.decode * pace, prefill: drift.prefill * pace },
            offered_lines_per_s: rate,
            lines: *answered,
            not_answered: offered - answered,
            prompt_tokens: lines.mean(|heard| heard.prompt_tokens),
            cached_tokens: lines.mean(|heard| heard.cached_tokens),
            generated_tokens: lines.mean(|heard| heard.generated_tokens),
            choices: lines.mean(|heard| heard.choices),
            first_token_p50_ms: Pair::new(predicted.p50, seen.p50),
            first_token_p95_ms: Pair::new(predicted.p95, seen.p95),
            lines_per_s: Pair::new(simulated.lines_per_s, *answered as f64 / self.args.seconds),
            predicted_busy: simulated.busy,
        })
    }
}

/// How much longer steps took than they should have, from the shares of the time that they took.
fn pace_of(seen: f64, predicted: f64) -> f64 {
    let pace = seen / predicted;
    if pace.is_finite() { pace.clamp(0.5, 2.0) } else { 1.0 }
}

/// What was heard of lines, and the machine as fast as it was meanwhile.
struct Heeded {
    offered: u64,
    answered: u64,
    lines_per_second: f64,
    first: Percentiles,
    heard: Vec<Heard>,
    work: Work,
    /// How much longer steps took than when they were measured.
    drift: Drift,
    server: Server,
}

fn simulated(
    server: &Server,
    archetypes: Vec<ArchetypeLoad>,
    process: Process,
    seconds: f64,
) -> anyhow::Result<Simulated> {
    let acts = |load: &ArchetypeLoad| load.actions_per_npc_per_s;
    // Until each NPC has spoken some times.
    let slowest = archetypes.iter().map(acts).filter(|rate| *rate > 0.0).fold(1.0, f64::min);
    let warm_up_s = if process == Process::Open { (4.0 / slowest).min(10_000.0) } else { 60.0 };
    let arrivals = Arrivals { archetypes, seconds, warm_up_s, seed: 1, process };
    Ok(simulate(server, &arrivals)?)
}
