//! LoRA adapters: read from PEFT folders, checked against the model, held as plain floats.

mod config;
mod loader;
mod peft;
mod pool;
mod registry;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use npc_onnx::GraphInfo;

pub use self::loader::{Reader, run as run_loader};
pub use self::pool::Version;
pub use self::registry::{Lease, Registry};
use super::EngineError;
use super::native::PackedAdapter;
use crate::config::AdapterPrecision;

/// The factors of one projection: ΔW = s·B·A.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The first of the projection's columns in its group's output.
    pub offset: usize,
    /// The projection's columns.
    pub outputs: usize,
    /// r, the inner dimension.
    pub rank: usize,
    /// A, `[rank, inputs]`, row-major.
    pub a: Vec<f32>,
    /// s·B, `[outputs, rank]`, row-major, the scale already multiplied in.
    pub b: Vec<f32>,
}

/// What is known of a loaded adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterInfo {
    pub id: Arc<str>,
    pub path: PathBuf,
    /// The largest rank of any projection.
    pub rank: usize,
    /// Projections targeted, for example `q_proj`, in the graph's order.
    pub targets: Vec<String>,
    /// Bytes that its numbers take in memory, as the decoder holds them.
    pub bytes: usize,
}

/// An adapter, checked against the model and ready for any decoder.
#[derive(Debug)]
pub struct Adapter {
    pub info: AdapterInfo,
    /// Another one each time that an adapter is registered: keys and values computed under one version are never
    /// taken for those of another.
    pub(super) version: Version,
    /// Of the folder's files: tells whether they have changed.
    digest: u64,
    /// `[layer][group]`: the factors of each targeted projection of the group, in the graph's order. Empty where only
    /// the packed numbers are kept.
    pub layers: Vec<Vec<Vec<Factors>>>,
    /// Per group: the largest sum of its projections' ranks over the layers; 0 if none is targeted.
    pub group_ranks: Vec<usize>,
    /// The same numbers as the native decoder reads them.
    packed: OnceLock<Arc<PackedAdapter>>,
}

impl Adapter {
    /// Reads the PEFT adapter in `dir` for the model that `graph` and `layers` describe.
    ///
    /// # Errors
    /// [`EngineError::BadAdapter`] if a file is missing or damaged, a tensor's shape is not the model's, a
    /// number is not finite, or the adapter is of a kind that is not plain LoRA.
    pub fn load(id: &str, dir: &Path, graph: &GraphInfo, layers: usize) -> Result<Self, EngineError> {
        peft::load(id, dir, graph, layers)
            .map_err(|reason| EngineError::BadAdapter { path: dir.to_owned(), reason })
    }

    /// One that changes nothing, for a decoder that computes nothing.
    pub(super) fn hollow() -> Self {
        let id = Arc::from("");
        let info = AdapterInfo { id, path: PathBuf::new(), rank: 0, targets: Vec::new(), bytes: 0 };
        let version = next_version();
        let (layers, group_ranks) = (Vec::new(), Vec::new());
        Self { info, version, digest: 0, layers, group_ranks, packed: OnceLock::new() }
    }

    /// Makes it ready for the native decoder; takes a few milliseconds, so not on the engine's thread.
    pub fn pack(&self, precision: AdapterPrecision) {
        self.packed.get_or_init(|| Arc::new(PackedAdapter::new(&self.layers, precision)));
    }

    /// Packs it and lets go of the plain floats, which only the portable decoder computes with.
    #[must_use]
    pub fn into_packed(mut self, precision: AdapterPrecision) -> Self {
        self.pack(precision);
        self.layers = Vec::new();
        if let Some(packed) = self.packed.get() {
            self.info.bytes = packed.bytes;
        }
        self
    }

    /// As [`Self::pack`] made it.
    pub fn packed(&self) -> Option<&Arc<PackedAdapter>> {
        self.packed.get()
    }
}

/// Reads a file of an adapter's folder, if it is one and has at most `limit` bytes.
fn read_file(dir: &Path, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let path = dir.join(name);
    let io = |error: std::io::Error| format!("{name}: {error}");
    // Before it is opened: a pipe would wait for a writer, and a device never ends.
    let meta = std::fs::metadata(&path).map_err(io)?;
    if !meta.is_file() {
        return Err(format!("{name} is no file"));
    }
    let too_large = |bytes: u64| format!("{name} has {bytes} bytes; at most {limit} are read");
    if meta.len() > limit {
        return Err(too_large(meta.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    // It may grow meanwhile.
    let file = std::fs::File::open(&path).map_err(io)?;
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)? as u64;
    if read > limit { Err(too_large(read)) } else { Ok(bytes) }
}

fn next_version() -> Version {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
