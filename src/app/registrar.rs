//! What was trained becomes what turns use.

use std::sync::Arc;

use crate::archetype::Task;
use crate::chain::Chains;
use crate::provision::{Answer, Registrar};

/// Has the registry of chains use it.
#[derive(Debug)]
pub(super) struct Registry(pub Arc<Chains>);

impl Registrar for Registry {
    fn load<'a>(&'a self, archetype: &'a str, task: Task, version: u32) -> Answer<'a> {
        Box::pin(async move {
            // The pack may be newer than the last look at the folder.
            self.0.find(archetype).await.map_err(|error| error.to_string())?;
            let loaded = self.0.load(archetype, task, version).await;
            loaded.map(drop).map_err(|error| error.to_string())
        })
    }

    fn promote<'a>(&'a self, archetype: &'a str, versions: &'a [(Task, u32)]) -> Answer<'a> {
        Box::pin(async move {
            let versions = versions.iter().copied().collect();
            self.0.promote_all(archetype, &versions).await.map_err(|error| error.to_string())
        })
    }
}
