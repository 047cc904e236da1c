//! The numbered frames of a session that its client may not have yet, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// What a frame takes besides its bytes: its place in the queue and the count of those who share it. Frames that were
/// written together share a piece of memory ([`crate::wire::Burst`]), which is there until all of them are forgotten: a
/// buffer may take up to a piece more than it counts.
const FRAME_COST: usize = 64;
/// Places that an empty buffer keeps.
const KEPT_PLACES: usize = 16;

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_COST
}

/// The memory that the buffers of all sessions share. Nothing here waits, and the total is never exceeded: a frame
/// that finds no room pushes out its own session's oldest frames. That is hard on those that hold little, so it also
/// calls for a trim ([`Shares::pressed`]), in which all that hold more than a fair share give up their oldest.
#[derive(Debug)]
pub struct Shares {
    per_session: usize,
    total: usize,
    used: AtomicUsize,
    buffers: AtomicUsize,
    pressed: Notify,
}

impl Shares {
    /// Room for `per_session` bytes in each buffer and `total` in all.
    pub fn new(per_session: usize, total: usize) -> Arc<Self> {
        Arc::new(Self {
            per_session,
            total,
            used: AtomicUsize::new(0),
            buffers: AtomicUsize::new(0),
            pressed: Notify::new(),
        })
    }

    /// Bytes that all buffers hold together.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Waits until a frame has found no room since the last call. For one task.
    pub async fn pressed(&self) {
        self.pressed.notified().await;
    }

    /// Bytes that every buffer may keep when there is no room: nine tenths of the total, so that some is free
    /// afterwards.
    pub fn fair(&self) -> usize {
        (self.total - self.total / 10) / self.buffers.load(Ordering::Acquire).max(1)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.total);
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok();
        if !taken {
            self.pressed.notify_one();
        }
        taken
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// See the module's documentation. It also counts: the first frame is number 1.
///
/// What is held is always the newest frames without a hole, so that a replay is whole or refused.
#[derive(Debug)]
pub struct Replay {
    shares: Arc<Shares>,
    frames: VecDeque<Bytes>,
    /// Number of the first frame in `frames`; of the next one to come if there is none.
    first: u64,
    bytes: usize,
}

impl Replay {
    pub fn new(shares: Arc<Shares>) -> Self {
        shares.buffers.fetch_add(1, Ordering::AcqRel);
        Self { shares, frames: VecDeque::new(), first: 1, bytes: 0 }
    }

    /// Number of the newest frame; 0: there was none.
    pub fn last(&self) -> u64 {
        self.first + self.frames.len() as u64 - 1
    }

    /// Frames that are held, and what they take.
    pub fn held(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes)
    }

    /// Adds the frame with the next number. The oldest ones go if there is no room otherwise, and the new one with
    /// them if it is too large alone.
    pub fn push(&mut self, frame: Bytes) {
        let cost = cost(&frame);
        while self.bytes + cost > self.shares.per_session {
            if !self.drop_oldest() {
                return self.skip();
            }
        }
        while !self.shares.take(cost) {
            if !self.drop_oldest() {
                return self.skip();
            }
        }
        self.bytes += cost;
        self.frames.push_back(frame);
    }

    /// Adds frames as [`Self::push`] would one after another.
    pub fn extend(&mut self, frames: Vec<Bytes>) {
        let all: usize = frames.iter().map(cost).sum();
        if self.bytes + all <= self.shares.per_session && self.shares.take(all) {
            self.bytes += all;
            self.frames.extend(frames);
        } else {
            for frame in frames {
                self.push(frame);
            }
        }
    }

    /// Counts a frame that is not held: nothing up to it can be replayed any more.
    pub fn skip(&mut self) {
        self.clear();
        self.first += 1;
    }

