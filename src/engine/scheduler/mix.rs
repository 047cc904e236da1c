//! The adapters of a request, from its arrival until they are in memory.

use std::sync::Arc;

use crate::engine::adapter::{Adapter, Lease, Version};
use crate::engine::decoder::ResolvedMix;

/// What keys and values depend on besides the tokens: every adapter's version and the bits of its weight, in their
/// order. An adapter that left memory and came back has its version still; one that was loaded anew has another.
pub type MixKey = Arc<[(Version, u32)]>;

/// See the module's documentation.
#[derive(Debug)]
pub struct JobMix {
    key: MixKey,
    /// `None` while one of them is not in memory.
    resolved: Option<Arc<ResolvedMix>>,
    /// Keeps them in memory.
    lease: Option<Lease>,
}

impl Default for JobMix {
    /// The base model alone.
    fn default() -> Self {
        Self { key: MixKey::default(), resolved: Some(Arc::default()), lease: None }
    }
}

impl JobMix {
    /// Adapters with their weights; none of them is at hand yet.
    pub fn new(adapters: &[(Version, f32)], lease: Option<Lease>) -> Self {
        let key = adapters.iter().map(|(version, weight)| (*version, weight.to_bits())).collect();
        let resolved = adapters.is_empty().then(Arc::default);
        Self { key, resolved, lease }
    }

    pub fn key(&self) -> &MixKey {
        &self.key
    }

    /// The adapters, once all of them are in memory.
    pub fn resolved(&self) -> Option<&Arc<ResolvedMix>> {
        self.resolved.as_ref()
    }

    /// The request has its answer and computes nothing more: others may have the memory.
    pub fn end_lease(&mut self) {
        self.lease = None;
    }

    pub fn names(&self, version: Version) -> bool {
        self.key.iter().any(|(own, _)| *own == version)
    }

    /// Takes the adapters that are in memory. An error is the first that is not.
    pub fn resolve(&mut self, find: &dyn Fn(Version) -> Option<Arc<Adapter>>) -> Result<(), Version> {
        if self.resolved.is_none() {
            let with = |(version, weight): &(Version, u32)| {
                find(*version).map(|adapter| (adapter, f32::from_bits(*weight))).ok_or(*version)
            };
            let adapters: ResolvedMix = self.key.iter().map(with).collect::<Result<_, _>>()?;
            self.resolved = Some(Arc::new(adapters));
        }
        Ok(())
    }
}
