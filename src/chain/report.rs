//! Chains as operators, other servers and the console see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{Archetype, Chains, Version};
use crate::archetype::{Metrics, PackAdapter, Task, VersionFiles};
use crate::wire::ChainServices;

/// Whether a version is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdapterState)]
pub enum InUse {
    /// By all NPCs, but for those with a version on trial.
    Promoted,
    /// By a share of them.
    Canary,
    /// Not, but it can be promoted.
    Available,
    /// Not, for it fails its checks.
    Refused,
}

/// A version of an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Adapter)]
pub struct AdapterReport {
    pub id: String,
    pub archetype: String,
    pub task: Task,
    pub version: String,
    pub state: InUse,
    /// Of the NPCs that use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f32>,
    /// `pack.toml` wants this version, and no other is promoted.
    pub pinned: bool,
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// Of the weights' file.
    pub bytes: u64,
    /// In memory, as the decoder holds them; absent: the engine does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// When it was checked and loaded, in milliseconds since 1970, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_ms: Option<u64>,
    /// The largest of any projection.
    pub rank: u64,
    pub targets: Vec<String>,
    pub trained_on: Option<String>,
    pub metrics: Option<Metrics>,
    /// Of the weights' file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The adapter of one task as it is in use.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = TaskInUse)]
pub struct TaskReport {
    pub adapter: String,
    /// Absent: only a version on trial is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReport>,
}

/// A version on trial, with a share of the NPCs.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Canary)]
pub struct CanaryReport {
    pub version: String,
    pub share: f32,
}

/// The chain of an archetype on this server.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Chain)]
pub struct ChainReport {
    /// The archetype.
    pub name: String,
    pub title: String,
    /// No adapter is in use: the base model answers.
    pub generic: bool,
    pub tasks: BTreeMap<Task, TaskReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ChainServices>,
    /// The server that hosts it.
    pub server: String,
    /// Bytes of its adapters, as the decoder holds them when they are in memory.
    pub memory_bytes: u64,
    /// When the server began, and when the chain was made as it is; milliseconds since 1970, UTC.
    pub started_ms: u64,
    pub since_ms: u64,
    /// What is in use of it.
    pub adapters: Vec<AdapterReport>,
}

/// A chain that some server hosts, as it was published.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = HostedChain)]
pub struct Hosted {
    pub server: String,
    pub chain: serde_json::Value,
}

/// What the files of a version said, and whether they are still the same.
#[derive(Debug, Clone)]
pub(super) struct Described {
    stamp: Vec<Option<(u64, SystemTime)>>,
    files: Result<VersionFiles, String>,
}

impl Chains {
    /// The versions of all adapters of an archetype, or of all archetypes. Reads the files of those that have changed.
    pub async fn adapters(&self, archetype: Option<&str>) -> Vec<AdapterReport> {
        let archetypes = match archetype {
            Some(name) => self.get(name).into_iter().collect(),
            None => self.all(),
        };
        let mut reports = Vec::new();
        for archetype in archetypes {
            reports.extend(self.of_archetype(&archetype).await);
        }
        reports
    }

    async fn of_archetype(&self, archetype: &Arc<Archetype>) -> Vec<AdapterReport> {
        let (chain, versions) = (archetype.chain(), archetype.versions());
        let mut reports = Vec::new();
        for (task, numbers) in versions.iter() {
            let link = chain.links.get(task);
            for (number, adapter) in numbers {
                let is = |version: &&Arc<Version>| version.number == *number;
                let promoted = link.and_then(|link| link.promoted.as_ref()).filter(is);
                let canary = link.and_then(|link| link.canary.as_ref()).filter(|canary| is(&&canary.version));
                let share = canary.map(|canary| canary.share);
                let state = match (promoted, canary) {
                    (Some(_), _) => InUse::Promoted,
                    (None, Some(_)) => InUse::Canary,
                    (None, None) => InUse::Available,
                };
                let pinned = archetype.pack.pinned(*task) == Some(*number);
                let name = &archetype.pack.name;
                let report = if let Some(version) = promoted.or(canary.map(|canary| &canary.version)) {
                    used(version, name, state)
                } else {
                    unused(adapter, name, self.describe(adapter).await)
                };
                reports.push(AdapterReport { share, pinned, ..report });
            }
        }
        reports
    }

    /// The chain of an archetype as it is now; `None`: it is not known.
    pub fn report(&self, name: &str) -> Option<ChainReport> {
        self.get(name).map(|archetype| self.chain_report(&archetype))
    }

