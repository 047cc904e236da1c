//! `clients/typescript`: the pinned packages, then biome, the compiler and the tests, in Node and in a Chromium.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::Told;
use super::node::Node;
use crate::{root, step};

/// What was installed, below `target`.
const INSTALLED: &str = "target/clients/typescript";

/// Installs the packages and runs what the client is checked with.
pub(super) fn test(told: &Told) -> anyhow::Result<()> {
    let source = root().join("clients/typescript");
    let node = Node::get()?;
    install(&node, &source)?;
    step(npm(&node, &source).args(["run", "--silent", "check"]))?;
    step(
        npm(&node, &source)
            .args(["test", "--silent"])
            .envs(told.variables.iter().copied())
            .env("NPC_GATEWAY_TEST_BINARY", told.gateway),
    )
}

/// Installs the packages if they are not there, or other ones are pinned.
fn install(node: &Node, source: &Path) -> anyhow::Result<()> {
    let lock = source.join("package-lock.json");
    let pins = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let wanted = format!("{}\n{pins}", node.version);
    let done = root().join(INSTALLED).join("installed");
    // npm writes this file last.
    let there = source.join("node_modules/.package-lock.json").is_file();
    if there && fs::read_to_string(&done).ok().as_ref() == Some(&wanted) {
        return Ok(());
    }
    step(npm(node, source).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    fs::create_dir_all(root().join(INSTALLED)).context(INSTALLED)?;
    fs::write(&done, &wanted).with_context(|| done.display().to_string())
}

fn npm(node: &Node, source: &Path) -> Command {
    let mut command = node.program("npm");
    command.current_dir(source).stdin(Stdio::null());
    command
}
