//! Adapters from the handle's side: registered, named in mixes, dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::adapter::AdapterInfo;
use super::checks::bad;
use super::scheduler::JobMix;
use super::worker::Command;
use super::{Engine, EngineError, MAX_MIX, Mix, Weighted};

impl Engine {
    /// Checks a PEFT adapter and makes it usable in mixes under `id`. It stays in memory if there is room for it;
    /// otherwise, or when others need the room, the first request that names it reads it again: the folder must stay
    /// as it is until [`Self::drop_adapter`].
    ///
    /// # Errors
    /// [`EngineError::BadAdapter`], also if the id is taken, if there are as many as `engine.max_adapters` allows, or
    /// if it is larger than `engine.adapter_memory_mb` alone.
    pub async fn load_adapter(&self, id: &str, dir: &Path) -> Result<AdapterInfo, EngineError> {
        let id: Arc<str> = Arc::from(id);
        let engine = self.clone();
        let path = dir.to_owned();
        // A task of its own: a caller that goes away in the middle leaves nothing half-registered.
        let task = tokio::spawn(async move {
            engine.inner.registry.reserve(&id, &path)?;
            let result = engine.register(Arc::clone(&id), path).await;
            engine.inner.registry.unreserve(&id);
            result
        });
        task.await.unwrap_or_else(|error| {
            Err(EngineError::BadAdapter { path: dir.to_owned(), reason: error.to_string() })
        })
    }

    async fn register(&self, id: Arc<str>, dir: PathBuf) -> Result<AdapterInfo, EngineError> {
        let (reader, path, name) = (self.inner.reader.clone(), dir.clone(), Arc::clone(&id));
        let read = tokio::task::spawn_blocking(move || reader.read(&name, &path));
        let adapter = read
            .await
            .map_err(|error| EngineError::BadAdapter { path: dir.clone(), reason: error.to_string() })??;
        let info = adapter.info.clone();
        let version = adapter.version;
        if self.inner.registry.register(&adapter)? {
            let (reply, answer) = oneshot::channel();
            let added = match self.send(Command::Add(Arc::new(adapter), Some(reply))) {
                Ok(()) => answer.await.unwrap_or(Err(EngineError::Stopped)),
                Err(error) => Err(error),
            };
            if let Err(error) = added {
                self.inner.registry.failed(version, &error);
                self.inner.registry.unregister(&id);
                return Err(error);
            }
        }
        Ok(info)
    }

    /// Lets go of an adapter: new requests cannot name it, running ones finish with it.
    ///
    /// # Errors
    /// [`EngineError::UnknownAdapter`], [`EngineError::Stopped`].
    pub fn drop_adapter(&self, id: &str) -> Result<(), EngineError> {
        let version = self.inner.registry.unregister(id);
        let version = version.ok_or_else(|| EngineError::UnknownAdapter(id.to_owned()))?;
        match self.send(Command::Drop(version)) {
            // What is kept of it is only not forgotten at once: nothing can read it any more.
            Err(EngineError::Overloaded { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The adapters that mixes may name, by id.
    pub fn adapters(&self) -> Vec<AdapterInfo> {
        self.inner.registry.list()
    }

    /// Pins the adapters of a mix. Those that are not in memory are being read from here on.
    pub(super) fn job_mix(&self, mix: &Mix) -> Result<JobMix, EngineError> {
        if mix.len() > MAX_MIX {
            return Err(bad("mix", mix.len(), format!("at most {MAX_MIX} adapters")));
        }
        if let Some(Weighted { weight, .. }) = mix.iter().find(|weighted| !weighted.weight.is_finite()) {
            return Err(bad("mix", weight, "finite weights"));
        }
        // A weight of 0 adds nothing: the row is then the base model's, bit for bit.
        let (used, unused): (Vec<_>, Vec<_>) = mix.iter().partition(|weighted| weighted.weight != 0.0);
        if let Some(unknown) = unused.iter().find(|weighted| !self.inner.registry.has(&weighted.adapter)) {
            return Err(EngineError::UnknownAdapter(unknown.adapter.to_string()));
        }
        if used.is_empty() {
            return Ok(JobMix::default());
        }
        let ids = used.iter().map(|weighted| &*weighted.adapter);
        let (lease, versions) = self.inner.registry.lease(ids, || self.overloaded())?;
        let adapters: Vec<_> =
            versions.into_iter().zip(used.iter().map(|weighted| weighted.weight)).collect();
        Ok(JobMix::new(&adapters, Some(lease)))
    }
}
