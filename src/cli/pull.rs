//! `pull`: the runtime and the default model, into the cache.

use clap::Args;
use npc_onnx::Precision;

use super::import::PrecisionArg;
use crate::pull::{Cache, PullOptions, Reporter, ensure, model_folder};

#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// Fetch the runtime that computes on NVIDIA GPUs (CUDA 13, cuDNN 9).
    #[arg(long)]
    cuda: bool,
    /// The precision that the model is prepared in [default: int8; fp16 with --cuda].
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
}

/// The precision that suits the machine's runtime.
pub(super) fn precision_for(cuda: bool) -> Precision {
    if cuda { Precision::Fp16 } else { Precision::Int8 }
}

pub(super) fn run(args: &PullArgs) -> anyhow::Result<()> {
    let (cache, report) = (Cache::from_env()?, Reporter::new());
    let assets = ensure(&cache, &PullOptions::from_env(args.cuda), report)?;
    let precision = args.precision.map_or_else(|| precision_for(args.cuda), Precision::from);
    let folder = model_folder(&cache, &assets.model_gguf, precision, report)?;
    println!("runtime     {}", assets.runtime_lib.display());
    println!("checkpoint  {}", assets.model_gguf.display());
    println!("model       {}", folder.display());
    Ok(())
}
