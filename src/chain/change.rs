//! Versions come into use and go out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{OnTrial, Promoted, State};
use super::{Archetype, Canary, Chain, ChainError, Chains, Changing, Link, Version, now_ms};
use crate::archetype::{Metrics, Pack, PackAdapter, Task, VersionFiles, read_version};
use crate::engine::{AdapterInfo, EngineError};

/// What is wanted of versions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    /// By all NPCs.
    Promote,
    /// By a share of them.
    Try(f32),
}

impl Chains {
    /// Checks a version and makes it known to the engine; nobody uses it yet. It is let go of when others are promoted
    /// and it still is not.
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

    /// Lets every turn that begins from now on use a version. Turns that run go on with what they began with. When this
    /// returns it is on the disk.
    ///
    /// # Errors
    /// [`ChainError`]: there is no such version, it fails its checks, or it cannot be kept. Nothing has changed then.
    pub async fn promote(&self, archetype: &str, task: Task, version: u32) -> Result<(), ChainError> {
        self.put(archetype, &BTreeMap::from([(task, version)]), Use::Promote).await
    }

    /// The same with several tasks: turns use all of them or none.
    ///
    /// # Errors
    /// As [`Self::promote`].
    pub async fn promote_all(
        &self,
        archetype: &str,
        versions: &BTreeMap<Task, u32>,
    ) -> Result<(), ChainError> {
        self.put(archetype, versions, Use::Promote).await
    }

    /// Lets a share of the NPCs use a version, always the same ones; 1 promotes it, 0 ends the trial.
    ///
    /// # Errors
    /// As [`Self::promote`].
    pub async fn canary(
        &self,
        archetype: &str,
        task: Task,
        version: u32,
        share: f32,
    ) -> Result<(), ChainError> {
        let wanted = if share < 1.0 { Use::Try(share.max(0.0)) } else { Use::Promote };
        self.put(archetype, &BTreeMap::from([(task, version)]), wanted).await
    }

    async fn put(
        &self,
        archetype: &str,
        versions: &BTreeMap<Task, u32>,
        wanted: Use,
    ) -> Result<(), ChainError> {
        if self.setup.engine.is_none() {
            return Err(ChainError::Scripted);
        }
        let archetype = self.known(archetype)?;
        let pack = &archetype.pack;
        for (task, version) in versions {
            if let Some(pinned) = pack.pinned(*task).filter(|pinned| pinned != version) {
                return Err(ChainError::Pinned {
                    archetype: pack.name.clone(),
                    task: *task,
                    version: pinned,
                });
            }
        }
        // A version that has come since the folder was looked through.
        self.refresh(&archetype).await?;
        let mut changing = self.changing.lock().await;
        let result = self.put_versions(&mut changing, &archetype, versions, wanted).await;
        self.sweep(&mut changing);
        result
    }

    async fn put_versions(
        &self,
        changing: &mut Changing,
        archetype: &Archetype,
        versions: &BTreeMap<Task, u32>,
        wanted: Use,
    ) -> Result<(), ChainError> {
        let name = &archetype.pack.name;
        let mut chain = Chain::clone(&archetype.chain());
        let mut state = changing.state.clone();
        for (task, number) in versions {
            let adapter = self.version(archetype, *task, *number).await?;
            let pinned = archetype.pack.pinned(*task).is_some();
            let version = self.loaded(changing, &adapter, *number, pinned).await?;
            let link = chain.links.entry(*task).or_default();
            let now = link.number();
            let kept = promoted(&mut state, name, *task, now);
            match wanted {
                Use::Promote => {
                    kept.follow(*number, now);
                    *link = Link { promoted: Some(version), canary: None };
                }
                Use::Try(share) => {
                    let on_trial = share > 0.0 && now != Some(*number);
                    kept.canary = on_trial.then_some(OnTrial { version: *number, share });
                    link.canary = on_trial.then_some(Canary { version, share });
                }
            }
        }
        self.put_chain(changing, archetype, chain, state).await?;
        for (task, version) in versions {
            tracing::info!(archetype = name, %task, version, ?wanted, "a version is used from now on");
        }
        Ok(())
    }

