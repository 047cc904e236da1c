//! What a plan is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::capacity::Targets;
use super::super::input::{self, InputError};
use super::super::load::{CHOICE_TASKS, Load, SPOKEN_TASKS};
use super::super::memory::{AdapterShape, Precision, Target};
use super::super::models::Architecture;
use super::super::packing::{Market, Spread};

/// The base model of the gateway.
pub const DEFAULT_MODEL: &str = "smollm2-135m";

/// Tokens of a row where nothing else is asked for.
pub const CONTEXT: u64 = 1024;

/// Archetypes that one plan may have.
const MOST_CHAINS: u64 = 2000;

/// Actions of an NPC a second at most, also in the busiest hour.
const MOST_ACTIONS: f64 = 100.0;

/// The adapters of an archetype; they change every layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adapters {
    /// Of an archetype, 0 to 64.
    pub each: u64,
    pub rank: u32,
    /// Projections, as in PEFT's `target_modules`.
    pub targets: Vec<String>,
    /// Bytes of a number: 1 for `engine.adapter_precision = "int8"`.
    pub element_bytes: u32,
}

impl Default for Adapters {
    /// Rank 8 of the attention's projections in all layers, held as the gateway holds them. The trainer's own (rank 8 of all
    /// projections in the upper third or fifth) are about as large.
    fn default() -> Self {
        Self {
            each: (SPOKEN_TASKS.len() + CHOICE_TASKS.len()) as u64,
            rank: 8,
            targets: Target::ATTENTION.map(|target| target.name().to_owned()).to_vec(),
            element_bytes: 1,
        }
    }
}

impl Adapters {
    /// Their shape on a base model.
    pub fn shape(&self, architecture: &Architecture) -> Result<AdapterShape, InputError> {
        let targets = self.targets.iter().map(|name| Target::named(name)).collect::<Result<_, _>>()?;
        let shape = AdapterShape {
            rank: self.rank,
            layers: architecture.layers,
            targets,
            element_bytes: self.element_bytes,
        };
        shape.check(architecture)?;
        Ok(shape)
    }
}

/// All that a plan depends on but for what is measured and sold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub load: Load,
    /// The base model of every archetype that `models` does not name.
    pub model: String,
    /// Base models by archetype.
    #[serde(default)]
    pub models: BTreeMap<String, String>,
    /// `int8`, `int4` or `fp16`. `None`: as the gateway itself would hold it, in 8 bits, and of the default model, whose
    /// file has 4, in 4.
    #[serde(default)]
    pub precision: Option<String>,
    #[serde(default)]
    pub adapters: Adapters,
    #[serde(default)]
    pub targets: Targets,
    /// Share of a server's throughput that is left free, 0 to 0.9.
    pub headroom: f64,
    /// Names of zones.
    pub zones: Vec<String>,
    /// Of each chain at least so many, 1 to 1000: more than one stand on different servers, and in different zones where
    /// there are several.
    pub replicas: u32,
    /// Instance types that may be used; empty: all of the catalogue.
    #[serde(default)]
    pub only: Vec<String>,
    pub market: Market,
    /// Tokens that a row may hold: `engine.context`, 64 to 131,072.
    pub context_tokens: u64,
}

impl Request {
    /// So much load with the defaults of everything else.
    pub fn new(load: Load) -> Self {
        Self {
            load,
            model: DEFAULT_MODEL.to_owned(),
            models: BTreeMap::new(),
            precision: None,
            adapters: Adapters::default(),
            targets: Targets::default(),
            headroom: 0.2,
            zones: vec!["a".to_owned()],
            replicas: 1,
            only: Vec::new(),
            market: Market::OnDemand,
            context_tokens: CONTEXT,
        }
    }

    /// Checks the ranges. The message names the field and its limits.
    pub fn check(&self) -> Result<(), InputError> {
        self.load.check()?;
        input::whole("archetypes", self.load.archetypes.len() as u64, 1, MOST_CHAINS)?;
        input::text("model", &self.model)?;
        for archetype in self.models.keys() {
            let known = || self.load.archetypes.iter().map(|load| load.name.as_str());
            if !known().any(|name| name == archetype) {
                return Err(InputError::unknown("archetype", archetype, known().take(20)));
            }
        }
        self.precision()?;
        input::whole("adapters.each", self.adapters.each, 0, 64)?;
        self.targets.check("targets")?;
        for load in &self.load.archetypes {
            let (line, choice) = (load.line, load.choice);
            let most = (line.prompt + line.answer).max(choice.prompt + choice.options);
            let key = format!("tokens of a prompt of {} and its answer", load.name);
            input::number(&key, most, 1.0, self.context_tokens as f64)?;
        }
        let peak = self.load.curve.peak().1;
        for load in &self.load.archetypes {
            let key = format!("actions per NPC and second of {} in the busiest hour", load.name);
            input::number(&key, load.actions_per_npc_per_s * peak, 0.0, MOST_ACTIONS)?;
        }
        input::number("headroom", self.headroom, 0.0, 0.9)?;
        input::whole("zones (how many)", self.zones.len() as u64, 1, 64)?;
        input::unique("zones", self.zones.iter().map(String::as_str))?;
        self.zones.iter().try_for_each(|zone| input::text("zones", zone))?;
        input::whole("replicas", u64::from(self.replicas), 1, 1000)?;
        input::unique("only", self.only.iter().map(String::as_str))?;
        input::whole("context_tokens", self.context_tokens, 64, 131_072)
    }

    pub fn precision(&self) -> Result<Option<Precision>, InputError> {
        self.precision.as_deref().map(Precision::named).transpose()
    }

    /// The base model of an archetype.
    pub fn model_of(&self, archetype: &str) -> &str {
        self.models.get(archetype).unwrap_or(&self.model)
    }

    pub(super) fn spread(&self) -> Spread {
        match (self.replicas, self.zones.len()) {
            (0 | 1, _) => Spread::Gpus,
            (_, 1) => Spread::Servers,
            _ => Spread::Zones,
        }
    }
}
