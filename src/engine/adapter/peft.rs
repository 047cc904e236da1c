//! A PEFT folder → [`Adapter`].

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::Arc;

use npc_onnx::GraphInfo;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::config::{MAX_RANK, PeftConfig, TargetModules};
use super::read_file;
use super::{Adapter, AdapterInfo, Factors, next_version};

/// Bytes of a weight file before its numbers: names, shapes and what a trainer notes.
const MAX_HEADER: u64 = 16 << 20;

/// The two factors of a module, while the file is read: their shapes and numbers.
#[derive(Default)]
struct Pair {
    a: Option<(Vec<usize>, Vec<f32>)>,
    b: Option<(Vec<usize>, Vec<f32>)>,
}

/// A tensor's place: layer, and the module's name in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Module {
    layer: usize,
    /// For example `self_attn.q_proj`.
    path: String,
}

impl Module {
    /// The last part of the path: the name that PEFT's `target_modules` uses.
    fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    fn full_path(&self) -> String {
        format!("model.layers.{}.{}", self.layer, self.path)
    }
}

/// Reads the folder; an error says what is wrong in words for the adapter's owner.
pub(super) fn load(id: &str, dir: &Path, graph: &GraphInfo, layers: usize) -> Result<Adapter, String> {
    // Tells an adapter from its successor in the same folder, not from one that somebody forged.
    let mut digest = DefaultHasher::new();
    let config = PeftConfig::read(dir, &mut digest)?;
    let pairs = read_pairs(dir, largest_file(graph, layers), &mut digest)?;
    if pairs.is_empty() {
        return Err("adapter_model.safetensors holds no LoRA tensors".into());
    }
    let mut table = vec![vec![Vec::new(); graph.groups.len()]; layers];
    let mut found = BTreeSet::new();
    for (module, pair) in pairs {
        let (group, factors) = place(&module, pair, &config, graph, layers)?;
        found.insert(module.name().to_owned());
        let there: &mut Vec<Factors> = &mut table[module.layer][group];
        if there.iter().any(|f| f.offset == factors.offset) {
            let (name, layer) = (module.name(), module.layer);
            return Err(format!("{name} of layer {layer} is there twice under different paths"));
        }
        there.push(factors);
    }
    check_targets(&config, &found)?;
    for groups in &mut table {
        for factors in groups {
            factors.sort_by_key(|f| f.offset);
        }
    }
    Ok(finish(id, dir, table, graph, digest.finish()))
}

/// Bytes of the largest weight file that is read: every projection of the model with [`MAX_RANK`] ranks of floats.
fn largest_file(graph: &GraphInfo, layers: usize) -> u64 {
    let projections = graph.groups.iter().flat_map(|g| g.projections.iter().map(|p| g.inputs + p.size));
    let numbers = projections.sum::<usize>().saturating_mul(layers).saturating_mul(MAX_RANK);
    (numbers.saturating_mul(size_of::<f32>()) as u64).saturating_add(MAX_HEADER)
}

/// Every module of the file with both its factors.
fn read_pairs(dir: &Path, limit: u64, digest: &mut DefaultHasher) -> Result<BTreeMap<Module, Pair>, String> {
    const FILE: &str = "adapter_model.safetensors";
    const PICKLE: &str = "adapter_model.bin";
    if !dir.join(FILE).exists() && dir.join(PICKLE).exists() {
        return Err(format!(
            "{FILE} is missing; {PICKLE} is a pickle, which may run anything, and is not read: save the adapter \
             with safe_serialization"
        ));
    }
    let bytes = read_file(dir, FILE, limit)?;
    digest.write(&bytes);
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| format!("{FILE} is damaged: {e}"))?;
    let mut pairs: BTreeMap<Module, Pair> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let (module, is_a) = parse_name(name)?;
        let tensor = (view.shape().to_vec(), floats(name, &view)?);
        let pair = pairs.entry(module).or_default();
        let slot = if is_a { &mut pair.a } else { &mut pair.b };
        if slot.replace(tensor).is_some() {
            return Err(format!("tensor {name} is there twice under different names"));
        }
    }
    Ok(pairs)
}

