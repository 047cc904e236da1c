//! `cargo xtask soak`: twice what the gateway can answer, for minutes.
//!
//! Lines come over loopback from `npc-gateway bench load`, in a process of its own. First as many at a time as there
//! are rows, which says how many lines a second the gateway can answer; then 80 % of that, then 200 %.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::server::{self, Server};
use crate::{root, step};

/// Lines at a time that keep all rows busy: `engine.rows` by default.
const CLIENTS: &str = "16";

/// Conversations: more than rows and queue have room for together, so that somebody is always free to speak.
const CONVERSATIONS: &str = "128";

/// Settings under which the server is after a minute what it stays: the memory for keys and values is full, and
/// conversations are as long, and lines as dear, as they get.
const SETTLED: [&str; 5] = [
    "engine.kv_memory_mb=256",
    "turn.window_min=1",
    "turn.window_max=2",
    // A player here is quicker than a person.
    "session.frames_per_second=0",
    "session.turns_per_minute=0",
];

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Memory may grow by this share and so many bytes more.
const GROWTH: f64 = 0.05;
const GROWTH_BYTES: f64 = 16e6;

/// How much later than at 80 % the first token of an admitted line may come, 95 of 100 times.
const LATER: f64 = 1.5;

#[derive(Debug, Args)]
pub struct SoakArgs {
    /// For how long twice the capacity is offered, for each way to answer overload. Memory is compared between the
    /// second minute and the last; of less than four minutes, between the second quarter and the last.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds at full load twice, of which the second time counts, and at 80 %.
    #[arg(long, default_value_t = 60.0)]
    before: f64,
    /// Fails if the first tokens come too late, too.
    #[arg(long)]
    strict: bool,
    /// A gateway that is built already, instead of a release build of this tree.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A setting of the gateway; may be given again.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

/// What `npc-gateway bench load` counted; its own documentation says of what.
#[derive(Debug, Clone, Default, Deserialize)]
struct Tally {
    offered: u64,
    sent: u64,
    answered: u64,
    scripted: u64,
    refused: u64,
    refused_without_retry: u64,
    failed: u64,
    lost: u64,
    extra_frames: u64,
    closed_sockets: u64,
    lines_per_second: f64,
    first_token_ms: Percentiles,
    messages: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
}

/// How an overloaded gateway answers: `npc.on_overload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnOverload {
    Line,
    Error,
}

impl OnOverload {
    fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Error => "error",
        }
    }
}

/// What the server held, and when, from the beginning of a load.
type Memory = Vec<(Duration, f64)>;

