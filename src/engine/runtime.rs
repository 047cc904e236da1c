//! ONNX Runtime: the library, its environment, its execution providers.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::operator::OperatorDomain;
use ort::session::Session;
use ort::session::builder::{BuilderResult, GraphOptimizationLevel, SessionBuilder};
use ort::value::DynValue;

use super::EngineError;
use crate::config::{self, Provider};

/// One library and one environment serve a whole process: ONNX Runtime cannot be loaded twice.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

impl From<ort::Error> for EngineError {
    fn from(error: ort::Error) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}

/// Loads the library, once in a process.
///
/// # Errors
/// [`EngineError::Runtime`] if the file is missing, is no ONNX Runtime, or is older than needed.
pub fn load(library: &Path) -> Result<Environment, EngineError> {
    // Checked here because a wrong path must name itself, not a symbol that the loader misses.
    if !library.is_file() {
        return Err(EngineError::Runtime(format!(
            "there is no library at {}; run `npc-gateway pull`, or set ORT_DYLIB_PATH to an ONNX Runtime of \
             version 1.{} or newer",
            library.display(),
            ort::MINOR_VERSION
        )));
    }
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let created = ort::init_from(library)
        .map_err(|error| EngineError::Runtime(error.to_string()))?
        .with_name("npc-gateway")
        .with_telemetry(false)
        .build()?;
    Ok(environment.insert(created).clone())
}

/// Opens a graph with the providers that the configuration names.
///
/// # Errors
/// [`EngineError::Provider`] if a provider cannot be loaded and `engine.fallback` is off, otherwise
/// [`EngineError::Runtime`].
pub fn open(
    environment: &Environment,
    graph: &Path,
    config: &config::Engine,
) -> Result<(Session, Provider), EngineError> {
    let builder = configure(Session::builder(environment)?, threads(config));
    let mut builder = builder.map_err(|error| EngineError::Runtime(error.message().to_owned()))?;
    let mut device = None;
    for provider in &config.providers {
        let result = match provider {
            Provider::Cpu => Ok(()),
            Provider::Cuda => ep::CUDA::default().register(&mut builder),
            Provider::TensorRt => ep::TensorRT::default().register(&mut builder),
        };
        match result {
            Ok(()) => device = device.or(Some(*provider)),
            Err(error) if config.fallback => {
                tracing::warn!(?provider, error = error.message(), "execution provider skipped");
            }
            Err(error) => {
                return Err(EngineError::Provider {
                    provider: format!("{provider:?}").to_lowercase(),
                    reason: error.message().to_owned(),
                    found: found().join(", "),
                });
            }
        }
    }
    let session = builder.commit_from_file(graph)?;
    Ok((session, device.unwrap_or(Provider::Cpu)))
}

/// Opens the native decoder's graph with its operators, on the CPU. `weights` stand for the graph's tensors of the same names.
///
/// # Errors
/// [`EngineError::Runtime`].
pub fn open_native(
    environment: &Environment,
    graph: &Path,
    threads: usize,
    operators: OperatorDomain,
    weights: Vec<(String, DynValue)>,
) -> Result<Session, EngineError> {
    /// ONNX Runtime notes the domain of the operators in a table of the process, and looks and writes in two steps:
    /// two sessions that open at the same time would both want to write.
    static OPENING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    let _opening = OPENING.lock();
    let builder = configure(Session::builder(environment)?, threads);
    let failed = |error: ort::Error<SessionBuilder>| EngineError::Runtime(error.message().to_owned());
    let mut builder = builder.map_err(failed)?.with_operators(operators).map_err(failed)?;
    for (name, tensor) in weights {
        builder = builder.with_initializer(name, tensor).map_err(failed)?;
    }
    Ok(builder.commit_from_file(graph)?)
}

/// Threads for arithmetic.
pub fn threads(config: &config::Engine) -> usize {
    match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

#[allow(clippy::result_large_err)] // ort hands the builder back in its errors.
fn configure(builder: SessionBuilder, threads: usize) -> BuilderResult {
    builder
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Every step has another shape, so a plan of one step's memory serves no other.
        .with_memory_pattern(false)
}

/// The providers that this build of the library knows.
fn found() -> Vec<&'static str> {
    let known = [
        ("cpu", ep::CPU::is_available()),
        ("cuda", ep::CUDA::is_available()),
        ("tensorrt", ep::TensorRT::is_available()),
    ];
    known.into_iter().filter(|(_, available)| matches!(available, Ok(true))).map(|(name, _)| name).collect()
}
