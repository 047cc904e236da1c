//! Cross-validation: an adapter for each part of the lines, trained on the others.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use npc_trainer::{Data, Training, identity};

use super::examples::examples;
use super::train::{Plan, TrainingError};

/// Says that an adapter beside it is whole, and of which training it is.
const IDENTITY: &str = "identity";

/// Where the adapters of parts are kept, and how many parts there are.
#[derive(Debug, Clone, Copy)]
pub struct Folds<'a> {
    pub count: u64,
    pub folder: &'a Path,
}

impl Folds<'_> {
    /// The folder of the adapter that did not learn from part `fold`.
    pub fn path(&self, plan: &Plan<'_>, fold: u64) -> PathBuf {
        self.folder.join(format!("{}.{}.{fold}of{}", plan.pack.name, plan.task, self.count))
    }

    /// Trains it, unless it is there. No part tells when to stop: as many epochs as the plan says.
    ///
    /// # Errors
    /// [`TrainingError`].
    pub fn train(&self, plan: &Plan<'_>, fold: u64) -> Result<(), TrainingError> {
        let items = plan.items()?;
        let (learned, _) = items.fold(fold, self.count);
        let data = Data { examples: examples(learned), held_out: Vec::new() };
        let identity = identity(plan.base, &plan.lora, &plan.settings(), &data);
        let folder = self.path(plan, fold);
        let whole = folder.join(IDENTITY);
        if std::fs::read_to_string(&whole).is_ok_and(|there| there == identity) {
            return Ok(());
        }
        let (lora, _) =
            Training::new(plan.base, plan.lora.clone(), plan.settings(), data)?.run(None, &mut |_| true)?;
        let io = |source| TrainingError::Io { path: folder.clone(), source };
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(io)?;
        }
        std::fs::create_dir_all(&folder).map_err(io)?;
        lora.save(plan.base, &folder)?;
        std::fs::write(&whole, identity).map_err(io)
    }
}

/// Does `work` for all of `items`, `jobs` at once. The first error ends it.
///
/// # Errors
/// Of `work`.
pub fn each<T: Sync, E: Send>(
    items: &[T],
    jobs: usize,
    work: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let one = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Behind an error nobody begins another.
            work(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.clamp(1, items.len().max(1))).map(|_| scope.spawn(one)).collect();
        // A panic of a thread goes on here, as it would without threads.
        let ends =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ends.fold(Ok(()), Result::and)
    })
}
