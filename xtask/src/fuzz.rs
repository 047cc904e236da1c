//! `cargo xtask fuzz`: coverage-guided fuzzing of everything that reads what strangers wrote.
//!
//! libFuzzer comes with the crate `libfuzzer-sys`; what it needs of the compiler is in the stable one. So this needs
//! neither a nightly toolchain nor cargo-fuzz, and no sanitizer: the code is Rust, whose faults are panics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

use crate::test::{asset, build, pull};
use crate::{cargo, root, step};

/// What cargo-fuzz sets as well: counters for every edge, and what comparisons compare.
const INSTRUMENTED: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=16",
    "-Cdebug-assertions",
];

const TARGETS: [&str; 7] = ["msgpack", "json", "handshake", "pack", "model", "adapter", "checkpoint"];

/// One input may take so many seconds, and the process so many MB.
const INPUT_SECONDS: u32 = 20;
const MEMORY_MB: u32 = 2048;

#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// Seconds for each target.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Only this target.
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
}

/// What libFuzzer said of one run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stats {
    executions: u64,
    /// Edges reached.
    coverage: u64,
    /// Inputs in the corpus.
    corpus: u64,
}

pub fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    let environment = environment()?;
    let binaries = compile()?;
    let work = root().join("target/fuzz");
    let mut table = "| target | executions | edges | corpus | found |\n|---|---|---|---|---|\n".to_owned();
    let mut found_any = false;
    for target in
        TARGETS.into_iter().filter(|target| args.target.as_deref().is_none_or(|only| only == *target))
    {
        let (corpus, artifacts) = (work.join("corpus").join(target), work.join("artifacts").join(target));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        let before = files(&artifacts)?;
        eprintln!("==> {target} for {} s", args.seconds);
        let mut command = Command::new(binaries.join(target));
        command
            .arg(&corpus)
            .args(seeds(target))
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-timeout={INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-verbosity=1"])
            .envs(&environment)
            .current_dir(&work)
            .stdout(Stdio::null());
        let output = command.output().with_context(|| format!("cannot run the target {target}"))?;
        let log = String::from_utf8_lossy(&output.stderr);
        fs::write(work.join(format!("{target}.log")), log.as_bytes())?;
        let stats = stats(&log);
        let new: Vec<PathBuf> =
            files(&artifacts)?.into_iter().filter(|file| !before.contains(file)).collect();
        if !output.status.success() || !new.is_empty() {
            found_any = true;
            eprintln!(
                "{}",
                log.lines()
                    .rev()
                    .take(60)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            for file in &new {
                eprintln!(
                    "==> {}: put it into fuzz/corpus/{target}/, and it is a test from then on",
                    file.display()
                );
            }
        }
        if stats.executions == 0 {
            bail!("the target {target} did not run: {}", output.status);
        }
        let Stats { executions, coverage, corpus } = stats;
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {target} | {executions} | {coverage} | {corpus} | {} |", new.len());
    }
    println!("{table}");
    if found_any {
        bail!("something was found");
    }
    Ok(())
}

/// The same as for the tests: the handshake talks to a gateway.
fn environment() -> anyhow::Result<BTreeMap<&'static str, String>> {
    if std::env::var_os("NPC_GATEWAY_TEST_MODEL").is_some() && std::env::var_os("ORT_DYLIB_PATH").is_some() {
        return Ok(BTreeMap::new());
    }
    let assets = pull(&build()?, "int8")?;
    Ok([
        ("ORT_DYLIB_PATH", asset(&assets, "runtime")?.clone()),
        ("NPC_GATEWAY_TEST_MODEL", asset(&assets, "model")?.clone()),
    ]
    .into())
}

/// Builds all targets; returns their folder.
fn compile() -> anyhow::Result<PathBuf> {
    let folder = root().join("fuzz");
    // The same versions as everywhere else; what only the targets need is added.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).context("Cargo.lock")?;
    let host = host()?;
    let target = root().join("target/fuzz/build");
    // With `--target` the flags are not for build scripts and macros.
    step(
        cargo()
            .args(["build", "--release", "--bins", "--target", &host])
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTFLAGS", INSTRUMENTED.join(" "))
            .current_dir(&folder),
    )?;
    Ok(target.join(host).join("release"))
}

/// The triple of this machine.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Folders of inputs that are kept in the repository; libFuzzer reads them and writes nothing there.
fn seeds(target: &str) -> Vec<PathBuf> {
    let golden: &[&str] = match target {
        "json" | "msgpack" => &["schemas/golden/client", "schemas/golden/server"],
        _ => &[],
    };
    let own = Path::new("fuzz/corpus").join(target);
    let folders = golden.iter().map(PathBuf::from).chain([own]);
    folders.map(|folder| root().join(folder)).filter(|folder| folder.is_dir()).collect()
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}

/// Reads the last status line (`#1234  DONE   cov: 56 ft: 78 corp: 9/1Kb …`) and the statistics.
fn stats(log: &str) -> Stats {
    let after = |line: &str, key: &str| {
        let word = line.split_once(key)?.1.split_whitespace().next()?;
        word.split('/').next()?.parse().ok()
    };
    let last = |key: &str| log.lines().rev().find_map(|line| after(line, key));
    Stats {
        executions: last("stat::number_of_executed_units:").unwrap_or_default(),
        coverage: last(" cov: ").unwrap_or_default(),
        corpus: last(" corp: ").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzers_words_are_read() {
        let log = "INFO: seed corpus: files: 9\n#2 INITED cov: 10 ft: 11 corp: 9/120b exec/s: 0 rss: 40Mb\n\
                   #50000\tDONE   cov: 1234 ft: 5678 corp: 321/14Kb lim: 4096 exec/s: 900 rss: 61Mb\n\
                   Done 50000 runs in 60 second(s)\nstat::number_of_executed_units: 50000\n";
        assert_eq!(stats(log), Stats { executions: 50000, coverage: 1234, corpus: 321 });
        assert_eq!(stats("nonsense"), Stats::default());
    }

    #[test]
    fn every_target_is_known_and_has_seeds() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
        for target in TARGETS {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            assert!(!seeds(target).is_empty(), "{target}");
        }
    }
}
