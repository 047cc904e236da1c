//! Versions that the engine knows: checked, loaded, and let go of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::OnTrial;
use super::{Archetype, Canary, ChainError, Chains, Changing, Link, Version, now_ms};
use crate::archetype::{Metrics, Pack, PackAdapter, Task, VersionFiles, read_version};
use crate::engine::{AdapterInfo, EngineError};

impl Chains {
    /// Checks a version and makes it known to the engine; nobody uses it yet. It is let go of again if nothing
    /// uses it when others are promoted or the folder is looked through.
    ///
    /// # Errors
    /// [`ChainError`]: there is no such version, or it fails its checks.
    pub async fn load(&self, archetype: &str, task: Task, version: u32) -> Result<AdapterInfo, ChainError> {
        let archetype = self.known(archetype)?;
        self.refresh(&archetype).await?;
        let adapter = self.version(&archetype, task, version).await?;
        let mut changing = self.changing.lock().await;
        Ok(self.loaded(&mut changing, &adapter, version, false).await?.info.clone())
    }

    pub(super) fn known(&self, archetype: &str) -> Result<Arc<Archetype>, ChainError> {
        self.get(archetype).ok_or_else(|| ChainError::UnknownArchetype { archetype: archetype.to_owned() })
    }

    /// A version as it lies in the folder.
    pub(super) async fn version(
        &self,
        archetype: &Archetype,
        task: Task,
        number: u32,
    ) -> Result<PackAdapter, ChainError> {
        let pack = Arc::clone(&archetype.pack);
        let found = match self.setup.folder.clone() {
            Some(folder) => {
                let read = move || read_version(&folder, &pack, task, number);
                tokio::task::spawn_blocking(read).await?
            }
            None => Ok(None),
        };
        let name = &archetype.pack.name;
        match found {
            Ok(Some(adapter)) => Ok(adapter),
            Ok(None) => {
                let versions = archetype.versions();
                let numbers = versions.get(&task).into_iter().flat_map(BTreeMap::keys);
                let mut there = numbers.map(|number| format!("v{number}")).collect::<Vec<_>>().join(", ");
                if there.is_empty() {
                    there.push_str("none");
                }
                Err(ChainError::UnknownVersion { archetype: name.clone(), task, version: number, there })
            }
            Err(error) => {
                let key = format!("{name}.{task}@v{number}");
                Err(ChainError::Bad { key, reason: error.to_string() })
            }
        }
    }

    /// A version that the engine knows, and that has passed its checks. What a pack pins need not be better than nothing.
    pub(super) async fn loaded(
        &self,
        changing: &mut Changing,
        adapter: &PackAdapter,
        number: u32,
        pinned: bool,
    ) -> Result<Arc<Version>, ChainError> {
        let engine = self.setup.engine.as_ref().ok_or(ChainError::Scripted)?;
        let key: Arc<str> = Arc::from(adapter.key());
        if let Some(known) = changing.loaded.get(&key) {
            return Ok(Arc::clone(known));
        }
        let bad = |reason: String| ChainError::Bad { key: key.to_string(), reason };
        let described = adapter.clone();
        let files =
            tokio::task::spawn_blocking(move || VersionFiles::read(&described)).await?.map_err(bad)?;
        if let Some(reason) = files.metrics.as_ref().and_then(Metrics::worse) {
            if !pinned {
                return Err(ChainError::Worse { key: key.to_string(), reason });
            }
            tracing::warn!(adapter = %key, reason, "worse than no adapter, but its pack wants it");
        }
        let info = engine.load_adapter(&key, &adapter.dir).await.map_err(|error| match error {
            EngineError::BadAdapter { reason, .. } => ChainError::Bad { key: key.to_string(), reason },
            error => ChainError::Engine(error),
        })?;
        tracing::info!(adapter = %key, rank = info.rank, bytes = info.bytes, "adapter loaded");
        let version = Version {
            adapter: adapter.clone(),
            number,
            key: Arc::clone(&key),
            info,
            files,
            loaded_ms: now_ms(),
        };
        let version = Arc::new(version);
        changing.loaded.insert(key, Arc::clone(&version));
        Ok(version)
    }

    /// Lets go of the versions that nobody can use any more: no chain has them, no turn that runs began with them, and no
    /// rollback leads to them.
    pub(super) fn sweep(&self, changing: &mut Changing) {
        let Some(engine) = &self.setup.engine else { return };
        let Changing { state, loaded } = changing;
        let before = |version: &Version| {
            let (archetype, _) = version.adapter.id.split_once('.')?;
            state.get(archetype)?.get(&version.adapter.task)?.earlier.last().copied()
        };
        // Beside the one in this map there are those of chains, and of the turns that hold one.
        loaded.retain(|key, version| {
            if Arc::strong_count(version) > 1 || before(version) == Some(version.number) {
                return true;
            }
            match engine.drop_adapter(key) {
                Ok(()) => tracing::debug!(adapter = %key, "adapter let go"),
                Err(error) => tracing::warn!(adapter = %key, %error, "an adapter could not be let go"),
            }
            false
        });
    }

    /// What a task of an archetype begins with: what was promoted, and what is on trial, as far as that can be loaded.
    pub(super) async fn first_link(
        &self,
        changing: &mut Changing,
        pack: &Pack,
        task: Task,
        versions: &BTreeMap<u32, PackAdapter>,
    ) -> Link {
        let kept = changing.state.get(&pack.name).and_then(|tasks| tasks.get(&task)).cloned();
        let mut wanted = Vec::new();
        match (pack.pinned(task), &kept) {
            (Some(pinned), _) => wanted.push(pinned),
            (None, Some(kept)) => {
                wanted.extend(kept.version);
                wanted.extend(kept.earlier.iter().rev());
            }
            (None, None) => {}
        }
        let mut link = Link::default();
        // Where nothing but a trial was begun, it does not become everybody's.
        let trial_alone = kept.as_ref().is_some_and(|kept| kept.version.is_none() && kept.earlier.is_empty());
        if pack.pinned(task).is_none() && !trial_alone {
            wanted.extend(versions.keys().rev());
        }
        let mut tried = Vec::new();
        for number in wanted {
            if tried.contains(&number) {
                continue;
            }
            tried.push(number);
            let key = format!("{}.{task}@v{number}", pack.name);
            let Some(adapter) = versions.get(&number) else {
                tracing::error!(adapter = key, "a version that was promoted is gone");
                continue;
            };
            match self.loaded(changing, adapter, number, pack.pinned(task).is_some()).await {
                Ok(version) => {
                    link.promoted = Some(version);
                    break;
                }
                Err(error) => tracing::error!(adapter = key, %error, "adapter left out"),
            }
        }
        if let Some(OnTrial { version: number, share }) = kept.and_then(|kept| kept.canary)
            && pack.pinned(task).is_none()
            && let Some(adapter) = versions.get(&number)
        {
            match self.loaded(changing, adapter, number, false).await {
                Ok(version) => link.canary = Some(Canary { version, share }),
                Err(error) => tracing::error!(adapter = adapter.key(), %error, "a trial has ended"),
            }
        }
        link
    }
}