    /// Every frame after number `seq`; `None` if not all of them are held, or if `seq` has not been given yet.
    pub fn after(&self, seq: u64) -> Option<impl ExactSizeIterator<Item = &Bytes>> {
        let passed = usize::try_from(seq.checked_add(1)?.checked_sub(self.first)?).ok()?;
        (passed <= self.frames.len()).then(|| self.frames.range(passed..))
    }

    /// The client has everything up to number `seq`. A number that was not given yet says nothing.
    pub fn forget(&mut self, seq: u64) {
        if seq > self.last() {
            return;
        }
        while self.first <= seq && self.drop_oldest() {}
        if self.frames.capacity() > KEPT_PLACES.max(4 * self.frames.len()) {
            self.frames.shrink_to(2 * self.frames.len());
        }
    }

    /// Drops the oldest frames until the others take at most `bytes`.
    pub fn trim(&mut self, bytes: usize) {
        while self.bytes > bytes && self.drop_oldest() {}
    }

    /// Drops every frame up to the last one that has one of these words in it; the count goes on.
    pub fn forget_naming(&mut self, words: &[&[u8]]) {
        let names = |frame: &Bytes| words.iter().any(|word| memchr::memmem::find(frame, word).is_some());
        let until = self.frames.iter().rposition(names).map_or(0, |last| last + 1);
        for _ in 0..until {
            self.drop_oldest();
        }
    }

    /// Drops every frame; the count goes on.
    pub fn clear(&mut self) {
        self.shares.give(std::mem::take(&mut self.bytes));
        self.first += self.frames.len() as u64;
        self.frames = VecDeque::new();
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(frame) = self.frames.pop_front() else { return false };
        self.first += 1;
        self.bytes -= cost(&frame);
        self.shares.give(cost(&frame));
        true
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.shares.give(self.bytes);
        self.shares.buffers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a test does to one of its buffers.
    #[derive(Debug, Clone)]
    enum Act {
        Push(usize),
        Extend(Vec<usize>),
        Skip,
        Forget(u64),
        Trim(usize),
        Clear,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            8 => (0..300_usize).prop_map(Act::Push),
            3 => proptest::collection::vec(0..300_usize, 0..6).prop_map(Act::Extend),
            1 => Just(Act::Skip),
            3 => (0..60_u64).prop_map(Act::Forget),
            1 => (0..1000_usize).prop_map(Act::Trim),
            1 => Just(Act::Clear),
        ]
    }

    /// The same, told in the simplest way: every frame ever pushed, and the numbers that are still held.
    #[derive(Default)]
    struct Model {
        all: Vec<Option<Bytes>>,
        held: usize,
    }

    impl Model {
        fn bytes(&self) -> usize {
            self.tail().map(cost).sum()
        }

        fn tail(&self) -> impl Iterator<Item = &Bytes> {
            self.all[self.all.len() - self.held..].iter().flatten()
        }

        fn push(&mut self, frame: &Bytes, others: usize, per_session: usize, total: usize) {
            let fits = |model: &Self| {
                let bytes = model.bytes() + cost(frame);
                bytes <= per_session && bytes + others <= total
            };
            while self.held > 0 && !fits(self) {
                self.held -= 1;
            }
            let fits = fits(self);
            self.all.push(fits.then(|| frame.clone()));
            self.held = if fits { self.held + 1 } else { 0 };
        }
    }

