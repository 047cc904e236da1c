//! Bytes of LoRA adapters, by rank, layers and targets.

use super::super::input::{self, InputError};
use super::super::models::Architecture;

/// A projection that an adapter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

impl Target {
    /// All projections of a layer, in the order in which it uses them.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Those of the attention.
    pub const ATTENTION: [Self; 4] = [Self::Q, Self::K, Self::V, Self::O];

    /// The name in PEFT's `target_modules`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q => "q_proj",
            Self::K => "k_proj",
            Self::V => "v_proj",
            Self::O => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The target of a name.
    pub fn named(name: &str) -> Result<Self, InputError> {
        let found = Self::ALL.into_iter().find(|target| target.name() == name);
        found.ok_or_else(|| InputError::unknown("adapter target", name, Self::ALL.map(Self::name)))
    }

    /// Inputs and outputs.
    pub fn size(self, architecture: &Architecture) -> (u64, u64) {
        let (hidden, inner) = (u64::from(architecture.hidden), u64::from(architecture.intermediate));
        match self {
            Self::Q => (hidden, architecture.query_size()),
            Self::K | Self::V => (hidden, architecture.kv_size()),
            Self::O => (architecture.query_size(), hidden),
            Self::Gate | Self::Up => (hidden, inner),
            Self::Down => (inner, hidden),
        }
    }
}

/// The shape of a LoRA adapter: A has `rank` rows of a projection's inputs, B `rank` columns of its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterShape {
    pub rank: u32,
    /// Layers that it changes.
    pub layers: u32,
    /// Projections that it changes in each of them.
    pub targets: Vec<Target>,
    /// Bytes of a number: 4, 2 (as PEFT files are stored), or 1 (`engine.adapter_precision = "int8"`).
    pub element_bytes: u32,
}

impl AdapterShape {
    /// Checks it against a base model.
    pub fn check(&self, architecture: &Architecture) -> Result<(), InputError> {
        input::whole("adapter.rank", u64::from(self.rank), 1, 1024)?;
        input::whole("adapter.layers", u64::from(self.layers), 1, u64::from(architecture.layers))?;
        input::whole("adapter.element_bytes", u64::from(self.element_bytes), 1, 4)?;
        input::whole("adapter.targets", self.targets.len() as u64, 1, Target::ALL.len() as u64)?;
        input::unique("adapter.targets", self.targets.iter().map(|target| target.name()))
    }

    /// Numbers that it has.
    pub fn parameters(&self, architecture: &Architecture) -> u64 {
        let sizes = self.targets.iter().map(|target| target.size(architecture));
        let width: u64 = sizes.map(|(inputs, outputs)| inputs + outputs).sum();
        (u64::from(self.rank) * u64::from(self.layers)).saturating_mul(width)
    }

    /// Bytes that it takes.
    pub fn bytes(&self, architecture: &Architecture) -> u64 {
        self.parameters(architecture).saturating_mul(u64::from(self.element_bytes))
    }
}
