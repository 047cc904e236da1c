//! Packs that are dropped into the folder while the server runs.

use std::sync::Arc;
use std::time::Duration;

use super::{Archetype, Chain, ChainError, Chains, Changing, now_ms};
use crate::archetype::{Pack, check_name, pack_names, read_pack, read_versions};
use crate::face::Look;

/// Archetypes of a server.
const MOST: usize = 256;

impl Chains {
    /// An archetype; if it is not known, its pack is looked for.
    ///
    /// # Errors
    /// [`ChainError::Pack`], [`ChainError::Look`] if there is one and it cannot be used, [`ChainError::TooManyPacks`].
    pub async fn find(&self, name: &str) -> Result<Option<Arc<Archetype>>, ChainError> {
        if let Some(known) = self.get(name) {
            return Ok(Some(known));
        }
        if self.setup.folder.is_none() {
            return Ok(None);
        }
        let found = self.add(name).await;
        match &found {
            Err(error) => self.refuse(name, error),
            Ok(_) => drop(self.refused.lock().remove(name)),
        }
        found
    }

    /// Looks through the folder: takes up packs that are new, and versions that are new of those that are known. What is
    /// wrong with one is logged, and changes nothing of the others.
    pub async fn rescan(&self) {
        let Some(folder) = self.setup.folder.clone() else { return };
        let looked = folder.clone();
        let names = match tokio::task::spawn_blocking(move || pack_names(&looked)).await {
            Ok(Ok(names)) => names,
            Ok(Err(error)) => return self.refuse("", &error.into()),
            Err(error) => return self.refuse("", &error.into()),
        };
        self.refused.lock().retain(|name, _| names.contains(name));
        for name in names {
            if let Err(error) = check_name(&folder, &name) {
                let archetype = name.clone();
                self.refuse(&name, &ChainError::Pack { archetype, error });
                continue;
            }
            match self.get(&name) {
                Some(known) => match self.refresh(&known).await {
                    Err(error) => self.refuse(&name, &error),
                    Ok(()) => drop(self.refused.lock().remove(&name)),
                },
                None => drop(self.find(&name).await),
            }
        }
        self.sweep(&mut *self.changing.lock().await);
        self.forget_files();
    }

    /// Looks through the folder again and again. Runs for as long as the server.
    pub async fn watch(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.rescan().await;
        }
    }

    async fn add(&self, name: &str) -> Result<Option<Arc<Archetype>>, ChainError> {
        let Some(folder) = self.setup.folder.clone() else { return Ok(None) };
        let mut changing = self.changing.lock().await;
        if let Some(known) = self.get(name) {
            return Ok(Some(known));
        }
        let wanted = name.to_owned();
        let pack = tokio::task::spawn_blocking(move || read_pack(&folder, &wanted)).await?;
        let pack = pack.map_err(|error| ChainError::Pack { archetype: name.to_owned(), error })?;
        let Some(pack) = pack else { return Ok(None) };
        if self.archetypes.read().len() >= MOST {
            return Err(ChainError::TooManyPacks { limit: MOST });
        }
        self.check_look(&pack)?;
        let archetype = Arc::new(self.assemble(&mut changing, Arc::new(pack)).await);
        tracing::info!(archetype = name, adapters = archetype.chain().links.len(), "a pack was found");
        self.archetypes.write().insert(name.to_owned(), Arc::clone(&archetype));
        self.changed.notify_one();
        Ok(Some(archetype))
    }

    /// Looks which versions there are of an archetype's adapters.
    ///
    /// # Errors
    /// [`ChainError::Pack`]: what was known of them stays.
    pub(super) async fn refresh(&self, archetype: &Archetype) -> Result<(), ChainError> {
        let Some(folder) = self.setup.folder.clone() else { return Ok(()) };
        let pack = Arc::clone(&archetype.pack);
        let versions = tokio::task::spawn_blocking(move || read_versions(&folder, &pack)).await?;
        let name = &archetype.pack.name;
        let versions = versions.map_err(|error| ChainError::Pack { archetype: name.clone(), error })?;
        *archetype.versions.write() = Arc::new(versions);
        Ok(())
    }

    /// Whether there is everything that a pack's face names.
    pub(super) fn check_look(&self, pack: &Pack) -> Result<(), ChainError> {
        let look = Look::new(&self.tables, &pack.face);
        look.map(drop).map_err(|error| ChainError::Look { archetype: pack.name.clone(), error })
    }

    /// Tells what is wrong with a pack, once.
    fn refuse(&self, name: &str, error: &ChainError) {
        let reason = error.to_string();
        let told = self.refused.lock().insert(name.to_owned(), reason.clone());
        if told.as_ref() != Some(&reason) {
            tracing::error!(pack = name, error = reason, "a pack in the folder cannot be used");
        }
    }

    /// An archetype with the adapters that are to be used, as far as they can be loaded.
    pub(super) async fn assemble(&self, changing: &mut Changing, pack: Arc<Pack>) -> Archetype {
        let mut chain = Chain { since_ms: now_ms(), ..Chain::default() };
        if self.setup.engine.is_some() {
            for (task, versions) in &pack.versions {
                let link = self.first_link(changing, &pack, *task, versions).await;
                if link.promoted.is_some() || link.canary.is_some() {
                    chain.links.insert(*task, link);
                }
            }
        }
        let (bytes, memory) = (chain.spoken_bytes(), self.setup.memory);
        if bytes > memory {
            tracing::error!(
                archetype = pack.name,
                bytes,
                memory,
                "the adapters of a line left out: together they take more than engine.adapter_memory_mb allows"
            );
            chain.links.retain(|task, _| !crate::archetype::Task::SPOKEN.contains(task));
        }
        Archetype::new(pack, chain)
    }
}
