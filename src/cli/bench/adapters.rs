//! Adapters to measure with: rank 8 on q, k, v and o, of noise. What they say means nothing.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

use crate::engine::{Engine, Mix, Weighted};

/// Five archetypes with seven tasks each.
pub const COUNT: usize = 35;

/// Adapters of one request's mix.
const MIX: usize = 4;

const RANK: usize = 8;

fn id(index: usize) -> String {
    format!("bench/{index}")
}

/// Writes adapters into `folder` in PEFT's format and loads them.
pub async fn load(engine: &Engine, folder: &Path) -> anyhow::Result<()> {
    for index in 0..COUNT {
        let folder = folder.join(index.to_string());
        write(engine, &folder, index as u64).with_context(|| folder.display().to_string())?;
        engine.load_adapter(&id(index), &folder).await?;
    }
    Ok(())
}

fn write(engine: &Engine, folder: &Path, seed: u64) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let config = serde_json::json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 16});
    std::fs::write(folder.join("adapter_config.json"), config.to_string())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut factors = Vec::new();
    for layer in 0..engine.model().model.layers {
        for group in engine.model().graph.groups.iter().filter(|group| matches!(&*group.name, "qkv" | "o")) {
            for projection in &group.projections {
                let name = format!("base_model.model.model.layers.{layer}.self_attn.{}", projection.name);
                for (factor, shape) in [("A", [RANK, group.inputs]), ("B", [projection.size, RANK])] {
                    let numbers: Vec<f32> =
                        (0..shape[0] * shape[1]).map(|_| (rng.random::<f32>() - 0.5) * 0.06).collect();
                    factors.push((format!("{name}.lora_{factor}.weight"), shape, numbers));
                }
            }
        }
    }
    let views = factors
        .iter()
        .map(|(name, shape, numbers)| {
            Ok((name.clone(), TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(numbers))?))
        })
        .collect::<Result<HashMap<_, _>, safetensors::SafeTensorError>>()?;
    safetensors::serialize_to_file(views, None, &folder.join("adapter_model.safetensors"))?;
    Ok(())
}

/// The same adapter for everybody.
pub fn one() -> Mix {
    vec![Weighted { adapter: id(0).into(), weight: 1.0 }]
}

/// A mix of its own: four of an archetype's seven, each with a weight of its own.
pub fn different(client: usize, rng: &mut ChaCha8Rng) -> Mix {
    let archetype = client % (COUNT / 7) * 7;
    let mut tasks: Vec<usize> = (0..7).collect();
    (0..MIX)
        .map(|_| {
            let task = tasks.swap_remove(rng.random_range(0..tasks.len()));
            Weighted { adapter: id(archetype + task).into(), weight: rng.random_range(0.25..1.0) }
        })
        .collect()
}
