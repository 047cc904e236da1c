//! Chains: what an archetype needs on each type of instance.

use super::super::capacity::{Capacity, Deployed, Mix, Scaled, TooSlow, capacity};
use super::super::input::InputError;
use super::super::instances::Instance;
use super::super::load::ArchetypeLoad;
use super::super::memory::{Demand, DoesNotFit, KvScheme, Precision, WeightScheme};
use super::super::models::BaseModel;
use super::request::DEFAULT_MODEL;
use super::{Inputs, Request};

/// Share of a memory that is left free: allocators do not fill it to the last byte.
pub(super) const MEMORY_HEADROOM: f64 = 0.05;

/// An archetype's chain and its load.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub load: ArchetypeLoad,
    pub model: BaseModel,
    pub deployed: Deployed,
    /// `None`: nothing is asked of it.
    pub mix: Option<Mix>,
    /// In the busiest hour.
    pub actions_per_s: f64,
    pub adapters_bytes: u64,
    pub weights_bytes: u64,
}

/// Why a type of instance will not do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Large(DoesNotFit),
    #[error(transparent)]
    Slow(TooSlow),
}

impl Unfit {
    /// What it takes over what there is: above 1.
    pub(super) fn ratio(&self) -> f64 {
        match self {
            Self::Large(large) => large.memory.total_bytes() as f64 / large.capacity_bytes.max(1) as f64,
            Self::Slow(slow) => slow.least_ms / slow.target_ms,
        }
    }
}

/// A chain on a type of instance: its capacity with 1 base on each device, and with all bases of the request.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub alone: Result<Capacity, Unfit>,
    pub mixed: Result<Capacity, Unfit>,
}

impl Cell {
    pub fn of(&self, bases: usize) -> &Result<Capacity, Unfit> {
        if bases > 1 { &self.mixed } else { &self.alone }
    }
}

/// What may be used of a device's memory.
pub(super) fn usable(bytes: u64) -> u64 {
    (bytes as f64 * (1.0 - MEMORY_HEADROOM)) as u64
}

impl Spec {
    pub fn all(request: &Request, inputs: &Inputs<'_>) -> Result<Vec<Self>, InputError> {
        let peak = request.load.curve.peak().1;
        request.load.archetypes.iter().map(|load| Self::new(load, peak, request, inputs)).collect()
    }

    fn new(
        load: &ArchetypeLoad,
        peak: f64,
        request: &Request,
        inputs: &Inputs<'_>,
    ) -> Result<Self, InputError> {
        let model = inputs.models.get(request.model_of(&load.name))?.clone();
        let architecture = model.architecture;
        if request.context_tokens > u64::from(model.context_tokens) {
            let wanted = format!("at most {}, the context of {}", model.context_tokens, model.name);
            return Err(InputError::bad("context_tokens", request.context_tokens, wanted));
        }
        let (weights, integer) = match request.precision()? {
            None => (own(&model), true),
            Some(Precision::Int8) => (WeightScheme::gateway_native(u64::from(model.context_tokens)), true),
            Some(Precision::Int4) => (Precision::Int4.scheme(), true),
            Some(Precision::Fp16) => (Precision::Fp16.scheme(), false),
        };
        let adapter = request.adapters.shape(&architecture)?;
        let adapters = request.adapters.each;
        Ok(Self {
            mix: Mix::of(load),
            actions_per_s: load.npcs as f64 * load.actions_per_npc_per_s * peak,
            adapters_bytes: adapter.bytes(&architecture).saturating_mul(adapters),
            weights_bytes: weights.bytes(&architecture),
            deployed: Deployed { architecture, weights, integer, adapter, adapters },
            load: load.clone(),
            model,
        })
    }

