//! What the process takes of main memory, beside what the planner says.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{adapters, ask};
use crate::config::{self, KvPrecision};
use crate::engine::{Engine, Mix};
use crate::planner::fleet::model_of_folder;
use crate::planner::measured::Measured;
use crate::planner::memory::{AdapterShape, Demand, KvScheme, Memory as Planned, Target, WeightScheme};

/// Conversations that are held, more each time, and tokens of each with its answer.
const STATES: [u64; 3] = [16, 48, 96];
const TOKENS: u64 = 512;
const ANSWER: u64 = 8;

/// Rank of the adapters of [`adapters::write_all`]; int8 is what the settings begin with.
const RANK: u32 = 8;

/// See the module's documentation.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// What the process takes besides weights, keys and values and adapters: what is left of the first state. The planner
    /// reads it.
    pub runtime_bytes: u64,
    /// What the planner takes for it where it is given no file.
    pub built_in_runtime_bytes: u64,
    pub states: Vec<State>,
}

/// So many conversations.
#[derive(Debug, Serialize)]
pub struct State {
    pub conversations: u64,
    pub tokens_each: u64,
    pub weights_bytes: u64,
    pub adapters_bytes: u64,
    pub kv_bytes: u64,
    /// With what the planner takes for the runtime where it is given no file.
    pub planned_bytes: u64,
    pub resident_bytes: u64,
    /// (planned − resident) / resident.
    pub error: f64,
}

/// Measures on an engine of its own.
pub async fn measure(
    start: impl Fn(&config::Engine) -> anyhow::Result<Engine>,
    config: &config::Engine,
    model: &Path,
    folder: &Path,
) -> anyhow::Result<Memory> {
    let mut config = config.clone();
    config.kept_conversations = config.kept_conversations.max(STATES[2] as usize);
    // None of them leaves.
    config.kv_memory_mb = config.kv_memory_mb.max(2048);
    let built_in_runtime_bytes = Measured::built_in()?.runtime_bytes;
    let mut demand = demand(model, &config, built_in_runtime_bytes)?;
    let engine = start(&config)?;
    adapters::load(&engine, folder).await?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut states, mut held) = (Vec::new(), 0);
    for conversations in STATES {
        eprintln!("==> {conversations} conversations of {TOKENS} tokens");
        while held < conversations {
            // As many at once as there are rows.
            let most = (conversations - held).min(config.rows as u64);
            let asked = (0..most).map(|client| {
                let prompt = ask::prompt(&engine, (TOKENS - ANSWER) as usize, &mut rng);
                let mix: Mix = adapters::different(client as usize, &mut rng);
                let engine = engine.clone();
                tokio::spawn(async move {
                    ask::answer(&engine, prompt, mix, ANSWER as u32, client as usize).await
                })
            });
            for answer in asked.collect::<Vec<_>>() {
                answer.await??;
            }
            held += most;
        }
        demand.rows = conversations;
        states.push(State::new(&demand.memory(), conversations, resident_bytes()?));
    }
    engine.stop();
    let first = &states[0];
    let planned = first.planned_bytes - built_in_runtime_bytes;
    Ok(Memory { runtime_bytes: first.resident_bytes.saturating_sub(planned), built_in_runtime_bytes, states })
}

/// What the planner says of this model, as its folder holds it, with the bench's adapters.
fn demand(model: &Path, config: &config::Engine, overhead_bytes: u64) -> anyhow::Result<Demand> {
    let file = model.join("model.toml");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let base = model_of_folder("the model", &file.display().to_string(), &text)?;
    let architecture = base.architecture;
    let positions = u64::from(base.context_tokens);
    let stored = std::fs::metadata(model.join("native.bin"))
        .context("native.bin: the planner's figure is that of the native decoder")?
        .len();
    let schemes = [WeightScheme::gateway_native(positions), WeightScheme::gateway_native_of_4_bit(positions)];
    let nearest = schemes.into_iter().min_by_key(|scheme| scheme.bytes(&architecture).abs_diff(stored));
    let shape = AdapterShape {
        rank: RANK,
        layers: architecture.layers,
        targets: Target::ATTENTION.to_vec(),
        element_bytes: match config.adapter_precision {
            config::AdapterPrecision::Int8 => 1,
            config::AdapterPrecision::Bf16 => 2,
            config::AdapterPrecision::F32 => 4,
        },
    };
    let demand = Demand {
        architecture,
        weights: nearest.unwrap_or(schemes[0]),
        kv: match (config.kv_precision, npc_onnx::ModelFile::read(model)?.model.architecture) {
            (KvPrecision::Bf16, _) | (KvPrecision::Auto, npc_onnx::Architecture::Qwen2) => {
                KvScheme::NATIVE_BF16
            }
            (KvPrecision::Int8 | KvPrecision::Auto, _) => KvScheme::NATIVE,
        },
        rows: 0,
        context_tokens: TOKENS,
        adapters: vec![(shape, adapters::COUNT as u64)],
        overhead_bytes,
    };
    demand.check()?;
    Ok(demand)
}

impl State {
    fn new(planned: &Planned, conversations: u64, resident_bytes: u64) -> Self {
        let planned_bytes = planned.total_bytes();
        Self {
            conversations,
            tokens_each: TOKENS,
            weights_bytes: planned.weights_bytes,
            adapters_bytes: planned.adapters_bytes,
            kv_bytes: planned.kv_bytes,
            planned_bytes,
            resident_bytes,
            error: planned_bytes as f64 / resident_bytes.max(1) as f64 - 1.0,
        }
    }
}

/// Of this process.
fn resident_bytes() -> anyhow::Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("resident memory is known on Linux alone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kilobytes.context("/proc/self/status has no VmRSS in kB")? * 1024)
}

impl Memory {
    pub fn table(&self) -> String {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let mut out = String::from(
            "| conversations × tokens | weights, MB | adapters | keys and values | runtime | planned | resident | error |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for state in &self.states {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {} × {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:+.1} % |",
                state.conversations,
                state.tokens_each,
                mb(state.weights_bytes),
                mb(state.adapters_bytes),
                mb(state.kv_bytes),
                mb(self.built_in_runtime_bytes),
                mb(state.planned_bytes),
                mb(state.resident_bytes),
                state.error * 100.0
            );
        }
        let _ = writeln!(out, "\nruntime, as this process shows it: {:.1} MB", mb(self.runtime_bytes));
        out
    }
}
