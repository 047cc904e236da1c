//! Many clients that mean ill, each of which knows what it deserves.

mod attacker;
mod corpus;
mod faults;
mod socket;
mod upgrades;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use attacker::Attacker;
pub use corpus::{Corpus, damage};

/// Violations that are kept word for word.
const SHOWN: usize = 20;
/// How often the caller hears how far it is.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be done to a server.
#[derive(Debug)]
pub struct Plan {
    pub address: SocketAddr,
    /// Frames, broken ones and HTTP requests in all.
    pub frames: u64,
    /// Attackers at the same time, each with one socket.
    pub sockets: usize,
    /// The same seed does the same again.
    pub seed: u64,
    /// `max_frame_bytes` of `hello`.
    pub max_frame_bytes: usize,
    /// Good frames, to be sent as they are or damaged.
    pub corpus: Corpus,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames, broken ones and HTTP requests that were sent.
    pub sent: u64,
    pub connections: u64,
    /// How often each close code came.
    pub closes: BTreeMap<u16, u64>,
    /// How often each HTTP status came that was not an upgrade.
    pub statuses: BTreeMap<u16, u64>,
    /// How often each kind of attack was made.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Answers that were not what the attack deserves.
    pub wrong: u64,
    /// The first of them.
    pub messages: Vec<String>,
}

impl Tally {
    fn wrong(&mut self, message: String) {
        self.wrong += 1;
        if self.messages.len() < SHOWN {
            self.messages.push(message);
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.connections += other.connections;
        self.wrong += other.wrong;
        for (code, count) in other.closes {
            *self.closes.entry(code).or_default() += count;
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.messages.extend(other.messages);
        self.messages.truncate(SHOWN);
    }
}

/// Attacks, and calls `look` now and then with the number of frames that were sent so far.
pub fn run(plan: &Plan, mut look: impl FnMut(u64)) -> Tally {
    let sockets = plan.sockets.max(1) as u64;
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        let attackers: Vec<_> = (0..sockets)
            .map(|i| {
                let share = plan.frames / sockets + u64::from(i < plan.frames % sockets);
                let sent = &sent;
                scope.spawn(move || Attacker::new(plan, i).attack(share, sent))
            })
            .collect();
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            thread::sleep(LOOK);
            look(sent.load(Ordering::Relaxed));
        }
        let mut tally = Tally::default();
        for attacker in attackers {
            match attacker.join() {
                Ok(other) => tally.add(other),
                Err(_) => tally.wrong("an attacker panicked".to_owned()),
            }
        }
        tally
    })
}
