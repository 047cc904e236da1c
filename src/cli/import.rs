//! `import`: a checkpoint into a model folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use npc_onnx::{ModelFile, Precision};

use super::Usage;
use crate::pull::{self, Reporter};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// A GGUF file, or a folder with config.json and *.safetensors.
    source: PathBuf,
    /// The folder to make.
    #[arg(long)]
    out: PathBuf,
    /// How the weights are stored: int8 for CPUs, fp16 for CUDA, fp32 to compare with.
    #[arg(long, value_enum, default_value_t = PrecisionArg::Int8)]
    precision: PrecisionArg,
    /// Replace the folder if it is a model folder already.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PrecisionArg {
    Int8,
    Fp32,
    Fp16,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::Int8 => Self::Int8,
            PrecisionArg::Fp32 => Self::Fp32,
            PrecisionArg::Fp16 => Self::Fp16,
        }
    }
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let out = std::path::absolute(&args.out)?;
    let old = look_at(&out, args.force)?;
    // Beside the place, so that the old folder stays until the new one is whole.
    let parent = out.parent().context("--out must name a folder below another one")?;
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let work = tempfile::Builder::new().prefix(".import-").tempdir_in(parent)?;
    let new = work.path().join("model");
    let model = pull::import(&args.source, &new, args.precision.into(), Reporter::new())?;
    if let Old::Model = old {
        fs::rename(&out, work.path().join("old"))?;
    }
    // An empty folder is replaced by the rename itself.
    fs::rename(&new, &out).with_context(|| out.display().to_string())?;
    describe(&model);
    println!("{}", out.display());
    Ok(())
}

/// What stands where the folder is to be made.
enum Old {
    Nothing,
    Model,
}

fn look_at(out: &Path, force: bool) -> Result<Old, Usage> {
    let refused = |reason: &str| Usage(format!("--out {}: {reason}", out.display()));
    let mut entries = match fs::read_dir(out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Old::Nothing),
        entries => entries.map_err(|error| refused(&error.to_string()))?,
    };
    match entries.next() {
        None => Ok(Old::Nothing),
        Some(_) if !out.join("model.toml").is_file() => {
            Err(refused("the folder is not empty, and no model folder"))
        }
        Some(_) if !force => Err(refused("there is a model folder already; --force replaces it")),
        Some(_) => Ok(Old::Model),
    }
}

fn describe(model: &ModelFile) {
    let sizes = &model.model;
    eprintln!(
        "{}: {:?}, {} layers, hidden size {}, vocabulary {}, context {}, {:?}",
        model.name,
        sizes.architecture,
        sizes.layers,
        sizes.hidden_size,
        sizes.vocab_size,
        sizes.max_position,
        model.precision
    );
}
