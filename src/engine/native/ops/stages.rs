//! Work of several stages on ONNX Runtime's threads, in one call: waking them, and waiting for the last one, costs as
//! much as a small stage itself.

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ort::operator::ComputeContext;

/// How often a thread looks whether the others are ready before it lets someone else run.
const SPINS: u32 = 20_000;

/// Shares that the work of a stage has at most.
const SHARES: usize = 16;

/// `run(0)` to `run(count - 1)`, in any order, on any thread, after all of the stage before.
///
/// Every thread has a share of neighbouring ones, so that what one fetches ahead is what it computes next, and takes
/// from the others' when its own is done.
pub struct Stage<'a> {
    count: usize,
    run: &'a (dyn Fn(usize) + Sync),
    shares: [Share; SHARES],
}

/// On cache lines of its own (CPUs fetch them in pairs), so that threads do not wait for each other while each is at its
/// own share.
#[repr(align(128))]
struct Share {
    /// How many are taken.
    taken: AtomicUsize,
    /// How many are done.
    done: AtomicUsize,
}

/// Counts one as done when it is dropped, in a panic too: nobody is to wait for ever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        // Release: who sees it sees what was written.
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl<'a> Stage<'a> {
    pub fn new(count: usize, run: &'a (dyn Fn(usize) + Sync)) -> Self {
        let share = || Share { taken: AtomicUsize::new(0), done: AtomicUsize::new(0) };
        Self { count, run, shares: std::array::from_fn(|_| share()) }
    }

    /// What belongs to a share.
    fn part(&self, share: usize, shares: usize) -> Range<usize> {
        self.count * share / shares..self.count * (share + 1) / shares
    }

    /// Takes one after the other until none is left, of share `own` of `shares` first.
    fn work(&self, own: usize, shares: usize) {
        for share in (0..shares).map(|i| (own + i) % shares) {
            let (part, counts) = (self.part(share, shares), &self.shares[share]);
            // Looks first: who comes for what others have taken only reads.
            while counts.taken.load(Ordering::Relaxed) < part.len() {
                let index = part.start + counts.taken.fetch_add(1, Ordering::Relaxed);
                if index >= part.end {
                    break;
                }
                let _done = Done(&counts.done);
                (self.run)(index);
            }
        }
    }

    /// Waits for what others have taken. They are running, each on a thread of its own, so this ends.
    fn wait(&self, shares: usize) {
        let mut spins = 0;
        for (share, counts) in self.shares[..shares].iter().enumerate() {
            while counts.done.load(Ordering::Acquire) < self.part(share, shares).len() {
                if spins < SPINS {
                    spins += 1;
                    hint::spin_loop();
                } else {
                    thread::yield_now();
                }
            }
        }
    }
}

/// Runs the stages one after the other on so many threads, on the calling one alone if there is nothing to share.
pub fn run(context: &ComputeContext, threads: usize, stages: &[Stage<'_>]) -> ort::Result<()> {
    let threads = threads.min(stages.iter().map(|stage| stage.count).max().unwrap_or_default());
    if threads <= 1 {
        work(stages, 0, 1);
        return Ok(());
    }
    let shares = threads.min(SHARES);
    context.par_for(threads, 0, |thread| work(stages, thread % shares, shares))
}

/// What each thread does. One that comes late finds everything taken, waits for nobody but those who run, and is gone.
fn work(stages: &[Stage<'_>], own: usize, shares: usize) {
    for (index, stage) in stages.iter().enumerate() {
        stage.work(own, shares);
        if index + 1 < stages.len() {
            stage.wait(shares);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn a_stage_begins_when_the_one_before_is_done() {
        for threads in 1..5 {
            let sums = [const { AtomicU64::new(0) }; 3];
            let add = |stage: usize, index: usize| {
                if stage > 0 {
                    assert_eq!(sums[stage - 1].load(Ordering::Relaxed), (0..50).sum::<u64>());
                }
                sums[stage].fetch_add(index as u64, Ordering::Relaxed);
            };
            let (first, second, third) = (|i| add(0, i), |i| add(1, i), |i| add(2, i));
            let stages = [Stage::new(50, &first), Stage::new(50, &second), Stage::new(50, &third)];
            thread::scope(|scope| {
                for thread in 0..threads {
                    let stages = &stages;
                    scope.spawn(move || work(stages, thread, threads));
                }
            });
            assert!(sums.iter().all(|sum| sum.load(Ordering::Relaxed) == 1225));
        }
    }

    #[test]
    fn a_stage_of_nothing_is_passed() {
        let never = |_| panic!("nothing was to be done");
        let ran = AtomicU64::new(0);
        let once = |_| {
            ran.fetch_add(1, Ordering::Relaxed);
        };
        work(&[Stage::new(0, &never), Stage::new(1, &once), Stage::new(0, &never)], 1, 2);
        assert_eq!(ran.into_inner(), 1);
    }
}
