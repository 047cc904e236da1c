//! `cargo xtask test`: everything that the tests need, then the tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::stores::Stores;
use crate::{cargo, clients, root, step};

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Leaves out `cargo test`: the client libraries alone.
    #[arg(long, conflicts_with = "rest")]
    clients: bool,
    /// Passed on to `cargo test`; after a second `--`, to the tests.
    #[arg(last = true)]
    rest: Vec<String>,
}

impl TestArgs {
    /// As if these words had been given.
    pub fn new(words: &[&str]) -> Self {
        Self { clients: false, rest: words.iter().map(|&word| word.to_owned()).collect() }
    }
}

pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    run_with(args, &[])
}

/// The same with these variables, which the tests are told as well.
pub fn run_with(args: &TestArgs, variables: &[(&str, String)]) -> anyhow::Result<()> {
    let gateway = build()?;
    let (int8, fp32) = (pull(&gateway, "int8")?, pull(&gateway, "fp32")?);
    let told = [
        ("ORT_DYLIB_PATH", asset(&int8, "runtime")?.as_str()),
        ("NPC_GATEWAY_TEST_GGUF", asset(&int8, "checkpoint")?),
        ("NPC_GATEWAY_TEST_MODEL", asset(&int8, "model")?),
        ("NPC_GATEWAY_TEST_MODEL_FP32", asset(&fp32, "model")?),
    ];
    if !args.clients {
        let stores = Stores::get()?;
        let mut test = cargo();
        test.args(["test", "--workspace", "--no-fail-fast"]).args(&args.rest).envs(told);
        // The tests load ONNX Runtime themselves (src/main.rs says why).
        test.env("ORT_DISABLE_TELEMETRY", "1");
        test.env("NPC_GATEWAY_TEST_BINARY", &gateway).envs(stores.variables());
        step(test.envs(variables.iter().map(|(name, value)| (name, value))))?;
    }
    if !args.rest.is_empty() {
        // Words choose among the tests of cargo.
        return Ok(());
    }
    clients::test(&clients::Told { gateway: &gateway, variables: &told })
}

/// What `pull` named.
pub(crate) fn asset<'a>(assets: &'a HashMap<String, String>, name: &str) -> anyhow::Result<&'a String> {
    assets.get(name).with_context(|| format!("`npc-gateway pull` named no {name}"))
}

/// Builds all tests, and the gateway with them, and says where that is.
///
/// `cargo run` would choose other features of the dependencies than the tests do, and compile them again.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let words = "cargo test --workspace --no-run";
    eprintln!("==> {words}");
    let start = Instant::now();
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context(words)?;
    if !output.status.success() {
        bail!("`{words}` failed: {}", output.status);
    }
    eprintln!("==> {words}: {:.1} s", start.elapsed().as_secs_f64());
    let messages = output.stdout.split(|&byte| byte == b'\n');
    let gateway = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok()).find(|message| {
        let target = &message["target"];
        target["name"] == "npc-gateway" && target["kind"][0] == "bin" && message["executable"].is_string()
            // The one that the integration tests start, not the one that holds the binary's own unit tests.
            && message["profile"]["test"] == false
    });
    let path = gateway.as_ref().and_then(|message| message["executable"].as_str());
    Ok(path.context("cargo built no npc-gateway")?.into())
}

/// Runs the product's own `pull`; its answer is one `name path` a line.
pub(crate) fn pull(gateway: &Path, precision: &str) -> anyhow::Result<HashMap<String, String>> {
    eprintln!("==> npc-gateway pull --precision {precision}");
    let mut command = Command::new(gateway);
    // What is pinned, not what happens to be set, is what the tests are about.
    command
        .args(["pull", "--precision", precision])
        .env_remove("ORT_DYLIB_PATH")
        .current_dir(root())
        .stderr(Stdio::inherit());
    let output = command.output().with_context(|| gateway.display().to_string())?;
    if !output.status.success() {
        bail!("`npc-gateway pull` failed: {}", output.status);
    }
    let text = String::from_utf8(output.stdout).context("the answer of `npc-gateway pull`")?;
    let pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    Ok(pairs.map(|(name, path)| (name.to_owned(), path.trim().to_owned())).collect())
}