/// `base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight` → layer 3's `self_attn.q_proj`, A.
fn parse_name(name: &str) -> Result<(Module, bool), String> {
    let unknown = || format!("tensor {name} is not LoRA of a decoder layer's linear projection");
    let stem = name.strip_prefix("base_model.model.").unwrap_or(name);
    let stem = stem.strip_prefix("model.").unwrap_or(stem);
    let rest = stem.strip_prefix("layers.").ok_or_else(unknown)?;
    let (layer, rest) = rest.split_once('.').ok_or_else(unknown)?;
    let layer = layer.parse().map_err(|_| unknown())?;
    // PEFT writes `.lora_A.weight`; files saved with the adapter's name in them have `.lora_A.NAME.weight`.
    for (mark, is_a) in [(".lora_A.", true), (".lora_B.", false)] {
        if let Some((path, tail)) = rest.split_once(mark)
            && (tail == "weight" || tail.ends_with(".weight"))
        {
            return Ok((Module { layer, path: path.to_owned() }, is_a));
        }
    }
    Err(unknown())
}

/// The numbers of a tensor as f32; all finite.
fn floats(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let bytes = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        other => return Err(format!("tensor {name} has type {other:?}; F32, F16 and BF16 are read")),
    };
    if values.iter().any(|v| !v.is_finite()) {
        return Err(format!("tensor {name} holds a number that is not finite"));
    }
    Ok(values)
}

/// Checks a module's factors against the model and finds its group.
fn place(
    module: &Module,
    pair: Pair,
    config: &PeftConfig,
    graph: &GraphInfo,
    layers: usize,
) -> Result<(usize, Factors), String> {
    let path = module.full_path();
    if module.layer >= layers {
        return Err(format!("{path}: the model has {layers} layers"));
    }
    let (group, spec, projection) = graph
        .groups
        .iter()
        .enumerate()
        .find_map(|(i, g)| Some((i, g, g.projections.iter().find(|p| p.name == module.name())?)))
        .ok_or_else(|| format!("{path}: the model has no projection {:?}", module.name()))?;
    let (Some((a_shape, a)), Some((b_shape, mut b))) = (pair.a, pair.b) else {
        return Err(format!("{path}: one of lora_A and lora_B is missing"));
    };
    let rank = config.rank(&path);
    if a_shape != [rank, spec.inputs] {
        return Err(format!("{path}.lora_A has shape {a_shape:?}, but [{rank}, {}] is wanted", spec.inputs));
    }
    if b_shape != [projection.size, rank] {
        return Err(format!(
            "{path}.lora_B has shape {b_shape:?}, but [{}, {rank}] is wanted",
            projection.size
        ));
    }
    debug_assert!(rank <= MAX_RANK);
    let scale = config.scale(&path, rank) as f32;
    for value in &mut b {
        *value *= scale;
    }
    if b.iter().any(|value| !value.is_finite()) {
        return Err(format!("{path}.lora_B times lora_alpha's scale of {scale:e} is no finite number"));
    }
    Ok((group, Factors { offset: projection.offset, outputs: projection.size, rank, a, b }))
}

/// A module that the configuration names but the file lacks means that the file is not whole.
fn check_targets(config: &PeftConfig, found: &BTreeSet<String>) -> Result<(), String> {
    let Some(TargetModules::List(targets)) = &config.target_modules else { return Ok(()) };
    for target in targets {
        let name = target.rsplit('.').next().unwrap_or(target);
        if !found.contains(name) {
            return Err(format!("target_modules names {target:?}, but the weights hold no such module"));
        }
    }
    Ok(())
}

fn finish(id: &str, dir: &Path, table: Vec<Vec<Vec<Factors>>>, graph: &GraphInfo, digest: u64) -> Adapter {
    let all = || table.iter().flatten().flatten();
    let group_ranks = (0..graph.groups.len())
        .map(|g| table.iter().map(|groups| groups[g].iter().map(|f| f.rank).sum()).max().unwrap_or(0))
        .collect();
    let targets = graph
        .groups
        .iter()
        .enumerate()
        .flat_map(|(g, group)| group.projections.iter().map(move |p| (g, p)))
        .filter(|(g, p)| table.iter().any(|groups| groups[*g].iter().any(|f| f.offset == p.offset)))
        .map(|(_, p)| p.name.clone())
        .collect();
    let info = AdapterInfo {
        id: Arc::from(id),
        path: dir.to_owned(),
        rank: all().map(|f| f.rank).max().unwrap_or(0),
        targets,
        bytes: all().map(|f| (f.a.len() + f.b.len()) * size_of::<f32>()).sum(),
    };
    let (version, packed) = (next_version(), std::sync::OnceLock::new());
    Adapter { info, version, digest, layers: table, group_ranks, packed }
}
