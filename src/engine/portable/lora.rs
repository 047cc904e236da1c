//! Adapters as dense tensors: the resident adapters' ranks side by side.
//!
//! `((x·A_all) ⊙ g)·B_all`, where A_all holds the columns of every resident adapter and g is zero in the
//! columns of the adapters that a row does not use.

use std::sync::Arc;

use npc_onnx::GraphInfo;

use crate::engine::adapter::{Adapter, Factors};

/// The columns of one group: where each resident adapter's begin.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Each adapter with its first column and how many it has.
    ranges: Vec<(Arc<Adapter>, usize, usize)>,
    /// R, all columns together.
    pub total: usize,
}

impl Columns {
    /// Lays out a group's columns.
    pub fn new(resident: &[Arc<Adapter>], group: usize) -> Self {
        let mut columns = Self::default();
        for adapter in resident {
            let rank = adapter.group_ranks[group];
            columns.ranges.push((Arc::clone(adapter), columns.total, rank));
            columns.total += rank;
        }
        columns
    }

    /// Writes a row's gate: the weight of each adapter of the mix over its columns.
    ///
    /// # Errors
    /// The id of an adapter that is not resident.
    pub fn gate<'a>(&self, mix: &'a [(Arc<Adapter>, f32)], gate: &mut [f32]) -> Result<(), &'a str> {
        for (adapter, weight) in mix {
            // By address: an id may be used again for another adapter while the old one finishes.
            let range = self.ranges.iter().find(|(resident, ..)| Arc::ptr_eq(resident, adapter));
            let Some(&(_, start, rank)) = range else { return Err(&adapter.info.id) };
            // Added, not set: a mix may name an adapter twice, and the sum has both terms.
            gate[start..start + rank].iter_mut().for_each(|g| *g += weight);
        }
        Ok(())
    }
}

/// A_all `[inputs, R]` and B_all `[R, outputs]` of one layer and group, row-major.
pub fn dense(columns: &Columns, graph: &GraphInfo, layer: usize, group: usize) -> (Vec<f32>, Vec<f32>) {
    let spec = &graph.groups[group];
    let total = columns.total;
    let mut a_all = vec![0.0; spec.inputs * total];
    let mut b_all = vec![0.0; total * spec.outputs];
    for (adapter, start, _) in &columns.ranges {
        let mut column = *start;
        for Factors { offset, outputs, rank, a, b } in &adapter.layers[layer][group] {
            for r in 0..*rank {
                for input in 0..spec.inputs {
                    a_all[input * total + column + r] = a[r * spec.inputs + input];
                }
                for output in 0..*outputs {
                    b_all[(column + r) * spec.outputs + offset + output] = b[output * rank + r];
                }
            }
            column += rank;
        }
    }
    (a_all, b_all)
}
