//! `pull`: the runtime and the default model, into the cache.

use clap::Args;
use npc_onnx::Precision;

use crate::pull::{Cache, PullOptions, Reporter, ensure, model_folder};

#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// Fetch the runtime that computes on NVIDIA GPUs (CUDA 13, cuDNN 9), and prepare the model in fp16.
    #[arg(long)]
    cuda: bool,
}

pub(super) fn run(args: &PullArgs) -> anyhow::Result<()> {
    let (cache, report) = (Cache::from_env()?, Reporter::new());
    let assets = ensure(&cache, &PullOptions::from_env(args.cuda), report)?;
    let precision = if args.cuda { Precision::Fp16 } else { Precision::Int8 };
    let folder = model_folder(&cache, &assets.model_gguf, precision, report)?;
    println!("runtime     {}", assets.runtime_lib.display());
    println!("checkpoint  {}", assets.model_gguf.display());
    println!("model       {}", folder.display());
    Ok(())
}
