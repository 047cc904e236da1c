//! `cargo xtask cut`: the tests that cut connections, with many turns.

use clap::Args;

use crate::test::{self, TestArgs};

#[derive(Debug, Args)]
pub struct CutArgs {
    /// Turns of each of the two tests, over eight clients.
    #[arg(long, default_value_t = 1000)]
    turns: u32,
    /// Where the cuts are.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

pub fn run(args: &CutArgs) -> anyhow::Result<()> {
    let words = ["--test", "protocol", "--", "cut::", "--nocapture", "--test-threads=1"];
    let variables = [("NPC_GATEWAY_CUT_TURNS", args.turns), ("NPC_GATEWAY_CUT_SEED", args.seed)];
    test::run_with(&TestArgs::new(&words), &variables.map(|(name, value)| (name, value.to_string())))
}
