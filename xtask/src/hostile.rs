//! `cargo xtask hostile`: millions of frames that no honest client sends, at a release build.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use npc_raw::attack::{self, Corpus, Plan, Tally};
use npc_raw::{Encoding, honest, honest::Honest};

use crate::server::{self, Server};
use crate::{root, step};

/// Memory may grow by this share and so many bytes more, as in `soak`.
const GROWTH: f64 = 0.05;
const GROWTH_BYTES: f64 = 16e6;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Under these the sockets live as long as the attackers want, and memory for conversations is soon as full as it gets.
/// An honest client says as many lines as are answered. Sessions whose socket was lost are there until their time is
/// over: it is over for the first of them before memory is looked at, or it would grow by them until the end.
const SETTINGS: [&str; 4] = [
    "session.heartbeat_ms=600000",
    "session.turns_per_minute=0",
    "session.resume_window_ms=5000",
    "engine.kv_memory_mb=64",
];
/// `session.max_frame_bytes`.
const MAX_FRAME_BYTES: usize = 65536;

#[derive(Debug, Args)]
pub struct HostileArgs {
    /// Frames, broken ones and HTTP requests in all. What the server remembers of turns for two minutes fills up
    /// meanwhile: with a million the memory may still be growing to what it may be.
    #[arg(long, default_value_t = 3_000_000)]
    frames: u64,
    /// Sockets at the same time.
    #[arg(long, default_value_t = 32)]
    sockets: usize,
    /// The same seed does the same again.
    #[arg(long, default_value_t = 6455)]
    seed: u64,
    /// A gateway that is built already, instead of a release build of this tree.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// A setting of the gateway; may be given again.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

/// What the server held, and after which share of the frames.
type Memory = Vec<(f64, f64)>;

pub fn run(args: &HostileArgs) -> anyhow::Result<()> {
    let gateway = server::gateway(args.gateway.as_deref())?;
    step(Command::new(&gateway).arg("pull").stdout(Stdio::null()))?;
    let data = root().join("target/hostile");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&data);
    let mut words = vec!["--data", data.to_str().context("the folder's name")?];
    words.extend(
        SETTINGS.into_iter().chain(args.sets.iter().map(String::as_str)).flat_map(|set| ["--set", set]),
    );
    let server = Server::start(&gateway, &words)?;

    let golden = root().join("schemas/golden/client");
    let corpus = if golden.is_dir() { Corpus::from_folder(&golden)? } else { Corpus::own() };
    let plan = Plan {
        address: server.address,
        frames: args.frames,
        sockets: args.sockets,
        seed: args.seed,
        max_frame_bytes: MAX_FRAME_BYTES,
        corpus,
    };
    eprintln!("==> {} frames from {} sockets, seed {}", args.frames, args.sockets, args.seed);
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let (mut memory, mut looked) = (Memory::new(), start);
    let (tally, honest) = thread::scope(|scope| {
        let honest = Encoding::BOTH.map(|encoding| {
            let stop = &stop;
            scope.spawn(move || honest::converse(server.address, encoding, stop))
        });
        let tally = attack::run(&plan, |sent| {
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                // A server that is gone shows in everything else.
                if let Ok(bytes) = server.resident() {
                    memory.push((sent as f64 / args.frames.max(1) as f64, bytes as f64));
                }
            }
        });
        stop.store(true, Ordering::Relaxed);
        (tally, honest.map(|honest| honest.join().map_err(|_| anyhow::anyhow!("it panicked"))))
    });
    let seconds = start.elapsed().as_secs_f64();
    let lives = server.is_ready().unwrap_or(false);
    let honest = honest.map(|honest| honest.and_then(|done| done.context("an honest client")));
    let checks = checks(&tally, &honest, &memory, lives);
    println!("{}", report(&tally, seconds, &checks));
    if checks.iter().any(|(holds, _)| !holds) {
        bail!("not everything held");
    }
    Ok(())
}

/// The median memory in the second tenth of the frames and in the last.
fn early_and_late(memory: &Memory) -> Option<(f64, f64)> {
    let between = |from: f64, to: f64| {
        let mut found: Vec<f64> =
            memory.iter().filter(|(at, _)| *at >= from && *at <= to).map(|(_, bytes)| *bytes).collect();
        found.sort_by(f64::total_cmp);
        found.get(found.len() / 2).copied()
    };
    Some((between(0.1, 0.2)?, between(0.9, 1.1)?))
}

fn checks(
    tally: &Tally,
    honest: &[anyhow::Result<Honest>],
    memory: &Memory,
    lives: bool,
) -> Vec<(bool, String)> {
    let mut checks = vec![
        (lives, "the server is up and ready".to_owned()),
        (
            tally.wrong == 0,
            format!(
                "every attack got what it deserves ({} did not) {}",
                tally.wrong,
                tally.messages.join("; ")
            ),
        ),
        (!tally.closes.contains_key(&4000), "nothing was closed as an internal fault (4000)".to_owned()),
    ];
    for honest in honest {
        checks.push(match honest {
            Ok(seen) => (
                seen.turns > 0,
                format!(
                    "an honest client finished all of its {} turns ({} with a scripted line)",
                    seen.turns, seen.scripted
                ),
            ),
            Err(error) => (false, format!("an honest client finishes its turns: {error:#}")),
        });
    }
    checks.push(match early_and_late(memory) {
        Some((early, late)) => (
            late <= early * (1.0 + GROWTH) + GROWTH_BYTES,
            format!(
                "resident memory went from {:.1} MB (second tenth) to {:.1} MB (last tenth)",
                early / 1e6,
                late / 1e6
            ),
        ),
        None => (false, "memory was looked at often enough (take more --frames)".to_owned()),
    });
    checks
}

fn report(tally: &Tally, seconds: f64, checks: &[(bool, String)]) -> String {
    let mut out = format!(
        "{} frames over {} connections in {seconds:.0} s\n\n| attack | times |\n|---|---|\n",
        tally.sent, tally.connections
    );
    // Writing to a string cannot fail.
    for (kind, times) in &tally.kinds {
        let _ = writeln!(out, "| {kind} | {times} |");
    }
    let list = |counts: &std::collections::BTreeMap<u16, u64>| {
        counts.iter().map(|(code, times)| format!("{code} × {times}")).collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(out, "\nclose codes: {}\nHTTP: {}\n", list(&tally.closes), list(&tally.statuses));
    for (holds, what) in checks {
        let _ = writeln!(out, "- {}: {}", what.trim_end(), if *holds { "holds" } else { "does NOT hold" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(tally: &Tally, honest: anyhow::Result<Honest>, late: f64) -> bool {
        let memory: Memory =
            (0..=100).map(|i| (f64::from(i) / 100.0, if i < 80 { 1e8 } else { late })).collect();
        checks(tally, &[honest], &memory, true).iter().all(|(holds, _)| *holds)
    }

    #[test]
    fn what_goes_wrong_fails() {
        let good = || Ok(Honest { turns: 3, scripted: 1 });
        let fine = Tally::default();
        assert!(hold(&fine, good(), 1.2e8));
        assert!(!hold(&fine, good(), 1.3e8));
        assert!(!hold(&fine, Ok(Honest::default()), 1e8));
        assert!(!hold(&fine, Err(anyhow::anyhow!("gone")), 1e8));
        assert!(!hold(&Tally { wrong: 1, ..Tally::default() }, good(), 1e8));
        assert!(!hold(&Tally { closes: [(4000, 1)].into(), ..Tally::default() }, good(), 1e8));
        assert!(!checks(&fine, &[good()], &Memory::new(), true).iter().all(|(holds, _)| *holds));
    }
}
