//! From lines to adapters, while the server runs: requested → training → evaluating → loading → registered → available,
//! or rejected with the reason.
//!
//! One archetype is on its way at a time; others wait. Each step is on the disk before the next one begins
//! ([`state`], [`store`]), so a server that was killed goes on where it was. What trains is a child process
//! ([`trainer`]); what uses the adapters is behind a trait ([`Registrar`]).

mod child;
mod delivery;
mod fault;
mod limits;
mod pack;
mod place;
mod progress;
mod refusal;
mod registrar;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod trainer;
mod verdict;
mod worker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use child::settle;
pub use limits::Limits;
pub use progress::Progress;
pub use refusal::Refusal;
pub use registrar::{Answer, Registrar};
pub use state::{Cause, Record, State, TaskRecord};
pub use trainer::TrainerCommand;

use self::pack::PackFolder;
use self::store::{MAX_RECORDS, Store};
use crate::metrics::ProvisionMetrics;

/// How often at most it is looked whether an archetype that is met has lines.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What provisioning works with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder that the server writes into.
    pub data: PathBuf,
    /// The folder of all packs; `None`: they are built in.
    pub packs: Option<PathBuf>,
    pub trainer: TrainerCommand,
    pub limits: Limits,
    /// Archetypes that may wait.
    pub queue: usize,
    /// Whether meeting an archetype starts it.
    pub auto: bool,
}

/// Provisions archetypes. [`Provisioner::run`] does the work.
#[derive(Debug)]
pub struct Provisioner {
    packs: Option<PathBuf>,
    trainer: TrainerCommand,
    limits: Limits,
    most_waiting: usize,
    auto: bool,
    store: Store,
    registrar: Arc<dyn Registrar>,
    records: Mutex<BTreeMap<String, Record>>,
    waiting: Mutex<VecDeque<String>>,
    wake: Notify,
    /// Held while one is admitted: of two who ask for the same archetype the first is.
    admitting: tokio::sync::Mutex<()>,
    /// When it was looked whether an archetype that was met is to be provisioned.
    looked: Mutex<BTreeMap<String, Instant>>,
    metrics: ProvisionMetrics,
}

impl Provisioner {
    /// Reads how far everything was; what had not ended goes on. Blocks.
    ///
    /// # Errors
    /// The folder for it in `data` cannot be made or read.
    pub fn open(setup: Setup, registrar: Arc<dyn Registrar>) -> io::Result<Arc<Self>> {
        let store = Store::open(&setup.data)?;
        let records = store.load()?;
        let mut unfinished: Vec<&Record> = records.iter().filter(|record| !record.state.is_end()).collect();
        unfinished.sort_by_key(|record| (Reverse(record.state), record.requested_ms));
        let waiting = unfinished.iter().map(|record| record.archetype.clone()).collect();
        for record in records.iter().filter(|record| record.state.is_end()) {
            store.clear(&record.archetype)?;
        }
        Ok(Arc::new(Self {
            packs: setup.packs,
            trainer: setup.trainer,
            limits: setup.limits,
            most_waiting: setup.queue,
            auto: setup.auto,
            store,
            registrar,
            records: Mutex::new(
                records.into_iter().map(|record| (record.archetype.clone(), record)).collect(),
            ),
            waiting: Mutex::new(waiting),
            wake: Notify::new(),
            admitting: tokio::sync::Mutex::default(),
            looked: Mutex::default(),
            metrics: ProvisionMetrics::default(),
        }))
    }

    pub fn metrics(&self) -> &ProvisionMetrics {
        &self.metrics
    }

    /// How many archetypes are in each state.
    pub fn states(&self) -> [(State, usize); State::ALL.len()] {
        let records = self.records.lock();
        State::ALL.map(|state| (state, records.values().filter(|record| record.state == state).count()))
    }

