//! How long players wait on a device, by simulation: the one place where the planner's plans meet the simulation.

use serde::{Deserialize, Serialize};

use super::super::input::InputError;
use super::super::load::ArchetypeLoad;
use super::super::simulation::{Admission, Arrivals, Process, Server, Simulated};
use super::Inputs;
use super::choose::Chosen;
use super::output::DevicePlan;
use crate::engine::OPTION_SEQUENCES;

/// Actions that are counted, and the most that come before; in no fewer and no more seconds than these, both together
/// less than a day. What a simulation costs goes with its actions, not with its seconds.
const ACTIONS: f64 = 5000.0;
const WARM_UP_ACTIONS: f64 = 40_000.0;
const LEAST_S: f64 = 10.0;
const MOST_S: f64 = 40_000.0;

/// `engine.queue` at least.
const QUEUE: u64 = 64;

/// `engine.kept_conversations` at most.
pub(super) const MOST_KEPT: u64 = 65_536;

/// Of the arrivals.
const SEED: u64 = 1;

/// What players see in the busiest hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    pub first_token_p50_ms: f64,
    pub first_token_p95_ms: f64,
    pub choice_p95_ms: f64,
    pub lines_per_s: f64,
    /// Share of the time in steps.
    pub busy: f64,
    /// Of lines: refused, or late.
    pub refused_share: f64,
    /// Of choices: refused, or late, so that their turns went on without them.
    pub missed_choices_share: f64,
    /// The 95th percentile of the first token is within its target, and no more than 1 % of lines are refused and of
    /// choices missed.
    pub within_target: bool,
}

/// Lines that may be refused and choices that may be missed while a server still counts as within its target, as shares.
pub(super) const REFUSED: f64 = 0.01;

/// Settings of the gateway on a device: those of section `engine` with these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub rows: u64,
    pub prefill_budget: u64,
    pub queue: u64,
    pub context: u64,
    pub kept_conversations: u64,
    pub kv_memory_mb: u64,
    pub adapter_memory_mb: u64,
}

/// Chains on a device, by their index in the sizing.
fn held(device: &DevicePlan, chosen: &Chosen<'_>) -> Vec<usize> {
    let of = |name: &str| chosen.sizing.specs.iter().position(|spec| spec.load.name == name);
    device.holds.iter().filter_map(|held| of(&held.archetype)).collect()
}

fn replicas(chain: usize, chosen: &Chosen<'_>) -> u64 {
    let name = &chosen.sizing.specs[chain].load.name;
    chosen.items.iter().filter(|item| item.chain == *name).count().max(1) as u64
}

fn tuned(chains: &[usize], at: usize, chosen: &Chosen<'_>) -> Settings {
    let sizing = &chosen.sizing;
    let mut settings = Settings {
        rows: 1,
        prefill_budget: 1,
        queue: QUEUE,
        context: sizing.request.context_tokens,
        kept_conversations: kept(chains, chosen).min(MOST_KEPT),
        kv_memory_mb: 0,
        adapter_memory_mb: 0,
    };
    let (mut kv_bytes, mut adapters_bytes) = (0_u64, 0_u64);
    for &chain in chains {
        let (spec, capacity) = (sizing.specs[chain], sizing.capacity(at, chain));
        let replicas = replicas(chain, chosen);
        settings.rows = settings.rows.max(capacity.rows);
        settings.prefill_budget = settings.prefill_budget.max(capacity.prefill_budget);
        let bytes = spec.replica_bytes(sizing.rows(chain, replicas), replicas, sizing.request.context_tokens);
        adapters_bytes = adapters_bytes.saturating_add(spec.adapters_bytes);
        kv_bytes = kv_bytes.saturating_add(bytes.saturating_sub(spec.adapters_bytes));
    }
    Settings {
        queue: settings.queue.max(settings.rows),
        kv_memory_mb: kv_bytes.div_ceil(1 << 20),
        adapter_memory_mb: adapters_bytes.div_ceil(1 << 20),
        ..settings
    }
}

/// Sequences that these chains keep on a device together.
fn kept(chains: &[usize], chosen: &Chosen<'_>) -> u64 {
    let of = |&chain: &usize| chosen.sizing.specs[chain].kept(replicas(chain, chosen));
    chains.iter().map(of).fold(0, u64::saturating_add)
}

/// Sequences that the chains on this device keep together, whatever the gateway's bound.
pub(super) fn kept_on(device: &DevicePlan, chosen: &Chosen<'_>) -> u64 {
    kept(&held(device, chosen), chosen)
}