    /// On this type, with so many bases in the request.
    pub fn cell(&self, instance: &Instance, bases: usize, request: &Request, inputs: &Inputs<'_>) -> Cell {
        let device = &instance.device;
        let demand = Demand {
            architecture: self.deployed.architecture,
            weights: self.deployed.weights,
            kv: KvScheme::NATIVE,
            rows: 1,
            context_tokens: request.context_tokens,
            adapters: vec![(self.deployed.adapter.clone(), self.deployed.adapters)],
            overhead_bytes: runtime_bytes(device.is_gpu, inputs),
        };
        let rows = match demand.most_rows(usable(device.memory_bytes)) {
            Ok(rows) => rows,
            Err(error) => {
                let large = Err(Unfit::Large(error));
                return Cell { alone: large.clone(), mixed: large };
            }
        };
        let steps = self.scaled(instance, inputs).steps;
        let mix = self.mix.unwrap_or(IDLE);
        let find = |bases| capacity(&steps, &mix, &request.targets, rows, bases).map_err(Unfit::Slow);
        let alone = find(1);
        Cell { mixed: if bases > 1 { find(bases) } else { alone.clone() }, alone }
    }

    pub fn scaled(&self, instance: &Instance, inputs: &Inputs<'_>) -> Scaled {
        Scaled::on(&instance.device, &self.deployed, inputs.measured, inputs.models)
    }

    /// Bytes of one of so many replicas beside its base: adapters, rows in flight at full context, and what is kept of
    /// its NPCs' prompts.
    pub fn replica_bytes(&self, rows: u64, replicas: u64, context_tokens: u64) -> u64 {
        let bytes = |tokens: f64| {
            let tokens = (tokens.ceil() as u64).min(context_tokens);
            KvScheme::NATIVE.row_bytes(&self.deployed.architecture, tokens)
        };
        let (line, choices) = self.kept_each();
        let said = bytes(self.load.line.prompt + self.load.line.answer).saturating_mul(line);
        let asked = bytes(self.load.choice.prompt + self.load.choice.options).saturating_mul(choices);
        let npcs = self.load.npcs.div_ceil(replicas.max(1));
        let kept = said.saturating_add(asked).saturating_mul(npcs);
        let running = bytes(context_tokens as f64).saturating_mul(rows);
        self.adapters_bytes.saturating_add(running).saturating_add(kept)
    }

    /// Sequences that stay for an NPC so that its next prompts are as warm as the load says: its line's, and one for each
    /// of an action's choices.
    fn kept_each(&self) -> (u64, u64) {
        let (line, choice) = (self.load.line.warm_share > 0.0, self.load.choice.warm_share > 0.0);
        let choices = self.load.choices_per_action.ceil() as u64;
        (u64::from(line && self.load.lines_per_action > 0.0), if choice { choices } else { 0 })
    }

    /// Sequences that one of so many replicas keeps.
    pub fn kept(&self, replicas: u64) -> u64 {
        let (line, choices) = self.kept_each();
        self.load.npcs.div_ceil(replicas.max(1)).saturating_mul(line + choices)
    }

    /// Whether its capacity is that of another wherever they run.
    pub fn like(&self, other: &Self) -> bool {
        self.mix == other.mix && self.model.name == other.model.name
    }
}

/// As the gateway itself holds a model: its file has rotary tables for all positions that the model has. Of a folder with
/// `native.bin` that is the scheme whose size is nearest to it.
fn own(model: &BaseModel) -> WeightScheme {
    let positions = u64::from(model.context_tokens);
    let schemes = [WeightScheme::gateway_native(positions), WeightScheme::gateway_native_of_4_bit(positions)];
    match model.folder.and_then(|folder| folder.native_bytes) {
        Some(stored) => {
            let off = schemes.map(|scheme| scheme.bytes(&model.architecture).abs_diff(stored));
            schemes[usize::from(off[1] < off[0])]
        }
        None => schemes[usize::from(model.name == DEFAULT_MODEL)],
    }
}

/// A chain that nobody asks anything still has to answer at once: a line of a token.
const IDLE: Mix = Mix {
    lines: 1.0,
    choices: 0.0,
    decode: 1.0,
    prefill: 1.0,
    logits: 1.0,
    attended: 1.0,
    read: 1.0,
    mixed: 1.0,
    longest_prompt: 1.0,
};

pub(super) fn runtime_bytes(is_gpu: bool, inputs: &Inputs<'_>) -> u64 {
    if is_gpu { inputs.measured.gpu.runtime_bytes } else { inputs.measured.runtime_bytes }
}
