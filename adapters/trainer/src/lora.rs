//! The factors that are trained.

use candle_core::{Device, Result, Tensor, Var};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::base::PROJECTIONS;
use crate::{Base, TrainError};

/// Which projections are adapted, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// r, the inner dimension; 1 to 256.
    pub rank: usize,
    /// α: ΔW = α/r · B·A.
    pub alpha: f64,
    /// Under PEFT's names: q_proj k_proj v_proj o_proj gate_proj up_proj down_proj.
    pub targets: Vec<String>,
    /// The first layer that is adapted: those below it are computed once for all epochs.
    pub first_layer: usize,
}

impl LoraConfig {
    /// All projections of the upper third of the layers.
    pub fn for_base(base: &Base) -> Self {
        let layers = base.config().layers;
        Self {
            rank: 8,
            alpha: 16.0,
            targets: PROJECTIONS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            first_layer: layers - layers.div_ceil(3),
        }
    }

    pub(crate) fn check(&self, base: &Base) -> std::result::Result<(), TrainError> {
        let bad = |reason: String| Err(TrainError::Bad(reason));
        if !(1..=256).contains(&self.rank) {
            return bad(format!("rank is {}, and must be 1 to 256", self.rank));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return bad(format!("alpha is {}, and must be above 0", self.alpha));
        }
        let layers = base.config().layers;
        if self.first_layer >= layers {
            return bad(format!("first_layer is {}, and the model has {layers} layers", self.first_layer));
        }
        let unknown = |name: &&String| !PROJECTIONS.iter().any(|(known, _)| known == *name);
        if let Some(name) = self.targets.iter().find(unknown) {
            return bad(format!("targets names {name:?}; the projections are {}", known()));
        }
        if self.targets.is_empty() {
            return bad(format!("targets is empty; the projections are {}", known()));
        }
        Ok(())
    }
}

fn known() -> String {
    PROJECTIONS.map(|(name, _)| name).join(" ")
}

/// The two factors of a projection.
#[derive(Debug, Clone)]
pub(crate) struct Factors {
    /// A, `[rank, inputs]`.
    pub a: Var,
    /// B, `[outputs, rank]`.
    pub b: Var,
    /// s = α/r (or what the files of another trainer say).
    pub scale: f64,
}

impl Factors {
    /// s · (x Aᵀ) Bᵀ
    pub fn product(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.a.t()?)?.matmul(&self.b.t()?)? * self.scale
    }
}

/// An adapter in training, or one that is measured.
#[derive(Debug, Clone)]
pub struct Lora {
    pub config: LoraConfig,
    /// By layer and projection; `None` where the projection is not adapted.
    pub(crate) layers: Vec<[Option<Factors>; PROJECTIONS.len()]>,
}

impl Lora {
    /// A as `nn.Linear` begins (uniform, ±1/√inputs: Kaiming with a = √5), B zero: it changes nothing yet.
    ///
    /// # Errors
    /// [`TrainError::Bad`] names the setting.
    pub fn new(
        base: &Base,
        config: LoraConfig,
        rng: &mut ChaCha8Rng,
    ) -> std::result::Result<Self, TrainError> {
        config.check(base)?;
        let mut layers = Vec::with_capacity(base.config().layers);
        for layer in 0..base.config().layers {
            let mut adapted = [const { None }; PROJECTIONS.len()];
            for (at, slot) in adapted.iter_mut().enumerate() {
                let wanted = config.targets.iter().any(|target| target == PROJECTIONS[at].0);
                if layer >= config.first_layer && wanted {
                    let (inputs, outputs) = base.sizes(at);
                    let bound = 1.0 / (inputs as f32).sqrt();
                    let a = (0..config.rank * inputs).map(|_| rng.random_range(-bound..bound)).collect();
                    let scale = config.alpha / config.rank as f64;
                    let b = vec![0.0; outputs * config.rank];
                    *slot = Some(factors(a, b, [inputs, config.rank, outputs], scale, &base.device)?);
                }
            }
            layers.push(adapted);
        }
        Ok(Self { config, layers })
    }

    /// What is trained, in a fixed order.
    pub(crate) fn vars(&self) -> Vec<Var> {
        let all = self.layers.iter().flatten().flatten();
        all.flat_map(|factors| [factors.a.clone(), factors.b.clone()]).collect()
    }

    /// The first layer that it changes.
    pub(crate) fn first_layer(&self) -> usize {
        let adapted = |layer: &[Option<Factors>; PROJECTIONS.len()]| layer.iter().any(Option::is_some);
        self.layers.iter().position(adapted).unwrap_or(self.layers.len())
    }

    /// The same numbers, by themselves.
    pub(crate) fn copied(&self) -> Result<Self> {
        let copy = |factors: &Factors| {
            let var = |var: &Var| Var::from_tensor(&var.as_tensor().copy()?);
            Result::Ok(Factors { a: var(&factors.a)?, b: var(&factors.b)?, scale: factors.scale })
        };
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let mut adapted = [const { None }; PROJECTIONS.len()];
            for (slot, factors) in adapted.iter_mut().zip(layer) {
                *slot = factors.as_ref().map(copy).transpose()?;
            }
            layers.push(adapted);
        }
        Ok(Self { config: self.config.clone(), layers })
    }
}

pub(crate) fn factors(
    a: Vec<f32>,
    b: Vec<f32>,
    [inputs, rank, outputs]: [usize; 3],
    scale: f64,
    device: &Device,
) -> Result<Factors> {
    let a = Var::from_vec(a, (rank, inputs), device)?;
    let b = Var::from_vec(b, (outputs, rank), device)?;
    Ok(Factors { a, b, scale })
}