/// One server's loads.
struct Soaked {
    on_overload: OnOverload,
    /// Capacity, 80 %, 200 %: the load's name, the lines a second that were to be offered, what came of them, and the
    /// server's memory.
    loads: Vec<(&'static str, Option<f64>, Tally, Memory)>,
}

/// Something that must hold.
struct Check {
    what: String,
    holds: bool,
    /// Whether it depends on time, and so on what else the machine does.
    timed: bool,
}

pub fn run(args: &SoakArgs) -> anyhow::Result<()> {
    let gateway = server::gateway(args.gateway.as_deref())?;
    step(Command::new(&gateway).arg("pull").stdout(Stdio::null()))?;
    let mut failed = false;
    for on_overload in [OnOverload::Error, OnOverload::Line] {
        let soaked = soak(args, &gateway, on_overload)?;
        let checks = checks(&soaked);
        println!("\n{}", table(&soaked, &checks));
        failed |= checks.iter().any(|check| !check.holds && (args.strict || !check.timed));
    }
    if failed {
        bail!("not everything held");
    }
    Ok(())
}

fn soak(args: &SoakArgs, gateway: &Path, on_overload: OnOverload) -> anyhow::Result<Soaked> {
    let work = root().join("target/soak");
    // What an earlier run left.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let (data, how) = (work.join("data"), format!("npc.on_overload={}", on_overload.name()));
    let data = data.to_str().context("the folder's name")?;
    let mut words = vec!["--data", data, "--set", &how];
    words.extend(
        SETTLED.into_iter().chain(args.sets.iter().map(String::as_str)).flat_map(|set| ["--set", set]),
    );
    let server = Server::start(gateway, &words)?;
    let load = |name, rate: Option<f64>, seconds: f64| {
        let at = rate.map_or_else(|| format!("{CLIENTS} at a time"), |rate| format!("{rate:.2} lines/s"));
        eprintln!("==> on_overload={}, {name}: {at} for {seconds:.0} s", on_overload.name());
        let (tally, memory) = load(gateway, &server, &work.join("load.json"), rate, seconds)?;
        anyhow::Ok((name, rate, tally, memory))
    };
    load("warming up", None, args.before)?;
    let full = load("capacity", None, args.before)?;
    let capacity = full.2.lines_per_second;
    if capacity <= 0.0 {
        bail!("no line was answered: {:?}", full.2.messages);
    }
    let loads = vec![
        full,
        load("80 %", Some(capacity * 0.8), args.before)?,
        load("200 %", Some(capacity * 2.0), args.minutes * 60.0)?,
    ];
    Ok(Soaked { on_overload, loads })
}

/// Kills what it holds when it is dropped before its end.
struct Offering(Child);

impl Drop for Offering {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one load and looks at the server's memory meanwhile.
fn load(
    gateway: &Path,
    server: &Server,
    json: &Path,
    rate: Option<f64>,
    seconds: f64,
) -> anyhow::Result<(Tally, Memory)> {
    let mut command = Command::new(gateway);
    command.args(["bench", "load", "--conversations", CONVERSATIONS]);
    command.args(["--url", &format!("ws://{}/ws", server.address), "--seconds", &seconds.to_string()]);
    match rate {
        Some(rate) => command.args(["--rate", &rate.to_string()]),
        None => command.args(["--clients", CLIENTS]),
    };
    command.arg("--json").arg(json).stdout(Stdio::null());
    let mut offering = Offering(command.spawn().context("cannot start the load")?);
    let (start, mut memory) = (Instant::now(), Memory::new());
    let status: ExitStatus = loop {
        if let Some(status) = offering.0.try_wait()? {
            break status;
        }
        // What is held while the last lines end is not held under load.
        if start.elapsed().as_secs_f64() <= seconds {
            memory.push((start.elapsed(), server.resident()? as f64));
        }
        sleep(LOOK);
    };
    if !status.success() {
        bail!("`npc-gateway bench load` failed: {status}");
    }
    Ok((serde_json::from_slice(&fs::read(json)?)?, memory))
}

/// The median memory in the second minute (or quarter, if that is less) and in the last.
fn early_and_late(memory: &Memory) -> Option<(f64, f64)> {
    let end = memory.last()?.0;
    let part = Duration::from_mins(1).min(end / 4);
    let between = |from: Duration, to: Duration| {
        let mut found: Vec<f64> =
            memory.iter().filter(|(at, _)| *at >= from && *at <= to).map(|(_, bytes)| *bytes).collect();
        found.sort_by(f64::total_cmp);
        found.get(found.len() / 2).copied()
    };
    Some((between(part, part * 2)?, between(end.checked_sub(part)?, end)?))
}

fn checks(soaked: &Soaked) -> Vec<Check> {
    let mut all = Vec::new();
    let mut check = |holds: bool, what: String| all.push(Check { what, holds, timed: false });
    for (name, _, tally, _) in &soaked.loads {
        let wrong = tally.lost + tally.failed + tally.extra_frames + tally.closed_sockets;
        let ended = tally.answered + tally.scripted + tally.refused;
        check(
            wrong == 0 && ended == tally.sent,
            format!(
                "{name}: each of {} lines ended once ({} lost, {} failed, {} frames too many, {} sockets closed) {}",
                tally.sent,
                tally.lost,
                tally.failed,
                tally.extra_frames,
                tally.closed_sockets,
                tally.messages.join("; ")
            ),
        );
        check(
            tally.refused_without_retry == 0,
            format!("{name}: all {} refused ones were told when to come back", tally.refused),
        );
    }
    let (Some((_, _, light, _)), Some((_, _, heavy, memory))) = (soaked.loads.get(1), soaked.loads.get(2))
    else {
        return all;
    };
    let (turned_away, other) = match soaked.on_overload {
        OnOverload::Error => (heavy.refused, heavy.scripted),
        OnOverload::Line => (heavy.scripted, heavy.refused),
    };
    check(
        turned_away > 0 && other == 0,
        format!(
            "200 %: overload is answered as on_overload={} says ({turned_away} lines)",
            soaked.on_overload.name()
        ),
    );
    check(
        heavy.sent * 20 >= heavy.offered * 19,
        format!("200 %: somebody was free to say {} of {} lines", heavy.sent, heavy.offered),
    );
    if let Some((early, late)) = early_and_late(memory) {
        check(
            late <= early * (1.0 + GROWTH) + GROWTH_BYTES,
            format!("200 %: resident memory went from {:.0} MB to {:.0} MB", early / 1e6, late / 1e6),
        );
    } else {
        check(false, "200 %: memory was not looked at often enough".to_owned());
    }
    let ratio = heavy.first_token_ms.p95 / light.first_token_ms.p95.max(1e-9);
    all.push(Check {
        holds: ratio <= LATER,
        timed: true,
        what: format!(
            "200 %: the first token of an admitted line took {ratio:.2} times as long as at 80 % (95 of 100)"
        ),
    });
    all
}

fn table(soaked: &Soaked, checks: &[Check]) -> String {
    let mut out = format!(
        "npc.on_overload={}\n\n| load | offered lines/s | lines | by the model | lines/s | scripted | refused | lost \
         | first token p50 ms | p95 ms | resident MB |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        soaked.on_overload.name()
    );
    // Writing to a string cannot fail.
    for (name, rate, tally, memory) in &soaked.loads {
        let offered = rate.map_or_else(|| format!("{CLIENTS} at a time"), |rate| format!("{rate:.2}"));
        let resident = memory.last().map_or(0.0, |(_, bytes)| bytes / 1e6);
        let _ = writeln!(
            out,
            "| {name} | {offered} | {} | {} | {:.2} | {} | {} | {} | {:.0} | {:.0} | {resident:.0} |",
            tally.sent,
            tally.answered,
            tally.lines_per_second,
            tally.scripted,
            tally.refused,
            tally.lost,
            tally.first_token_ms.p50,
            tally.first_token_ms.p95,
        );
    }
    out.push('\n');
    for check in checks {
        let mark = match (check.holds, check.timed) {
            (true, _) => "holds",
            (false, true) => "does NOT hold (counts with --strict)",
            (false, false) => "does NOT hold",
        };
        let _ = writeln!(out, "- {}: {mark}", check.what.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bytes: impl Fn(u64) -> f64, seconds: u64) -> Memory {
        (0..=seconds).map(|at| (Duration::from_secs(at), bytes(at))).collect()
    }

    fn soaked(change: impl Fn(&mut Tally), memory: Memory) -> Soaked {
        let light = Tally { sent: 10, offered: 10, answered: 10, lines_per_second: 1.0, ..Tally::default() };
        let mut heavy = Tally { sent: 20, offered: 20, answered: 10, refused: 10, ..Tally::default() };
        change(&mut heavy);
        let loads = vec![
            ("capacity", None, light.clone(), Memory::new()),
            ("80 %", Some(0.8), light, Memory::new()),
            ("200 %", Some(2.0), heavy, memory),
        ];
        Soaked { on_overload: OnOverload::Error, loads }
    }

    fn wrong(change: impl Fn(&mut Tally), memory: Memory) -> Vec<String> {
        let checks = checks(&soaked(change, memory));
        checks.into_iter().filter(|check| !check.holds).map(|check| check.what).collect()
    }

    #[test]
    fn memory_is_that_of_the_second_minute_and_of_the_last() {
        assert_eq!(early_and_late(&held(|at| at as f64, 600)), Some((90.0, 570.0)));
        assert_eq!(early_and_late(&held(|at| at as f64, 60)), Some((23.0, 53.0)));
        assert_eq!(early_and_late(&Memory::new()), None);
    }

    #[test]
    fn every_fault_is_found() {
        let flat = || held(|_| 500e6, 600);
        assert_eq!(wrong(|_| {}, flat()), Vec::<String>::new());
        assert_eq!(wrong(|_| {}, held(|at| 500e6 + at as f64 * 1e5, 600)).len(), 1);
        let faults: [fn(&mut Tally); 7] = [
            |tally| (tally.lost, tally.answered) = (1, 9),
            |tally| (tally.failed, tally.answered) = (1, 9),
            |tally| tally.extra_frames = 1,
            |tally| tally.refused_without_retry = 1,
            |tally| (tally.refused, tally.answered) = (0, 20),
            |tally| tally.offered = 40,
            |tally| tally.first_token_ms.p95 = 1.0,
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            assert_eq!(wrong(fault, flat()).len(), 1, "{number}");
        }
        assert!(
            table(&soaked(faults[0], flat()), &checks(&soaked(faults[0], flat()))).contains("does NOT hold")
        );
    }
}
