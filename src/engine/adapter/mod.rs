//! LoRA adapters: read from PEFT folders, checked against the model, held as plain floats.

mod peft;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use npc_onnx::{GraphInfo, LinearGroup};

pub use peft::load;

/// The factors of one projection: ΔW = s·B·A.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// Which columns of the group's output it adds to.
    pub offset: usize,
    /// r, the inner dimension.
    pub rank: usize,
    /// A, `[rank, inputs]`, row-major.
    pub a: Vec<f32>,
    /// s·B, `[outputs of the projection, rank]`, row-major, the scale already multiplied in.
    pub b: Vec<f32>,
}

/// An adapter, checked and ready for any decoder.
#[derive(Debug)]
pub struct Adapter {
    pub info: AdapterInfo,
    /// `[layer][group]`: the factors of each targeted projection of the group.
    pub layers: Vec<Vec<Vec<Factors>>>,
    /// Per group: the largest sum of its projections' ranks over the layers. 0: the group is not targeted.
    pub group_ranks: Vec<usize>,
}

/// What is known of a loaded adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterInfo {
    pub id: Arc<str>,
    /// The largest rank of any projection.
    pub rank: usize,
    /// Projections targeted, for example `q_proj`.
    pub targets: Vec<String>,
    /// Bytes that its factors take in memory.
    pub bytes: usize,
}

/// Where a PEFT module of a layer lands in the graph.
fn find_projection<'a>(graph: &'a GraphInfo, module: &str) -> Option<(usize, &'a LinearGroup, usize, usize)> {
    graph.groups.iter().enumerate().find_map(|(index, group)| {
        let projection = group.projections.iter().find(|p| p.name == module)?;
        Some((index, group, projection.offset, projection.size))
    })
}

/// Reads the adapter in `dir` for the model described by `graph`.
pub fn load_for(
    id: &str,
    dir: &Path,
    graph: &GraphInfo,
    layers: usize,
) -> Result<Adapter, super::EngineError> {
    load(id, dir, graph, layers)
}
