//! Times of steps on another device and of another model, by a roofline:
//!
//! ```text
//! seconds of n tokens = max(bytes read / (bandwidth · efficiency), n · operations / (rate · efficiency)) + overhead
//! ```
//!
//! Bytes read are the weights and the chain's adapters, once a step. Operations are two for each weight of the linear
//! layers; the head is computed for tokens with logits alone. A position attended costs its products, and a position
//! read, which a prompt's tokens share, its keys and values from memory.
//! Keys, values and adapters are taken to run at the same efficiency as the weights. What a token with logits took on the
//! measured machine beside the head's products, which is sampling, it takes everywhere, in proportion to the vocabulary.
//!
//! GPUs compute in FP16 whatever the weights are stored in; CPUs compute in int8 unless the weights are fp16.

use serde::{Deserialize, Serialize};

use super::super::instances::Device;
use super::super::measured::Measured;
use super::super::memory::{AdapterShape, KvScheme, WeightScheme};
use super::super::models::{Architecture, BaseModel, Models};
use super::super::steps::{StepPoint, StepTimes};

/// Tokens of a step for which a time is computed are powers of two up to this power. Between them lines lie above the
/// roofline, never below.
const POWERS: u32 = 14;

/// Steps with fewer tokens say nothing about the rate at best.
const MANY_TOKENS: usize = 8;

/// What is known of a figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "basis", content = "how")]
pub enum Basis {
    /// On this device, with this model.
    Measured(String),
    /// From what was measured on another.
    Scaled(String),
    /// A choice.
    Assumed(String),
}

/// A figure and where it is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub value: f64,
    #[serde(flatten)]
    pub basis: Basis,
}

/// What runs: a base model as it is stored, and the adapters of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    pub architecture: Architecture,
    pub weights: WeightScheme,
    /// Whether a CPU computes its products in 8-bit integers.
    pub integer: bool,
    pub adapter: AdapterShape,
    /// Adapters of the chain.
    pub adapters: u64,
}

/// Times of steps, and how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    pub steps: StepTimes,
    pub basis: Basis,
    /// Shares of the device's peak rates that are taken to be reached; `None` where nothing was scaled.
    pub bandwidth_efficiency: Option<Figure>,
    pub compute_efficiency: Option<Figure>,
}

impl Deployed {
    /// Operations of the linear layers for a token.
    fn operations(&self) -> f64 {
        2.0 * self.architecture.parameters().linear as f64
    }

    /// Bytes that a step reads whatever its batch: an embedding that is not the head too is looked up, not read.
    fn bytes_read(&self) -> u64 {
        let all = self.weights.bytes(&self.architecture);
        let embedding = self.weights.embedding_bytes(&self.architecture);
        let looked_up = if self.architecture.tied_embeddings { 0 } else { embedding / 2 };
        let adapters = self.adapter.bytes(&self.architecture).saturating_mul(self.adapters);
        (all - looked_up).saturating_add(adapters)
    }

    fn rate(&self, device: &Device) -> f64 {
        if device.is_gpu || !self.integer { device.fp16_flops_per_s } else { device.int8_ops_per_s }
    }
}

/// What the measured machine showed.
struct Shown {
    /// The rate that it reached in its linear layers, as a share of its peak.
    share: f64,
    /// Seconds beside the head's products for a token with logits, for each token that there is: sampling, on the host.
    sampling_s: f64,
}

/// The model that `bench` ran, if it is known by name: `bench` calls it by its file's name, which begins with that and has
/// more to it. Names of folders say nothing.
pub fn measured_model<'a>(measured: &Measured, models: &'a Models) -> Option<&'a BaseModel> {
    let letters = |name: &str| -> String {
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let name = letters(&measured.model);
    let begins = |model: &&BaseModel| {
        let known = letters(&model.name);
        model.folder.is_none() && !known.is_empty() && name.starts_with(&known)
    };
    models.iter().filter(begins).max_by_key(|model| letters(&model.name).len())
}

