//! Cross-validation: an adapter for each part of the lines, trained on the others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use npc_trainer::{Base, Below, Data, Lora, Progress, Training, identity};
use parking_lot::Mutex;

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

    /// Trains those that are not there; `done` is told of each part that is. No part tells when to stop: as many epochs as
    /// the plan says.
    ///
    /// # Errors
    /// [`TrainingError`].
    pub fn train(
        &self,
        plan: &Plan<'_>,
        progress: &mut dyn FnMut(&Progress) -> bool,
        done: &dyn Fn(u64),
    ) -> Result<(), TrainingError> {
        let items = plan.items()?;
        let mut below = None;
        for fold in 0..self.count {
            let (learned, _) = items.fold(fold, self.count);
            let data = Data { examples: examples(learned), held_out: Vec::new() };
            let identity = identity(plan.base, &plan.lora, &plan.settings(), &data);
            let folder = self.path(plan, fold);
            if !is_there(&folder, &identity) {
                let training = Training::new(plan.base, plan.lora.clone(), plan.settings(), data)?;
                // Most of what is computed is the same in all parts.
                let below = if let Some(below) = &below {
                    Arc::clone(below)
                } else {
                    let new = Below::new(plan.base, plan.lora.first_layer, &examples(&items.0))?;
                    Arc::clone(below.insert(Arc::new(new)))
                };
                let (lora, _) = training.on(below)?.run(None, progress)?;
                keep(&lora, plan.base, &folder, &identity)?;
            }
            done(fold);
        }
        Ok(())
    }
}

/// Whether the adapter of this training is in the folder, whole.
fn is_there(folder: &Path, identity: &str) -> bool {
    match std::fs::read_to_string(folder.join(IDENTITY)) {
        Ok(there) if there == identity => true,
        Ok(_) => {
            let folder = folder.display();
            tracing::warn!(%folder, "an adapter of other lines or of another training is made anew");
            false
        }
        Err(_) => false,
    }
}

/// Writes an adapter; last, that it is whole.
fn keep(lora: &Lora, base: &Base, folder: &Path, identity: &str) -> Result<(), TrainingError> {
    let io = |source| TrainingError::Io { path: folder.to_owned(), source };
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(io)?;
    }
    std::fs::create_dir_all(folder).map_err(io)?;
    lora.save(base, folder)?;
    std::fs::write(folder.join(IDENTITY), identity).map_err(io)
}

/// Does `work` for all of `items`, `jobs` at once. Behind the first error nothing is begun any more, and that error is told.
///
/// # Errors
/// Of `work`.
pub fn each<T: Sync, E: Send>(
    items: &[T],
    jobs: usize,
    work: &(dyn Fn(&T) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let (next, first) = (AtomicUsize::new(0), Mutex::new(None));
    let one = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                first.lock().get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(one);
        }
    });
    first.into_inner().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_is_done_once_and_several_at_once() {
        let (together, done) = (Barrier::new(4), AtomicUsize::new(0));
        let items: Vec<usize> = (0..40).collect();
        let all = each::<_, ()>(&items, 4, &|item| {
            // Nobody goes on before four are here.
            together.wait();
            done.fetch_add(1 << item.min(&20), Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(all, Ok(()));
        assert_eq!(done.into_inner(), (1 << 20) - 1 + (20 << 20));
    }

    #[test]
    fn the_first_error_is_told_and_ends_it() {
        let begun = AtomicUsize::new(0);
        let items: Vec<usize> = (0..1000).collect();
        let ended = each(&items, 1, &|item| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item < 3 { Ok(()) } else { Err(*item) }
        });
        assert_eq!((ended, begun.into_inner()), (Err(3), 4));
        assert_eq!(each::<usize, ()>(&[], 3, &|_| Err(())), Ok(()));
    }
}