    /// Every archetype that was ever asked for, in alphabetical order.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().values().cloned().collect()
    }

    /// How far an archetype is; `None`: nobody asked for it.
    pub fn record(&self, archetype: &str) -> Option<Record> {
        self.records.lock().get(archetype).cloned()
    }

    /// Asks for adapters for an archetype, of every task for which it has lines. When this returns it is on the disk.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn request(&self, archetype: &str, cause: Cause) -> Result<Record, Refusal> {
        let pack = self.pack(archetype).ok_or(Refusal::NoFolder)?;
        if !is_archetype(archetype) {
            return Err(Refusal::NoPack(archetype.to_owned()));
        }
        let _admitting = self.admitting.lock().await;
        if let Some(running) = self.record(archetype).filter(|record| !record.state.is_end()) {
            return Err(Refusal::Running { archetype: running.archetype, state: running.state });
        }
        if self.waiting.lock().len() >= self.most_waiting {
            return Err(Refusal::Full(self.most_waiting));
        }
        let disk = |error: io::Error| Refusal::Disk(error.to_string());
        let looked = tokio::task::spawn_blocking(move || Ok((pack.is_pack(), pack.tasks()?))).await;
        let (is_pack, tasks) = looked.map_err(io::Error::other).flatten().map_err(disk)?;
        if !is_pack {
            return Err(Refusal::NoPack(archetype.to_owned()));
        }
        if tasks.is_empty() {
            return Err(Refusal::NoLines(archetype.to_owned()));
        }
        self.make_room(archetype).await.map_err(disk)?;
        // What a training from before has left was made from other lines.
        self.clear(archetype).await;
        let record = Record::new(archetype, cause, tasks, now_ms());
        self.save(&record).await.map_err(disk)?;
        self.waiting.lock().push_back(archetype.to_owned());
        self.wake.notify_one();
        tracing::info!(archetype, ?cause, "provisioning was asked for");
        Ok(record)
    }

    /// If there are as many records as may be, forgets the oldest one that has ended. One always has: fewer may wait.
    async fn make_room(&self, archetype: &str) -> io::Result<()> {
        let oldest = {
            let records = self.records.lock();
            if records.len() < MAX_RECORDS || records.contains_key(archetype) {
                return Ok(());
            }
            let ended = records.values().filter(|record| record.state.is_end());
            ended.min_by_key(|record| record.changed_ms).map(|record| record.archetype.clone())
        };
        let Some(oldest) = oldest else { return Ok(()) };
        let (store, name) = (self.store.clone(), oldest.clone());
        worker::blocking(move || store.forget(&name)).await?;
        self.records.lock().remove(&oldest);
        Ok(())
    }

    /// A player has met an NPC of an archetype: if that has lines and no adapters, and was not asked for before, they are
    /// trained. Returns at once.
    pub fn met(self: &Arc<Self>, archetype: &str) {
        if !self.auto || self.packs.is_none() || self.records.lock().contains_key(archetype) {
            return;
        }
        if !self.may_look(archetype) {
            return;
        }
        let (provisioner, archetype) = (Arc::clone(self), archetype.to_owned());
        tokio::spawn(async move { provisioner.request_if_bare(&archetype).await });
    }

    /// What [`Self::met`] does.
    async fn request_if_bare(&self, archetype: &str) {
        let Some(pack) = self.pack(archetype) else { return };
        let found = tokio::task::spawn_blocking(move || pack.has_adapters()).await;
        match found.map_err(io::Error::other).flatten() {
            Ok(true) => {}
            Ok(false) => {
                if let Err(refusal) = self.request(archetype, Cause::Met).await {
                    tracing::info!(archetype, reason = %refusal, "an archetype without adapters is not provisioned");
                }
            }
            Err(error) => tracing::warn!(archetype, %error, "whether a pack has adapters is not known"),
        }
    }

    /// Whether it is time to look at an archetype's folder.
    fn may_look(&self, archetype: &str) -> bool {
        let (mut looked, now) = (self.looked.lock(), Instant::now());
        looked.retain(|_, at| now.duration_since(*at) < LOOK_AGAIN);
        if looked.contains_key(archetype) {
            return false;
        }
        looked.insert(archetype.to_owned(), now);
        true
    }

    /// The archetype whose turn it is.
    async fn next(&self) -> String {
        loop {
            let woken = self.wake.notified();
            if let Some(archetype) = self.waiting.lock().pop_front() {
                return archetype;
            }
            woken.await;
        }
    }

    fn pack(&self, archetype: &str) -> Option<PackFolder> {
        Some(PackFolder::new(self.packs.as_deref()?, archetype))
    }

    fn put(&self, record: Record) {
        self.records.lock().insert(record.archetype.clone(), record);
    }
}

/// Whether a name can be an archetype's, and so a folder's.
fn is_archetype(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(allowed)
}

/// Milliseconds since 1970, UTC.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
