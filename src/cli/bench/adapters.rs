//! Adapters to measure with: rank 8 on q, k, v and o, of noise. What they say means nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context;
use npc_onnx::ModelFile;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};

use super::Workload;
use crate::archetype::Task;
use crate::engine::{Engine, Mix, Weighted};

/// Those of the built-in packs, so that a gateway that runs elsewhere knows them too.
pub const ARCHETYPES: [&str; 5] = ["vampire", "werewolf", "zombie", "ghoul", "lich"];

/// Five archetypes with seven tasks each.
pub const COUNT: usize = ARCHETYPES.len() * Task::ALL.len();

/// Adapters of one request's mix.
const MIX: usize = 4;

const RANK: usize = 8;

pub fn id(index: usize) -> String {
    format!("bench/{index}")
}

/// Where [`write_all`] puts one.
pub fn folder(all: &Path, index: usize) -> PathBuf {
    all.join(index.to_string())
}

/// Writes [`COUNT`] adapters into `all` in PEFT's format.
pub fn write_all(model: &ModelFile, all: &Path) -> anyhow::Result<()> {
    for index in 0..COUNT {
        let folder = folder(all, index);
        write(model, &folder, index as u64).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// Loads what [`write_all`] wrote.
pub async fn load(engine: &Engine, all: &Path) -> anyhow::Result<()> {
    for index in 0..COUNT {
        engine.load_adapter(&id(index), &folder(all, index)).await?;
    }
    Ok(())
}

/// Writes packs into `folder`, and an adapter for each of their tasks if `adapters` is set.
///
/// The personas are short and begin with the name, so that nearly all of a prompt is random text.
pub fn write_packs(model: &ModelFile, folder: &Path, adapters: bool) -> anyhow::Result<()> {
    for (number, archetype) in ARCHETYPES.into_iter().enumerate() {
        let pack = folder.join(archetype);
        std::fs::create_dir_all(&pack)?;
        std::fs::write(pack.join("pack.toml"), pack_text(archetype))?;
        for (at, task) in Task::ALL.into_iter().enumerate().filter(|_| adapters) {
            let folder = pack.join(task.name()).join("v1");
            let seed = number * Task::ALL.len() + at;
            write(model, &folder, seed as u64).with_context(|| folder.display().to_string())?;
        }
    }
    Ok(())
}

/// Writes a version of all seven adapters of the first archetype into a folder of packs.
pub fn write_version(model: &ModelFile, packs: &Path, version: u32) -> anyhow::Result<()> {
    let pack = packs.join(ARCHETYPES[0]);
    std::fs::create_dir_all(&pack)?;
    std::fs::write(pack.join("pack.toml"), pack_text(ARCHETYPES[0]))?;
    for (at, task) in Task::ALL.into_iter().enumerate() {
        let folder = pack.join(task.name()).join(format!("v{version}"));
        write(model, &folder, u64::from(version) << 8 | at as u64)
            .with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

fn pack_text(archetype: &str) -> String {
    format!(
        "name = {archetype:?}\ntitle = {archetype:?}\nnames = [\"Nobody\"]\npersona = \"{{name}} speaks.\"\n\
         overload_lines = [\"Later.\"]\n"
    )
}

fn write(model: &ModelFile, folder: &Path, seed: u64) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let config = serde_json::json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 16});
    std::fs::write(folder.join("adapter_config.json"), config.to_string())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut factors = Vec::new();
    for layer in 0..model.model.layers {
        for group in model.graph.groups.iter().filter(|group| matches!(&*group.name, "qkv" | "o")) {
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

pub fn weighted(index: usize, weight: f32) -> Weighted {
    Weighted { adapter: id(index).into(), weight }
}

/// The same adapter for everybody.
pub fn one() -> Mix {
    vec![weighted(0, 1.0)]
}

/// What an archetype's adapter for a task adds to a mix, with a weight of its own.
pub fn of_task(archetype: usize, task: Task, rng: &mut ChaCha8Rng) -> Option<Weighted> {
    let task = Task::ALL.iter().position(|other| *other == task)?;
    Some(weighted(archetype % ARCHETYPES.len() * Task::ALL.len() + task, rng.random_range(0.25..1.0)))
}

/// A mix of its own: four of an archetype's seven, each with a weight of its own.
pub fn different(client: usize, rng: &mut ChaCha8Rng) -> Mix {
    let archetype = client % ARCHETYPES.len() * Task::ALL.len();
    let mix = four(rng).into_iter();
    mix.map(|(task, weight)| weighted(archetype + task, weight)).collect()
}

/// Four of seven, by their place in [`Task::ALL`], each with a weight.
fn four(rng: &mut ChaCha8Rng) -> Vec<(usize, f32)> {
    let mut tasks: Vec<usize> = (0..Task::ALL.len()).collect();
    (0..MIX)
        .map(|_| (tasks.swap_remove(rng.random_range(0..tasks.len())), rng.random_range(0.25..1.0)))
        .collect()
}

/// What a `say` names for the same workloads: the archetype of the client's NPCs, and the mix of one line.
pub fn spoken(
    workload: Workload,
    client: usize,
    rng: &mut ChaCha8Rng,
) -> (&'static str, BTreeMap<String, f32>) {
    // The tasks that speak by themselves are left out unless they are drawn.
    let mut mix: BTreeMap<String, f32> =
        Task::SPOKEN.into_iter().map(|task| (task.to_string(), 0.0)).collect();
    let own = ARCHETYPES[client % ARCHETYPES.len()];
    match workload {
        Workload::None => (own, mix),
        Workload::One => {
            mix.insert(Task::ALL[0].to_string(), 1.0);
            (ARCHETYPES[0], mix)
        }
        Workload::Different => {
            mix.extend(four(rng).into_iter().map(|(task, weight)| (Task::ALL[task].to_string(), weight)));
            (own, mix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_as_many_adapters_as_their_workload_wants() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut named = |workload, client| {
            let (archetype, mix) = spoken(workload, client, &mut rng);
            (archetype, mix.values().filter(|weight| **weight != 0.0).count(), mix)
        };
        for client in 0..10 {
            assert_eq!(named(Workload::None, client).1, 0);
            let (archetype, count, mix) = named(Workload::One, client);
            assert_eq!((archetype, count, mix["personality"]), (ARCHETYPES[0], 1, 1.0));
            let (archetype, count, mix) = named(Workload::Different, client);
            assert_eq!((archetype, count), (ARCHETYPES[client % 5], MIX));
            assert!(Task::SPOKEN.iter().all(|task| mix.contains_key(task.name())));
            assert_ne!(mix, named(Workload::Different, client).2);
        }
    }
}
