//! Which adapters take part, with which weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TurnError;
use crate::archetype::Task;
use crate::chain::{Routes, Version};
use crate::engine::{Mix, Weighted};
use crate::npc::Npc;
use crate::wire::{AdapterUse, ErrorCode};

/// The adapters of a line: those of the spoken tasks with the pack's weights, the request's weights over them.
/// Another task's adapter takes part only where the request names it; a weight of 0 leaves an adapter out.
pub(super) fn mix(
    npc: &Npc,
    routes: &Routes,
    weights: Option<&BTreeMap<String, f32>>,
) -> Result<(Mix, Vec<AdapterUse>), TurnError> {
    for task in weights.into_iter().flat_map(BTreeMap::keys) {
        if task.parse::<Task>().is_err() {
            let message = format!("mix names {task:?}, which is no task");
            return Err(TurnError::new(ErrorCode::BadPayload, message).field(&format!("mix.{task}")));
        }
    }
    let own = npc.read(|mind| mind.personality().weights());
    let speaking = Task::SPOKEN.into_iter().filter(|task| routes.adapter(*task).is_some()).count();
    let mut mix = Mix::new();
    let mut used = Vec::new();
    let others = Task::ALL.into_iter().filter(|task| !Task::SPOKEN.contains(task));
    for task in Task::SPOKEN.into_iter().chain(others) {
        let Some(adapter) = routes.adapter(task) else { continue };
        let asked = weights.and_then(|w| w.get(task.name()).copied());
        let usual = if Task::SPOKEN.contains(&task) { usual(npc, &own, task, speaking) } else { 0.0 };
        let weight = asked.unwrap_or(usual);
        if weight == 0.0 {
            continue;
        }
        let (weighted, adapter) = weighed(adapter, weight);
        mix.push(weighted);
        used.push(adapter);
    }
    Ok((mix, used))
}

/// The adapter of a task that is asked for a choice, with the pack's weight or the request's; `None`: it has none.
pub(super) fn of_task(
    npc: &Npc,
    routes: &Routes,
    weights: Option<&BTreeMap<String, f32>>,
    task: Task,
) -> Option<(Weighted, AdapterUse)> {
    let adapter = routes.adapter(task)?;
    let asked = weights.and_then(|weights| weights.get(task.name()).copied());
    let weight = asked.unwrap_or_else(|| usual(npc, &npc.read(|mind| mind.personality().weights()), task, 1));
    (weight != 0.0).then(|| weighed(adapter, weight))
}

/// The pack's weight, as strong as the NPC's personality makes it; −2 to 2. `among`: see [`Pack::weight`].
///
/// [`Pack::weight`]: crate::archetype::Pack::weight
fn usual(npc: &Npc, own: &BTreeMap<Task, f32>, task: Task, among: usize) -> f32 {
    (npc.pack.weight(task, among) * own.get(&task).copied().unwrap_or(1.0)).clamp(-2.0, 2.0)
}

fn weighed(version: &Version, weight: f32) -> (Weighted, AdapterUse) {
    let adapter = &version.adapter;
    let used = AdapterUse {
        id: adapter.id.clone(),
        task: adapter.task.to_string(),
        version: adapter.version.clone(),
        weight,
    };
    (Weighted { adapter: Arc::clone(&version.key), weight }, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::{Packs, Trait};
    use crate::chain::Chains;
    use crate::config;
    use crate::history::History;
    use crate::history::HotLimits;
    use crate::npc::Npcs;
    use crate::wire::NpcJoin;

    /// An NPC whose pack has an adapter for every task; the pack's own mix has weights 0.5, 0 and 2.
    async fn npc() -> Arc<Npc> {
        let folder = tempfile::tempdir().unwrap();
        let pack = folder.path().join("imp");
        for task in Task::ALL {
            let version = pack.join(task.name()).join("v1");
            std::fs::create_dir_all(&version).unwrap();
            for file in ["adapter_config.json", "adapter_model.safetensors"] {
                std::fs::write(version.join(file), "").unwrap();
            }
        }
        let text = r#"
            name = "imp"
            title = "Imp"
            names = ["Pip"]
            persona = "You are {name}."
            overload_lines = ["Hee."]
            [mix]
            personality = 0.5
            world_knowledge = 0
            action_policy = 2
        "#;
        std::fs::write(pack.join("pack.toml"), text).unwrap();
        let packs = Packs::load(Some(folder.path())).unwrap();
        let config = config::Config::load(None, std::iter::empty(), &[]).unwrap();
        let limits = HotLimits { conversations: 10, window_min: 5, window_max: 10 };
        let history = History::open(folder.path(), &config.history, limits).unwrap();
        let npcs = Npcs::new(Chains::unchecked(&packs), config.npc, history);
        let archetype = Some("imp".to_owned());
        // One who is like all of its kind.
        let personality = Some(Trait::ALL.iter().map(|of| (of.key().to_owned(), 0.0)).collect());
        let join = NpcJoin { npc: "n".into(), archetype, name: None, seed: None, personality };
        npcs.join(&join, true).await.unwrap();
        npcs.get("n").unwrap()
    }

    /// Tasks and weights of a line for which the request names these.
    async fn used(weights: Option<&[(&str, f32)]>) -> Vec<(String, f32)> {
        let weights = weights.map(|all| all.iter().map(|(task, g)| ((*task).to_owned(), *g)).collect());
        let npc = npc().await;
        let (mix, used) = mix(&npc, &npc.routes(), weights.as_ref()).unwrap();
        let adapters: Vec<&str> = mix.iter().map(|weighted| &*weighted.adapter).collect();
        let named: Vec<String> = used.iter().map(|adapter| format!("{}@v1", adapter.id)).collect();
        assert_eq!(adapters, named, "the client is told what the engine is");
        used.into_iter().map(|adapter| (adapter.task, adapter.weight)).collect()
    }

    fn pairs(all: &[(&str, f32)]) -> Vec<(String, f32)> {
        all.iter().map(|(task, weight)| ((*task).to_owned(), *weight)).collect()
    }

    #[tokio::test]
    async fn a_line_is_spoken_by_the_spoken_tasks_with_the_packs_weights() {
        // The pack does not name how it speaks: of three spoken adapters it has its part.
        let usual = pairs(&[("dialogue_style", 1.0 / 3.0), ("personality", 0.5)]);
        assert_eq!(used(None).await, usual);
        assert_eq!(used(Some(&[])).await, usual);
    }

    #[tokio::test]
    async fn a_task_that_the_request_names_joins_the_line() {
        let asked = [("action_policy", 0.25), ("goal_prioritization", -1.0), ("world_knowledge", 0.75)];
        let expected = pairs(&[
            ("dialogue_style", 1.0 / 3.0),
            ("personality", 0.5),
            ("world_knowledge", 0.75),
            ("action_policy", 0.25),
            ("goal_prioritization", -1.0),
        ]);
        assert_eq!(used(Some(&asked)).await, expected);
    }

    #[tokio::test]
    async fn a_weight_of_0_leaves_an_adapter_out() {
        let none = [("dialogue_style", 0.0), ("personality", 0.0), ("action_policy", 0.0)];
        assert_eq!(used(Some(&none)).await, []);
        let npc = npc().await;
        assert!(mix(&npc, &npc.routes(), Some(&[("singing".to_owned(), 0.0)].into())).is_err());
    }
}
