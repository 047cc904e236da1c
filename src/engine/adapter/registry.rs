//! Which adapters requests may name, and which of them are in memory; shared by the handles, the engine's thread and
//! the one that reads adapters.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::pool::{Full, Pool, Version, Wanted};
use super::{Adapter, AdapterInfo};
use crate::engine::EngineError;

/// An adapter that was checked once, and the digest of its files as they were then.
#[derive(Debug)]
pub struct Registered {
    pub info: AdapterInfo,
    pub version: Version,
    digest: u64,
}

/// See the module's documentation. Every lock is held for a moment only.
#[derive(Debug)]
pub struct Registry {
    state: Mutex<State>,
    /// Something may be read now, or the engine ends.
    readable: Condvar,
    /// Adapters read from disk because a request named them.
    reads: AtomicU64,
    /// Adapters that may be registered.
    limit: usize,
}

#[derive(Debug)]
struct State {
    registered: HashMap<Arc<str>, Arc<Registered>>,
    /// Ids that are being checked, so that two of one id cannot race.
    checking: Vec<Arc<str>>,
    pool: Pool<Arc<Registered>>,
    /// Why an adapter did not come back, until nobody waits for it.
    errors: HashMap<Version, EngineError>,
    closed: bool,
}

/// The adapters of a request: they stay in memory as long as it lives.
#[derive(Debug)]
pub struct Lease {
    registry: Arc<Registry>,
    versions: Vec<Version>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.registry.state.lock().pool.unpin(&self.versions);
    }
}