    /// All chains.
    pub fn reports(&self) -> Vec<ChainReport> {
        self.all().iter().map(|archetype| self.chain_report(archetype)).collect()
    }

    fn chain_report(&self, archetype: &Archetype) -> ChainReport {
        let (chain, pack) = (archetype.chain(), &archetype.pack);
        let mut tasks = BTreeMap::new();
        let mut adapters = Vec::new();
        for (task, link) in &chain.links {
            let canary = link.canary.as_ref().map(|canary| CanaryReport {
                version: canary.version.adapter.version.clone(),
                share: canary.share,
            });
            let version = link.promoted.as_ref().map(|version| version.adapter.version.clone());
            tasks.insert(*task, TaskReport { adapter: format!("{}.{task}", pack.name), version, canary });
            let pinned = pack.pinned(*task).is_some();
            adapters.extend(
                link.promoted
                    .iter()
                    .map(|version| AdapterReport { pinned, ..used(version, &pack.name, InUse::Promoted) }),
            );
            adapters.extend(link.canary.iter().map(|canary| AdapterReport {
                share: Some(canary.share),
                ..used(&canary.version, &pack.name, InUse::Canary)
            }));
        }
        ChainReport {
            name: pack.name.clone(),
            title: pack.title.clone(),
            generic: chain.links.is_empty(),
            tasks,
            services: pack.services.clone(),
            server: self.setup.server.clone(),
            memory_bytes: chain.bytes() as u64,
            started_ms: self.started_ms,
            since_ms: chain.since_ms,
            adapters,
        }
    }

    /// What the files of a version say; they are read again when they have changed.
    async fn describe(&self, adapter: &PackAdapter) -> Result<VersionFiles, String> {
        let dir = adapter.dir.clone();
        let known = self.described.lock().get(&dir).cloned();
        let adapter = adapter.clone();
        let read = move || {
            let stamp = stamp(&adapter.dir);
            match known {
                Some(known) if known.stamp == stamp => known,
                _ => Described { stamp, files: VersionFiles::read(&adapter) },
            }
        };
        let described = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
        self.described.lock().insert(dir, described.clone());
        described.files
    }

    /// Forgets what the files said of versions that are gone.
    pub(super) fn forget_files(&self) {
        let archetypes = self.all();
        let versions: Vec<_> = archetypes.iter().map(|archetype| archetype.versions()).collect();
        let there: BTreeSet<&Path> = versions
            .iter()
            .flat_map(|versions| versions.values().flat_map(BTreeMap::values))
            .map(|adapter| adapter.dir.as_path())
            .collect();
        self.described.lock().retain(|dir, _| there.contains(dir.as_path()));
    }
}

/// Sizes and times of a version's files.
fn stamp(dir: &Path) -> Vec<Option<(u64, SystemTime)>> {
    let of = |name: &str| {
        let meta = fs::metadata(dir.join(name)).ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    ["adapter_config.json", "adapter_model.safetensors", "metrics.json"].map(of).into()
}

fn used(version: &Version, archetype: &str, state: InUse) -> AdapterReport {
    let Version { adapter, info, files, loaded_ms, .. } = version;
    AdapterReport {
        memory_bytes: Some(info.bytes as u64),
        loaded_ms: Some(*loaded_ms),
        rank: info.rank as u64,
        targets: info.targets.clone(),
        state,
        ..unused(adapter, archetype, Ok(files.clone()))
    }
}

fn unused(adapter: &PackAdapter, archetype: &str, files: Result<VersionFiles, String>) -> AdapterReport {
    let report = AdapterReport {
        id: adapter.id.clone(),
        archetype: archetype.to_owned(),
        task: adapter.task,
        version: adapter.version.clone(),
        state: InUse::Available,
        share: None,
        pinned: false,
        path: adapter.dir.clone(),
        bytes: 0,
        memory_bytes: None,
        loaded_ms: None,
        rank: 0,
        targets: Vec::new(),
        trained_on: None,
        metrics: None,
        sha256: None,
        error: None,
    };
    match files {
        Ok(files) => {
            let error = files.metrics.as_ref().and_then(Metrics::worse);
            AdapterReport {
                state: if error.is_some() { InUse::Refused } else { InUse::Available },
                bytes: files.bytes,
                rank: files.rank,
                targets: files.targets,
                trained_on: files.trained_on,
                metrics: files.metrics,
                sha256: Some(files.sha256),
                error,
                ..report
            }
        }
        Err(error) => AdapterReport { state: InUse::Refused, error: Some(error), ..report },
    }
}