    proptest! {
        #[test]
        fn a_replay_is_exactly_what_was_sent_or_nothing(
            acts in proptest::collection::vec((0..3_usize, act()), 1..120),
            per_session in 100..1500_usize,
            total in 100..2500_usize,
        ) {
            let shares = Shares::new(per_session, total);
            let mut replays: Vec<_> = (0..3).map(|_| Replay::new(Arc::clone(&shares))).collect();
            let mut models: Vec<_> = (0..3).map(|_| Model::default()).collect();
            for (number, (who, act)) in acts.into_iter().enumerate() {
                let others = (0..3).filter(|&i| i != who).map(|i| models[i].bytes()).sum();
                let (replay, model) = (&mut replays[who], &mut models[who]);
                match act {
                    Act::Push(length) => {
                        let frame = Bytes::from(vec![number as u8; length]);
                        model.push(&frame, others, per_session, total);
                        replay.push(frame);
                    }
                    Act::Extend(lengths) => {
                        let frame = |length| Bytes::from(vec![number as u8; length]);
                        let frames: Vec<_> = lengths.into_iter().map(frame).collect();
                        for frame in &frames {
                            model.push(frame, others, per_session, total);
                        }
                        replay.extend(frames);
                    }
                    Act::Skip => {
                        model.all.push(None);
                        model.held = 0;
                        replay.skip();
                    }
                    Act::Forget(seq) => {
                        if seq <= model.all.len() as u64 {
                            model.held = model.held.min(model.all.len() - seq as usize);
                        }
                        replay.forget(seq);
                    }
                    Act::Trim(bytes) => {
                        while model.bytes() > bytes {
                            model.held -= 1;
                        }
                        replay.trim(bytes);
                    }
                    Act::Clear => {
                        model.held = 0;
                        replay.clear();
                    }
                }
                prop_assert_eq!(replay.last(), model.all.len() as u64);
                for seq in 0..model.all.len() as u64 + 3 {
                    let wanted = model.all.get(seq as usize..).filter(|missed| missed.len() <= model.held);
                    let wanted = wanted.map(|missed| missed.iter().flatten().collect::<Vec<_>>());
                    prop_assert_eq!(replay.after(seq).map(Iterator::collect::<Vec<_>>), wanted);
                }
                let used: usize = models.iter().map(Model::bytes).sum();
                prop_assert_eq!(shares.used.load(Ordering::Relaxed), used);
                prop_assert!(used <= total);
            }
            drop(replays);
            let left = (shares.used.load(Ordering::Relaxed), shares.buffers.load(Ordering::Relaxed));
            prop_assert_eq!(left, (0, 0));
        }
    }

    #[test]
    fn numbers_beyond_what_was_sent_change_nothing() {
        let mut replay = Replay::new(Shares::new(1000, 1000));
        replay.push(Bytes::from_static(b"a"));
        for seq in [2, u64::MAX] {
            replay.forget(seq);
            assert!(replay.after(seq).is_none());
        }
        assert_eq!(replay.after(0).map(Iterator::collect::<Vec<_>>), Some(vec![&Bytes::from_static(b"a")]));
    }

    #[test]
    fn what_is_acknowledged_gives_its_memory_back() {
        let mut replay = Replay::new(Shares::new(1 << 20, 1 << 20));
        for _ in 0..1000 {
            replay.push(Bytes::from_static(b"frame"));
        }
        replay.forget(1000);
        assert!(replay.frames.capacity() <= KEPT_PLACES, "{}", replay.frames.capacity());
        assert_eq!((replay.last(), replay.bytes), (1000, 0));
    }

    #[tokio::test]
    async fn who_holds_too_much_makes_room_for_the_others() {
        let frame = || Bytes::from(vec![0; 100 - FRAME_COST]);
        let shares = Shares::new(1000, 1000);
        let mut hoards = Replay::new(Arc::clone(&shares));
        for _ in 0..10 {
            hoards.push(frame());
        }
        let mut newcomer = Replay::new(Arc::clone(&shares));
        newcomer.push(frame());
        // No room, and nothing of its own to give up: not held, and said so.
        assert!(newcomer.after(0).is_none());
        assert_eq!(newcomer.after(1).map(|frames| frames.len()), Some(0));
        shares.pressed().await;
        assert_eq!(shares.fair(), 450);
        hoards.trim(shares.fair());
        assert!(hoards.after(6).is_some() && hoards.after(5).is_none());
        newcomer.push(frame());
        assert_eq!(newcomer.after(1).map(|frames| frames.len()), Some(1));
    }
}
