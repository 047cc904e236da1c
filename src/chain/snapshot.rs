//! What an archetype's characters answer with, as it is at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::archetype::{PackAdapter, Task, VersionFiles};
use crate::engine::AdapterInfo;
use crate::wire::{ChainInfo, ChainTask};

/// A version of an adapter that the engine knows and that has passed its checks.
#[derive(Debug)]
pub struct Version {
    pub adapter: PackAdapter,
    pub number: u32,
    /// What the engine knows it by.
    pub key: Arc<str>,
    /// As the engine has read it.
    pub info: AdapterInfo,
    /// What its files say.
    pub files: VersionFiles,
    /// In milliseconds since 1970, UTC.
    pub loaded_ms: u64,
}

/// A version on trial.
#[derive(Debug, Clone)]
pub struct Canary {
    pub version: Arc<Version>,
    /// Of the NPCs that use it, above 0 and below 1.
    pub share: f32,
}

/// The adapter of one task.
#[derive(Debug, Clone, Default)]
pub struct Link {
    pub promoted: Option<Arc<Version>>,
    pub canary: Option<Canary>,
}

impl Link {
    /// The version that was promoted.
    pub fn number(&self) -> Option<u32> {
        self.promoted.as_ref().map(|version| version.number)
    }

    fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.promoted.iter().chain(self.canary.iter().map(|canary| &canary.version))
    }
}

/// The adapters of an archetype. Never changes: a promotion makes another one.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub links: BTreeMap<Task, Link>,
    /// In milliseconds since 1970, UTC.
    pub since_ms: u64,
}

impl Chain {
    /// Every version that an NPC may use.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.links.values().flat_map(Link::versions)
    }

    /// Bytes that the adapters of a line take together, for whom they are most.
    pub fn spoken_bytes(&self) -> usize {
        let of = |task: &Task| self.links.get(task)?.versions().map(|version| version.info.bytes).max();
        Task::SPOKEN.iter().filter_map(of).sum()
    }

    /// Bytes of all of them in memory.
    pub fn bytes(&self) -> usize {
        self.versions().map(|version| version.info.bytes).sum()
    }
}

/// The chain as one NPC meets it. Whoever holds it goes on with these versions, whatever is promoted meanwhile: a turn
/// takes one when its line comes, for the line and all questions about it.
#[derive(Debug, Clone)]
pub struct Routes {
    chain: Arc<Chain>,
    /// Where the NPC stands among all, 0..1; `None`: nothing is on trial.
    place: Option<f32>,
}

impl Routes {
    pub(super) fn new(chain: Arc<Chain>, npc: &str) -> Self {
        let trial = chain.links.values().any(|link| link.canary.is_some());
        Self { chain, place: trial.then(|| place(npc)) }
    }

    /// The version of a task's adapter; `None`: there is none, and the base model answers.
    pub fn adapter(&self, task: Task) -> Option<&Arc<Version>> {
        let link = self.chain.links.get(&task)?;
        match (&link.canary, self.place) {
            (Some(canary), Some(place)) if place < canary.share => Some(&canary.version),
            _ => link.promoted.as_ref(),
        }
    }

    /// Whether the version of a task's adapter is one on trial.
    pub fn is_canary(&self, task: Task) -> bool {
        let canary = self.chain.links.get(&task).and_then(|link| link.canary.as_ref());
        canary.is_some_and(|canary| self.place.is_some_and(|place| place < canary.share))
    }

    /// Whether there is no adapter for any task.
    pub fn is_empty(&self) -> bool {
        Task::ALL.into_iter().all(|task| self.adapter(task).is_none())
    }

    /// What clients are told of it, but for services.
    pub fn info(&self, archetype: &str) -> ChainInfo {
        let told = |task: Task| {
            let PackAdapter { id, version, .. } = &self.adapter(task)?.adapter;
            Some((task.to_string(), ChainTask { adapter: id.clone(), version: version.clone() }))
        };
        let tasks: BTreeMap<_, _> = Task::ALL.into_iter().filter_map(told).collect();
        ChainInfo { archetype: archetype.to_owned(), generic: tasks.is_empty(), tasks, services: None }
    }
}

/// Where an NPC stands among all of them, evenly spread over 0..1: the same on every server and in every version.
fn place(npc: &str) -> f32 {
    let digest = Sha256::digest(npc.as_bytes());
    // As many bits as the number has.
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 8;
    bits as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_npcs_is_that_share_and_grows_by_whom_it_had() {
        let below = |share: f32| -> Vec<String> {
            (0..20_000).map(|n| format!("npc-{n}")).filter(|npc| place(npc) < share).collect()
        };
        let tenth = below(0.1);
        // Four standard deviations of a fair draw.
        assert!((1830..=2170).contains(&tenth.len()), "{}", tenth.len());
        let third = below(0.33);
        assert!(tenth.iter().all(|npc| third.contains(npc)));
        assert!((0.0..1.0).contains(&place("")));
    }
}
