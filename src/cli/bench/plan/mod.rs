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
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use self::lines::{Lines, Work};
use self::report::{Check, Checks, Pair};
use super::adapters;
use super::host::Host;
use super::load::{Heard, Offer, Tally, offer};
use super::report::Machine;
use super::steps;
use crate::app::Paths;
use crate::cli::serve::{self, ServeArgs};
use crate::config::{Config, OnOverload};
use crate::engine::{OPTION_SEQUENCES, StepTimer};
use crate::planner::load::ArchetypeLoad;
use crate::planner::simulation::{Admission, Arrivals, Process, Server, Simulated, simulate};
use crate::planner::steps::StepTimes;

/// Seconds of a load that are not looked at: conversations become warm, and the queue as long as it will be.
const BEFORE: Duration = Duration::from_secs(3);

/// Simulated seconds of a load that are counted.
const SIMULATED_S: f64 = 600.0;

/// Conversations that are kept in the simulation: how warm prompts are is known from what was heard.
const KEPT: usize = 4096;

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
    let steps = step_times(args, &config, &paths)?;
    let checks = super::super::runtime()?.block_on(check(args, &config, paths, steps))?;
    print!("{}", checks.table());
    match &args.json {
        Some(file) => {
            let text = serde_json::to_string_pretty(&checks)?;
            std::fs::write(file, text).with_context(|| file.display().to_string())
        }
        None => Ok(()),
    }
}

/// Read, or measured on a decoder that nothing else uses.
fn step_times(args: &PlanArgs, config: &Config, paths: &Paths) -> anyhow::Result<StepTimes> {
    if let Some(file) = &args.steps {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        return Ok(StepTimes::from_bench(&file.display().to_string(), &text)?);
    }
    let mut engine = config.engine.clone();
    engine.rows = engine.rows.max(steps::rows());
    let timer = StepTimer::open(&paths.model, &paths.library, &engine, steps::sampling(&config.turn))?;
    let folder = tempfile::tempdir()?;
    adapters::write_all(timer.model(), folder.path())?;
    let measured = steps::measure(timer, folder.path(), 3)?;
    eprintln!("{}", measured.table());
    Ok(measured.fit.times)
}

async fn check(args: &PlanArgs, config: &Config, paths: Paths, steps: StepTimes) -> anyhow::Result<Checks> {
    let host = Host::start(config.clone(), paths).await?;
    let (model, decoder) = (host.model.clone(), host.decoder);
    let measured = Measuring { args, host: &host, server: server(config, steps) }.run().await;
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
fn server(config: &Config, steps: StepTimes) -> Server {
    let engine = &config.engine;
    let seconds = |ms: u64| ms as f64 / 1e3;
    Server {
        steps,
        rows: engine.rows,
        kept: KEPT,
        sequences: engine.rows + KEPT + OPTION_SEQUENCES,
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
}

impl Measuring<'_> {
    async fn run(mut self) -> anyhow::Result<(Server, Pair, Vec<Check>)> {
        let rows = u16::try_from(self.server.rows).unwrap_or(u16::MAX).min(self.args.conversations);
        eprintln!("==> lines of {rows} clients, as many as there are rows");
        // Twice: conversations become as long as they will be.
        self.offer(None, rows, BEFORE.as_secs_f64()).await?;
        let (busy, heard, work) = self.offer(None, rows, self.args.seconds).await?;
        let lines = Lines::new(&heard, work)?;
        let closed = Process::Closed { clients: usize::from(rows), think_s: 0.0 };
        let most = self.simulate(lines.spread(1000), closed, 120.0)?;
        let seen = busy.answered as f64 / self.args.seconds;
        let capacity = Pair::new(most.lines_per_s, seen);

        eprintln!("==> lines one at a time");
        let (idle, heard, work) = self.offer(None, 1, self.args.seconds.min(10.0)).await?;
        // So rare that no line meets another.
        let alone = self.simulate(Lines::new(&heard, work)?.at(0.02, 1), Process::Open, 20_000.0)?;
        let added_ms = idle.first_token_ms.p50 - alone.first_token_ms.p50;
        self.server.turn_overhead_s = (added_ms / 1e3).clamp(0.0, 1.0);

        let mut loads = Vec::new();
        for share in &self.args.loads {
            let rate = share * most.lines_per_s;
            eprintln!("==> {rate:.2} lines a second, {:.0} % of what should be possible", share * 100.0);
            self.offer(Some(rate), 1, BEFORE.as_secs_f64()).await?;
            let (tally, heard, work) = self.offer(Some(rate), 1, self.args.seconds).await?;
            loads.push(self.compare(*share, &tally, &heard, work)?);
        }
        Ok((self.server, capacity, loads))
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
        Ok((tally, heard, Work { tokens: after.tokens - before.tokens }))
    }

    fn simulate(
        &self,
        archetypes: Vec<ArchetypeLoad>,
        process: Process,
        seconds: f64,
    ) -> anyhow::Result<Simulated> {
        let acts = |load: &ArchetypeLoad| load.actions_per_npc_per_s;
        // Until each NPC has spoken some times.
        let slowest = archetypes.iter().map(acts).filter(|rate| *rate > 0.0).fold(1.0, f64::min);
        let warm_up_s = if process == Process::Open { (4.0 / slowest).min(10_000.0) } else { 60.0 };
        let arrivals = Arrivals { archetypes, seconds, warm_up_s, seed: 1, process };
        Ok(simulate(&self.server, &arrivals)?)
    }

    /// What was seen under a load, and what the simulation says of the same lines.
    fn compare(&self, share: f64, tally: &Tally, heard: &[Heard], work: Work) -> anyhow::Result<Check> {
        let lines = Lines::new(heard, work)?;
        let rate = tally.offered as f64 / self.args.seconds;
        let simulated = self.simulate(lines.at(rate, 32), Process::Open, SIMULATED_S)?;
        let seen = tally.first_token_ms;
        let predicted = simulated.first_token_ms;
        Ok(Check {
            share,
            offered_lines_per_s: rate,
            lines: tally.answered,
            not_answered: tally.offered - tally.answered,
            prompt_tokens: lines.mean(|heard| heard.prompt_tokens),
            cached_tokens: lines.mean(|heard| heard.cached_tokens),
            generated_tokens: lines.mean(|heard| heard.generated_tokens),
            choices: lines.mean(|heard| heard.choices),
            first_token_p50_ms: Pair::new(predicted.p50, seen.p50),
            first_token_p95_ms: Pair::new(predicted.p95, seen.p95),
            lines_per_s: Pair::new(simulated.lines_per_s, tally.answered as f64 / self.args.seconds),
            predicted_busy: simulated.busy,
        })
    }
}
