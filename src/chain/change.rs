//! Versions come into use and go out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{OnTrial, Promoted, State};
use super::{Archetype, Canary, Chain, ChainError, Chains, Changing, Link, now_ms};
use crate::archetype::Task;

/// What is wanted of versions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    /// By all NPCs.
    Promote,
    /// By a share of them.
    Try(f32),
}

impl Chains {
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
}

/// What is kept of a task's adapter; as long as nothing was promoted, that is the version in use.
fn promoted<'a>(state: &'a mut State, archetype: &str, task: Task, now: Option<u32>) -> &'a mut Promoted {
    let tasks = state.entry(archetype.to_owned()).or_default();
    tasks.entry(task).or_insert_with(|| Promoted { version: now, earlier: Vec::new(), canary: None })
}