/// Of this device, for all chains on it.
pub(super) fn settings(device: &DevicePlan, at: usize, chosen: &Chosen<'_>) -> Settings {
    tuned(&held(device, chosen), at, chosen)
}

/// Of the base with most work on this device; others on it take their turns. `None`: nothing simulates, nothing is asked
/// of it, or no line was counted.
pub(super) fn expected(
    device: &DevicePlan,
    at: usize,
    chosen: &Chosen<'_>,
    inputs: &Inputs<'_>,
) -> Result<Option<Expected>, InputError> {
    let (Some(simulate), sizing) = (inputs.simulate, &chosen.sizing) else { return Ok(None) };
    let chains = held(device, chosen);
    let asked = |chain: usize| sizing.specs[chain].actions_per_s / replicas(chain, chosen) as f64;
    let model_of = |chain: usize| sizing.specs[chain].model.name.as_str();
    let busy =
        |model: &str| chains.iter().filter(|&&at| model_of(at) == model).map(|&at| asked(at)).sum::<f64>();
    let mut models: Vec<&str> = chains.iter().map(|&chain| model_of(chain)).collect();
    models.sort_unstable();
    models.dedup();
    let Some(&model) = models.iter().max_by(|a, b| busy(a).total_cmp(&busy(b))) else { return Ok(None) };
    let actions_per_s = busy(model);
    let asks = |&chain: &usize| model_of(chain) == model && sizing.specs[chain].mix.is_some();
    let chains: Vec<usize> = chains.iter().copied().filter(asks).collect();
    if actions_per_s <= 0.0 || chains.is_empty() {
        return Ok(None);
    }
    let archetypes: Vec<ArchetypeLoad> = chains
        .iter()
        .map(|&chain| {
            let load = &sizing.specs[chain].load;
            let npcs = load.npcs.div_ceil(replicas(chain, chosen));
            let each = asked(chain) / npcs.max(1) as f64;
            ArchetypeLoad { npcs, actions_per_npc_per_s: each, ..load.clone() }
        })
        .collect();
    // A step of each base, one after the other.
    let steps =
        sizing.specs[chains[0]].scaled(sizing.instances[at], inputs).steps.slower(models.len() as f64);
    let settings = tuned(&chains, at, chosen);
    // In the simulation a line leaves a second sequence behind, where the gateway's conversation goes on in its own.
    let (rows, kept) = (settings.rows as usize, settings.kept_conversations as usize * 2);
    let server = Server {
        steps,
        rows,
        kept,
        sequences: rows + kept + OPTION_SEQUENCES,
        context: settings.context as usize,
        prefill_budget: settings.prefill_budget as usize,
        queue: settings.queue as usize,
        turn_overhead_s: inputs.measured.turn_overhead_s,
        admission: Admission::default(),
    };
    // Until most NPCs have spoken their prompts are colder than they will be.
    let npcs: u64 = archetypes.iter().map(|load| load.npcs).sum();
    let warm_up_s = ((3.0 * npcs as f64).min(WARM_UP_ACTIONS) / actions_per_s).clamp(LEAST_S, MOST_S);
    let seconds = (ACTIONS / actions_per_s).clamp(LEAST_S, MOST_S);
    let arrivals = Arrivals { archetypes, seconds, warm_up_s, seed: SEED, process: Process::Open };
    let seen = simulate(&server, &arrivals)?;
    Ok(seen_of(&seen, arrivals.seconds, sizing.request.targets.first_token_ms))
}

/// In the report's words. `None`: no line was counted.
pub(super) fn seen_of(seen: &Simulated, seconds: f64, target_ms: f64) -> Option<Expected> {
    if seen.lines + seen.overloaded == 0 {
        return None;
    }
    let first_ms = seen.first_token_ms.p95;
    let refused_share = seen.overloaded as f64 / (seen.lines + seen.overloaded) as f64;
    let missed = seen.choices_missed as f64;
    let missed_choices_share =
        if missed > 0.0 { missed / (seen.choices_per_s * seconds + missed) } else { 0.0 };
    Some(Expected {
        first_token_p50_ms: seen.first_token_ms.p50,
        first_token_p95_ms: first_ms,
        choice_p95_ms: seen.choice_ms.p95,
        lines_per_s: seen.lines_per_s,
        busy: seen.busy,
        refused_share,
        missed_choices_share,
        within_target: first_ms <= target_ms && refused_share <= REFUSED && missed_choices_share <= REFUSED,
    })
}