/// `None`: the peak was not measured, or the model is not known by name.
fn shown(measured: &Measured, models: &Models) -> Option<Shown> {
    let model = measured_model(measured, models)?;
    let peak = measured.machine.int8_ops_per_s?;
    let operations = 2.0 * model.architecture.parameters().linear as f64;
    let points = measured.steps.points.iter().filter(|point| point.tokens >= MANY_TOKENS);
    let rates = points.map(|point| point.tokens as f64 * operations / point.seconds / peak);
    let share = rates.max_by(f64::total_cmp)?.clamp(0.01, 1.0);
    let vocab = f64::from(model.architecture.vocab);
    let head_s = 2.0 * vocab * f64::from(model.architecture.hidden) / (peak * share);
    Some(Shown { share, sampling_s: (measured.steps.logits_s - head_s).max(0.0) / vocab })
}

impl Scaled {
    /// As measured, on the machine that `bench` ran on, with its model; or derived from what was measured there.
    pub fn here(measured: &Measured) -> Self {
        let how = format!("{} ({})", measured.machine.cpu, measured.origin.file);
        let basis = if measured.origin.derived {
            Basis::Scaled(format!("derived from rates by rows of {how}"))
        } else {
            Basis::Measured(how)
        };
        Self { steps: measured.steps.clone(), basis, bandwidth_efficiency: None, compute_efficiency: None }
    }

    /// On another device, or with another model.
    pub fn on(device: &Device, deployed: &Deployed, measured: &Measured, models: &Models) -> Self {
        let assumed = measured.assumed(device.is_gpu);
        let guess = |value: f64| Figure { value, basis: Basis::Assumed(assumed.source.clone()) };
        let bandwidth = guess(assumed.bandwidth_efficiency);
        let shown = shown(measured, models);
        let compute = match &shown {
            Some(shown) if !device.is_gpu && deployed.integer => {
                let how = format!(
                    "assumed: other CPUs reach the share of their int8 peak that was measured on {}",
                    measured.machine.cpu
                );
                Figure { value: shown.share, basis: Basis::Assumed(how) }
            }
            _ => guess(assumed.compute_efficiency),
        };
        let bytes_per_s = device.bandwidth_bytes_per_s * bandwidth.value;
        let per_s = deployed.rate(device) * compute.value;
        let (read_s, token_s) = (deployed.bytes_read() as f64 / bytes_per_s, deployed.operations() / per_s);
        let point = |power: u32| {
            let tokens = 1_usize << power;
            StepPoint { tokens, seconds: read_s.max(tokens as f64 * token_s) }
        };
        let architecture = &deployed.architecture;
        let vocab = f64::from(architecture.vocab);
        let head = 2.0 * vocab * f64::from(architecture.hidden);
        let sampling_s = shown.map_or(0.0, |shown| shown.sampling_s) * vocab;
        let products = 4.0 * f64::from(architecture.layers) * architecture.query_size() as f64;
        let kept = KvScheme::NATIVE.token_bytes(architecture) as f64;
        let adapter = 2.0 * deployed.adapter.parameters(architecture) as f64;
        // Beside the roofline. A fit puts what every step takes into its points and has none of its own.
        let overhead = measured.steps.step_overhead_s.max(assumed.step_overhead_s);
        let steps = StepTimes {
            points: (0..=POWERS).map(point).collect(),
            logits_s: head / per_s + sampling_s,
            attended_s: products / (device.fp16_flops_per_s * compute.value),
            read_s: kept / bytes_per_s,
            mixed_s: adapter / per_s,
            step_overhead_s: overhead,
        };
        let how = format!(
            "roofline from {}: {:.0} GB/s and {:.1} 10^12 operations/s of {}",
            measured.origin.file,
            bytes_per_s / 1e9,
            per_s / 1e12,
            device.name
        );
        Self {
            steps,
            basis: Basis::Scaled(how),
            bandwidth_efficiency: Some(bandwidth),
            compute_efficiency: Some(compute),
        }
    }
}