    /// Ends the trial of a version, or goes back to the version that was promoted before. What turns began with stays
    /// theirs.
    ///
    /// # Errors
    /// [`ChainError::NothingBefore`], or as [`Self::promote`]: the version before may be gone.
    pub async fn rollback(&self, archetype: &str, task: Task) -> Result<(), ChainError> {
        self.rollback_all(archetype, &[task]).await
    }

    /// The same with several tasks: turns see all of them go back or none.
    ///
    /// # Errors
    /// As [`Self::rollback`]: none has gone back then.
    pub async fn rollback_all(&self, archetype: &str, tasks: &[Task]) -> Result<(), ChainError> {
        if self.setup.engine.is_none() {
            return Err(ChainError::Scripted);
        }
        let archetype = self.known(archetype)?;
        self.refresh(&archetype).await?;
        let mut changing = self.changing.lock().await;
        let result = self.back(&mut changing, &archetype, tasks).await;
        self.sweep(&mut changing);
        result
    }

    async fn back(
        &self,
        changing: &mut Changing,
        archetype: &Archetype,
        tasks: &[Task],
    ) -> Result<(), ChainError> {
        let name = &archetype.pack.name;
        let mut chain = Chain::clone(&archetype.chain());
        let mut state = changing.state.clone();
        for &task in tasks {
            let nothing = || ChainError::NothingBefore { archetype: name.clone(), task };
            if let Some(version) = archetype.pack.pinned(task) {
                return Err(ChainError::Pinned { archetype: name.clone(), task, version });
            }
            let link = chain.links.get_mut(&task).ok_or_else(nothing)?;
            let kept = promoted(&mut state, name, task, link.number());
            if link.canary.take().is_some() {
                kept.canary = None;
            } else {
                let before = kept.earlier.pop().ok_or_else(nothing)?;
                let adapter = self.version(archetype, task, before).await?;
                link.promoted = Some(self.loaded(changing, &adapter, before, false).await?);
                kept.version = Some(before);
            }
        }
        let now: Vec<_> =
            tasks.iter().map(|task| (*task, chain.links.get(task).and_then(Link::number))).collect();
        self.put_chain(changing, archetype, chain, state).await?;
        tracing::info!(archetype = name, ?now, "versions were taken back");
        Ok(())
    }

    /// Keeps what is promoted, then lets turns see it.
    async fn put_chain(
        &self,
        changing: &mut Changing,
        archetype: &Archetype,
        mut chain: Chain,
        state: State,
    ) -> Result<(), ChainError> {
        let (bytes, memory) = (chain.spoken_bytes(), self.setup.memory);
        if bytes > memory {
            return Err(ChainError::TooLarge { archetype: archetype.pack.name.clone(), bytes, memory });
        }
        if let Some(store) = self.store.clone() {
            let written = state.clone();
            tokio::task::spawn_blocking(move || store.write(&written)).await??;
        }
        changing.state = state;
        chain.links.retain(|_, link| link.promoted.is_some() || link.canary.is_some());
        chain.since_ms = now_ms();
        *archetype.chain.write() = Arc::new(chain);
        self.changed.notify_one();
        Ok(())
    }

    fn known(&self, archetype: &str) -> Result<Arc<Archetype>, ChainError> {
        self.get(archetype).ok_or_else(|| ChainError::UnknownArchetype { archetype: archetype.to_owned() })
    }

    /// A version as it lies in the folder.
    async fn version(
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
    async fn loaded(
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
        if pack.pinned(task).is_none() {
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

/// What is kept of a task's adapter; as long as nothing was promoted, that is the version in use.
fn promoted<'a>(state: &'a mut State, archetype: &str, task: Task, now: Option<u32>) -> &'a mut Promoted {
    let tasks = state.entry(archetype.to_owned()).or_default();
    tasks.entry(task).or_insert_with(|| Promoted { version: now, earlier: Vec::new(), canary: None })
}
