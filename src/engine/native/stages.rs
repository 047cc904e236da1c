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
}

/// What the threads count by, of every stage; kept from call to call.
#[derive(Default)]
pub struct Shares(Vec<Share>);

impl Shares {
    /// So many, nothing of which is taken.
    fn reset(&mut self, count: usize) -> &[Share] {
        if self.0.len() < count {
            self.0.resize_with(count, Share::default);
        }
        for share in &mut self.0[..count] {
            (*share.taken.get_mut(), *share.done.get_mut()) = (0, 0);
        }
        &self.0[..count]
    }
}

/// On cache lines of its own (CPUs fetch them in pairs), so that threads do not wait for each other while each is at its
/// own share.
#[repr(align(128))]
#[derive(Default)]
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
        Self { count, run }
    }

    /// What belongs to a share.
    fn part(&self, share: usize, shares: usize) -> Range<usize> {
        self.count * share / shares..self.count * (share + 1) / shares
    }

    /// Takes one after the other until none is left, of share `own` first.
    fn work(&self, own: usize, shares: &[Share]) {
        let count = shares.len();
        for share in (0..count).map(|i| (own + i) % count) {
            let (part, counts) = (self.part(share, count), &shares[share]);
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
    fn wait(&self, shares: &[Share]) {
        let mut spins = 0;
        for (share, counts) in shares.iter().enumerate() {
            while counts.done.load(Ordering::Acquire) < self.part(share, shares.len()).len() {
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
pub fn run(
    context: &ComputeContext,
    threads: usize,
    shares: &mut Shares,
    stages: &[Stage<'_>],
) -> ort::Result<()> {
    let threads = threads.min(stages.iter().map(|stage| stage.count).max().unwrap_or_default());
    if threads <= 1 {
        for stage in stages {
            (0..stage.count).for_each(stage.run);
        }
        return Ok(());
    }
    let each = threads.min(SHARES);
    let shares = shares.reset(each * stages.len());
    context.par_for(threads, 0, |thread| work(stages, shares, thread % each))
}

/// What each thread does. One that comes late finds everything taken, waits for nobody but those who run, and is gone.
fn work(stages: &[Stage<'_>], shares: &[Share], own: usize) {
    let each = shares.len() / stages.len();
    for (index, (stage, shares)) in stages.iter().zip(shares.chunks_exact(each)).enumerate() {
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
        // As an earlier call left it.
        let mut room = Shares::default();
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
                let (stages, shares) = (&stages, room.reset(3 * threads));
                for thread in 0..threads {
                    scope.spawn(move || work(stages, shares, thread));
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
        let stages = [Stage::new(0, &never), Stage::new(1, &once), Stage::new(0, &never)];
        work(&stages, Shares::default().reset(6), 1);
        assert_eq!(ran.into_inner(), 1);
    }
}
