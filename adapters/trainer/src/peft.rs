//! An adapter as Hugging Face PEFT writes it: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::base::PROJECTIONS;
use crate::lora::{Factors, factors};
use crate::model::module;
use crate::{Base, Lora, LoraConfig, TrainError};

/// A factor pair of a projection, from a reader of PEFT's files.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub layer: usize,
    /// Under PEFT's name: `q_proj`.
    pub projection: String,
    pub rank: usize,
    /// A, `[rank, inputs]`, row-major.
    pub a: Vec<f32>,
    /// s·B, `[outputs, rank]`, row-major.
    pub b: Vec<f32>,
}

impl Lora {
    /// Writes the two files into a folder that is there, the numbers in 16-bit floats.
    ///
    /// # Errors
    /// [`TrainError::Io`], [`TrainError::Bad`] if a number is not finite in 16 bits.
    pub fn save(&self, base: &Base, dir: &Path) -> Result<(), TrainError> {
        let mut tensors = Vec::new();
        for (layer, adapted) in self.layers.iter().enumerate() {
            for (projection, factors) in adapted.iter().enumerate() {
                let Some(Factors { a, b, .. }) = factors else { continue };
                let path = format!(
                    "base_model.model.model.layers.{layer}.{}.{}",
                    module(projection),
                    PROJECTIONS[projection].0
                );
                for (name, var) in [("lora_A", a), ("lora_B", b)] {
                    let values = var.flatten_all()?.to_vec1::<f32>()?;
                    let halves: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
                    if halves.iter().any(|half| !half.is_finite()) {
                        return Err(TrainError::Bad(format!(
                            "{path}.{name} holds a number that is not finite"
                        )));
                    }
                    let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
                    tensors.push((format!("{path}.{name}.weight"), var.dims().to_vec(), bytes));
                }
            }
        }
        let mut views = Vec::with_capacity(tensors.len());
        for (name, shape, bytes) in &tensors {
            let view = TensorView::new(Dtype::F16, shape.clone(), bytes);
            views.push((name, view.map_err(|error| TrainError::Bad(error.to_string()))?));
        }
        let format = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
        let file = dir.join("adapter_model.safetensors");
        let bytes = safetensors::serialize(views, Some(format))
            .map_err(|error| TrainError::Bad(error.to_string()))?;
        std::fs::write(&file, bytes).map_err(TrainError::io(&file))?;
        let file = dir.join("adapter_config.json");
        let text = format!("{:#}\n", self.peft_config(base));
        std::fs::write(&file, text).map_err(TrainError::io(&file))
    }

    fn peft_config(&self, base: &Base) -> serde_json::Value {
        let LoraConfig { rank, alpha, targets, first_layer } = &self.config;
        let layers: Vec<usize> = (*first_layer..self.layers.len()).collect();
        json!({
            "base_model_name_or_path": base.identity().0,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "layers_pattern": "layers",
            "layers_to_transform": layers,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        })
    }

    /// An adapter that another trainer may have made, to be measured.
    ///
    /// # Errors
    /// [`TrainError::Bad`] if a part does not fit the base.
    pub fn from_parts(base: &Base, parts: impl IntoIterator<Item = Part>) -> Result<Self, TrainError> {
        let layers = base.config().layers;
        let mut lora = Self {
            config: LoraConfig { rank: 1, alpha: 1.0, targets: Vec::new(), first_layer: layers },
            layers: vec![[const { None }; PROJECTIONS.len()]; layers],
        };
        for Part { layer, projection, rank, a, b } in parts {
            let at = PROJECTIONS.iter().position(|(name, _)| *name == projection);
            let fits = at.filter(|at| {
                let (inputs, outputs) = base.sizes(*at);
                layer < layers && a.len() == rank * inputs && b.len() == rank * outputs
            });
            let Some(at) = fits else {
                return Err(TrainError::Bad(format!("{projection} of layer {layer} does not fit the model")));
            };
            let (inputs, outputs) = base.sizes(at);
            lora.layers[layer][at] = Some(factors(a, b, [inputs, rank, outputs], 1.0, &base.device)?);
            lora.config.rank = lora.config.rank.max(rank);
            lora.config.first_layer = lora.config.first_layer.min(layer);
            if !lora.config.targets.contains(&projection) {
                lora.config.targets.push(projection);
            }
        }
        Ok(lora)
    }
}
