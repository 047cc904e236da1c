//! From what a trainer left to what turns use: judged, moved into the pack, given to the engine, promoted.

use std::io;

use tokio_util::sync::CancellationToken;

use super::pack::{FILES, METRICS, PackFolder};
use super::place::{next_version, place, take_back};
use super::state::{Record, State, TaskRecord};
use super::verdict;
use super::worker::{Halt, blocking, going_on};
use super::{Provisioner, fault, trainer};
use crate::archetype::Task;
use crate::config::read_file;

/// Bytes of a `metrics.json` at most.
const MAX_METRICS: u64 = 64 << 10;

impl Provisioner {
    /// Judges what was trained. What is not better than the base model is left out.
    pub(super) async fn evaluate(&self, record: &mut Record) -> Result<State, Halt> {
        for (&task, found) in &mut record.tasks {
            let folder = trainer::out(&self.store.work(&record.archetype), task);
            let read = blocking(move || {
                for name in FILES {
                    if !folder.join(name).is_file() {
                        return Err(io::Error::other(format!("the trainer left no {name}")));
                    }
                }
                let metrics = read_file(&folder.join(METRICS), MAX_METRICS)?;
                verdict::parse(&metrics).map_err(|error| io::Error::other(format!("{METRICS}: {error}")))
            });
            let judged = match read.await {
                Ok(metrics) => {
                    let judged = verdict::judge(&metrics);
                    found.metrics = Some(metrics);
                    judged
                }
                Err(error) => Err(error.to_string()),
            };
            found.rejected = judged.err();
        }
        anything_left(record)?;
        Ok(State::Loading)
    }

    /// Moves what is left into the pack, and has the engine take it.
    pub(super) async fn load(&self, record: &mut Record, stop: &CancellationToken) -> Result<State, Halt> {
        let archetype = record.archetype.clone();
        let pack =
            self.pack(&archetype).ok_or_else(|| Halt::Rejected("there is no folder of packs".into()))?;
        let accepted: Vec<(Task, Option<u32>)> = record.accepted().collect();
        for (task, version) in accepted {
            let version = match self.place(record, &pack, task, version).await? {
                Ok(version) => version,
                // The others go on without it.
                Err(reason) => {
                    if let Some(found) = record.tasks.get_mut(&task) {
                        (found.rejected, found.version) = (Some(reason), None);
                    }
                    continue;
                }
            };
            if let Err(reason) = self.registrar.load(&archetype, task, version).await {
                going_on(stop)?;
                withdraw(&pack, task, version).await;
                if let Some(found) = record.tasks.get_mut(&task) {
                    found.rejected = Some(reason);
                }
            }
        }
        anything_left(record)?;
        Ok(State::Registered)
    }

    /// Puts one adapter into the pack. Its version is stored first, so that a copy that was cut off is not made twice.
    /// Within the result: why this one cannot be placed, where others may be.
    async fn place(
        &self,
        record: &mut Record,
        pack: &PackFolder,
        task: Task,
        mut version: Option<u32>,
    ) -> Result<Result<u32, String>, Halt> {
        let from = trainer::out(&self.store.work(&record.archetype), task);
        loop {
            let settled = if let Some(version) = version {
                version
            } else {
                let pack = pack.clone();
                let next = match blocking(move || next_version(&pack, task)).await {
                    Ok(next) => next,
                    Err(error) => return Ok(Err(error.to_string())),
                };
                if let Some(found) = record.tasks.get_mut(&task) {
                    found.version = Some(next);
                }
                self.save(record).await?;
                next
            };
            let (from, pack) = (from.clone(), pack.clone());
            match blocking(move || place(&from, &pack, task, settled)).await {
                Ok(()) => return Ok(Ok(settled)),
                // Somebody else has put one there meanwhile.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => version = None,
                // That is everybody's.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error.into()),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    /// Has new turns use it.
    pub(super) async fn promote(&self, record: &Record, stop: &CancellationToken) -> Result<State, Halt> {
        let versions: Vec<(Task, u32)> =
            record.accepted().filter_map(|(task, version)| Some((task, version?))).collect();
        let promoted = async {
            // The engine has forgotten them if the server was started again since.
            for &(task, version) in &versions {
                self.registrar.load(&record.archetype, task, version).await?;
            }
            self.registrar.promote(&record.archetype, &versions).await
        };
        if let Err(reason) = promoted.await {
            going_on(stop)?;
            if let Some(pack) = self.pack(&record.archetype) {
                for (task, version) in versions {
                    withdraw(&pack, task, version).await;
                }
            }
            return Err(Halt::Rejected(reason));
        }
        fault::point("behind the promotion");
        Ok(State::Available)
    }
}

/// Takes a version that nobody may use out of its pack, so that the next start does not find it.
async fn withdraw(pack: &PackFolder, task: Task, version: u32) {
    let pack = pack.clone();
    if let Err(error) = blocking(move || take_back(&pack, task, version)).await {
        tracing::error!(%task, version, %error, "a version that was refused is still in its pack");
    }
}

/// # Errors
/// Every adapter was left out, and why.
fn anything_left(record: &Record) -> Result<(), Halt> {
    if record.accepted().next().is_some() {
        return Ok(());
    }
    let why = |(task, found): (&Task, &TaskRecord)| Some(format!("{task}: {}", found.rejected.as_deref()?));
    let reasons: Vec<String> = record.tasks.iter().filter_map(why).collect();
    Err(Halt::Rejected(reasons.join("; ")))
}