impl Registry {
    /// `budget` in bytes.
    pub fn new(limit: usize, budget: usize) -> Self {
        let state = State {
            registered: HashMap::new(),
            checking: Vec::new(),
            pool: Pool::new(budget),
            errors: HashMap::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), readable: Condvar::new(), reads: AtomicU64::new(0), limit }
    }

    /// Takes an id before its files are read.
    pub fn reserve(&self, id: &Arc<str>, dir: &Path) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        let refuse = |reason| Err(EngineError::BadAdapter { path: dir.to_owned(), reason });
        if state.registered.contains_key(id) || state.checking.contains(id) {
            return refuse(format!("an adapter {id:?} is already loaded"));
        }
        if state.registered.len() + state.checking.len() >= self.limit {
            let limit = self.limit;
            return refuse(format!("{limit} adapters are loaded, as many as engine.max_adapters allows"));
        }
        state.checking.push(Arc::clone(id));
        Ok(())
    }

    /// Gives back what [`Self::reserve`] took.
    pub fn unreserve(&self, id: &str) {
        self.state.lock().checking.retain(|checking| &**checking != id);
    }

    /// Registers an adapter whose id was reserved. Tells whether it may stay in memory: there is room for it that
    /// nobody else has.
    pub fn register(&self, adapter: &Adapter) -> Result<bool, EngineError> {
        let mut state = self.state.lock();
        let (bytes, budget) = (adapter.info.bytes, state.pool.budget());
        if bytes > budget {
            return Err(EngineError::BadAdapter {
                path: adapter.info.path.clone(),
                reason: format!("it takes {bytes} bytes, but engine.adapter_memory_mb allows {budget}"),
            });
        }
        let id = Arc::clone(&adapter.info.id);
        let registered = Arc::new(Registered {
            info: adapter.info.clone(),
            version: adapter.version,
            digest: adapter.digest,
        });
        state.checking.retain(|checking| *checking != id);
        state.registered.insert(id, Arc::clone(&registered));
        Ok(state.pool.take_free(Wanted { version: adapter.version, bytes, source: registered }))
    }

    /// Lets nobody name an adapter any more; `None` if nobody could.
    pub fn unregister(&self, id: &str) -> Option<Version> {
        let mut state = self.state.lock();
        let version = state.registered.remove(id)?.version;
        state.pool.drop_version(version);
        Some(version)
    }

    /// Whether requests may name it.
    pub fn has(&self, id: &str) -> bool {
        self.state.lock().registered.contains_key(id)
    }

    /// By id.
    pub fn list(&self) -> Vec<AdapterInfo> {
        let mut list: Vec<_> = self.state.lock().registered.values().map(|r| r.info.clone()).collect();
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// Adapters that requests may name; those in memory; their bytes; and how often one was read for a request.
    pub fn counts(&self) -> (usize, usize, usize, u64) {
        let state = self.state.lock();
        let (registered, resident, held) = (state.registered.len(), state.pool.resident(), state.pool.held());
        (registered, resident, held, self.reads.load(Ordering::Relaxed))
    }

    /// Pins the adapters of a mix: they stay in memory, or will be read, until the lease is dropped. Returns their
    /// versions too, in the order of `ids`.
    ///
    /// # Errors
    /// [`EngineError::UnknownAdapter`]; [`EngineError::BadRequest`] if they are larger than the memory together;
    /// `overloaded` if others that are in use leave no room.
    pub fn lease<'a>(
        self: &Arc<Self>,
        ids: impl Iterator<Item = &'a str>,
        overloaded: impl FnOnce() -> EngineError,
    ) -> Result<(Lease, Vec<Version>), EngineError> {
        let mut state = self.state.lock();
        let mut wanted = Vec::new();
        for id in ids {
            let found = state.registered.get(id);
            let found = found.ok_or_else(|| EngineError::UnknownAdapter(id.to_owned()))?;
            let (version, bytes) = (found.version, found.info.bytes);
            wanted.push(Wanted { version, bytes, source: Arc::clone(found) });
        }
        let named: Vec<Version> = wanted.iter().map(|w| w.version).collect();
        wanted.sort_by_key(|w| w.version);
        wanted.dedup_by_key(|w| w.version);
        let (bytes, budget) = (wanted.iter().map(|w| w.bytes).sum::<usize>(), state.pool.budget());
        if bytes > budget {
            return Err(EngineError::BadRequest {
                field: "mix",
                value: format!("adapters of {bytes} bytes"),
                allowed: format!("at most {budget} bytes together (engine.adapter_memory_mb)"),
            });
        }
        if let Err(Full) = state.pool.acquire(&wanted) {
            drop(state);
            return Err(overloaded());
        }
        self.readable.notify_all();
        let versions = wanted.iter().map(|w| w.version).collect();
        Ok((Lease { registry: Arc::clone(self), versions }, named))
    }

    /// Waits for an adapter that is to be read; `None`: the engine ends.
    pub fn next_to_read(&self) -> Option<(Version, Arc<Registered>)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(found) = state.pool.next_to_read() {
                self.reads.fetch_add(1, Ordering::Relaxed);
                return Some(found);
            }
            self.readable.wait(&mut state);
        }
    }

    /// Nothing more is read.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.readable.notify_all();
    }

    pub fn arrived(&self, version: Version) {
        self.state.lock().pool.arrived(version);
    }

    pub fn failed(&self, version: Version, error: &EngineError) {
        let mut state = self.state.lock();
        state.pool.failed(version);
        let State { errors, pool, .. } = &mut *state;
        errors.insert(version, error.clone());
        errors.retain(|version, _| pool.knows(*version));
        self.readable.notify_all();
    }

    /// Why a request that waits for the adapter waits in vain; `None`: it does not.
    pub fn failure(&self, version: Version) -> Option<EngineError> {
        let state = self.state.lock();
        state.pool.has_failed(version).then(|| {
            let dropped = || EngineError::UnknownAdapter("that was dropped".into());
            state.errors.get(&version).cloned().unwrap_or_else(dropped)
        })
    }

    /// Whether it is in memory or on its way there.
    pub fn knows(&self, version: Version) -> bool {
        self.state.lock().pool.knows(version)
    }

    /// Lets go of every adapter whose memory is wanted: `release` drops the given ones, and then their memory is
    /// free. Held locked, so that no request can ask for one in between.
    pub fn let_go(&self, release: impl FnOnce(&[Version])) {
        let mut state = self.state.lock();
        let leaving = state.pool.leaving();
        if leaving.is_empty() {
            return;
        }
        release(&leaving);
        for version in leaving {
            state.pool.gone(version);
        }
        self.readable.notify_all();
    }
}

impl Registered {
    /// Whether the files are what they were when it was registered.
    pub fn check(&self, adapter: &Adapter) -> Result<(), EngineError> {
        if adapter.digest == self.digest {
            return Ok(());
        }
        Err(EngineError::BadAdapter {
            path: self.info.path.clone(),
            reason: format!("its files have changed since {:?} was loaded; load it anew", self.info.id),
        })
    }
}
