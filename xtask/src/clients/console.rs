//! `clients/console`: the pinned packages, then biome, the compiler, and the tests in a Chromium, the first of which builds
//! the page anew and compares it with what is checked in.

use super::Told;
use super::node::Node;
use crate::{root, step};

/// What was installed, below the root.
const INSTALLED: &str = "target/clients/console";

/// Installs the packages and runs what the page is checked with.
pub(super) fn test(told: &Told) -> anyhow::Result<()> {
    let source = root().join("clients/console");
    let node = Node::get()?;
    node.install(&source, INSTALLED)?;
    step(node.npm(&source).args(["run", "--silent", "check"]))?;
    step(
        node.npm(&source)
            .args(["test", "--silent"])
            .envs(told.variables.iter().copied())
            .env("NPC_GATEWAY_TEST_BINARY", told.gateway),
    )
}
