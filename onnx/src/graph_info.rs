//! Where adapters go in the graph.

use serde::{Deserialize, Serialize};

use crate::ModelConfig;

/// The parts of the graph that adapters are placed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphInfo {
    /// The fused linear layers of every decoder layer, in the graph's order: `qkv`, `o`, `gate_up`, `down`.
    pub groups: Vec<AdapterGroup>,
}

/// One fused linear layer: projections that read the same input, their outputs side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterGroup {
    /// The `{G}` of the inputs `lora.{i}.{G}.a`, `lora.{i}.{G}.b` and `lora.{G}.gate`.
    pub name: String,
    /// Columns of `x`, and rows of `a`.
    pub inputs: usize,
    /// Columns of `y`, and columns of `b`.
    pub outputs: usize,
    /// What the output columns are, without gaps and in order.
    pub projections: Vec<Projection>,
}

/// One linear layer's place in a fused one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// The module's name in PEFT's `target_modules`, such as `q_proj`.
    pub name: String,
    /// The first of its columns in the group's output.
    pub offset: usize,
    /// How many columns it has.
    pub size: usize,
}

impl GraphInfo {
    /// The groups of a decoder of these sizes.
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        Self {
            groups: vec![
                AdapterGroup::new("qkv", hidden, &[("q_proj", q), ("k_proj", kv), ("v_proj", kv)]),
                AdapterGroup::new("o", q, &[("o_proj", hidden)]),
                AdapterGroup::new("gate_up", hidden, &[("gate_proj", inner), ("up_proj", inner)]),
                AdapterGroup::new("down", inner, &[("down_proj", hidden)]),
            ],
        }
    }

    /// Checks that the groups are those of a decoder of these sizes; an error names the key.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<(), String> {
        let expected = Self::new(config);
        let (found, wanted) = (self.groups.len(), expected.groups.len());
        if found != wanted {
            return Err(format!("graph.groups: has {found} groups, and must have {wanted}"));
        }
        for (i, (found, wanted)) in self.groups.iter().zip(&expected.groups).enumerate() {
            found.check(wanted).map_err(|reason| format!("graph.groups[{i}].{reason}"))?;
        }
        Ok(())
    }
}

impl AdapterGroup {
    fn new(name: &str, inputs: usize, projections: &[(&str, usize)]) -> Self {
        let mut outputs = 0;
        let projections = projections
            .iter()
            .map(|&(name, size)| {
                let offset = outputs;
                outputs += size;
                Projection { name: name.to_owned(), offset, size }
            })
            .collect();
        Self { name: name.to_owned(), inputs, outputs, projections }
    }

    fn check(&self, wanted: &Self) -> Result<(), String> {
        if self.name != wanted.name {
            return Err(format!("name: is {:?}, and must be {:?}", self.name, wanted.name));
        }
        for (key, found, wanted) in
            [("inputs", self.inputs, wanted.inputs), ("outputs", self.outputs, wanted.outputs)]
        {
            if found != wanted {
                return Err(format!("{key}: is {found}, and the model's sizes make it {wanted}"));
            }
        }
        if self.projections != wanted.projections {
            return Err(format!("projections: must be, in this order, {}", wanted.describe()));
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let parts = self.projections.iter().map(|p| format!("{} at {} of size {}", p.name, p.offset, p.size));
        parts.collect::<Vec<_>>().join(", ")
    }
}
