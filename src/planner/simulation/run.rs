//! The events: lines come, and steps end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::super::steps::StepShape;
use super::tally::Tally;
use super::traffic::{Traffic, exponential};
use super::turns::Turn;
use super::{Arrivals, InputError, MAX_REQUESTS, Process, Server, too_many};
use crate::engine::{Rehearsal, RehearsalOptions, StepWork};

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Next {
    /// An NPC is spoken to.
    Said { npc: u64, kind: usize },
    /// The choices of a turn are asked for.
    Asked { turn: u64 },
}

/// A server while it runs.
pub(super) struct Run<'a> {
    pub(super) server: &'a Server,
    pub(super) arrivals: &'a Arrivals,
    pub(super) traffic: &'a Traffic,
    pub(super) rehearsal: Rehearsal,
    pub(super) rng: ChaCha8Rng,
    /// Any moment: the engine's clock counts from it.
    start: Instant,
    pub(super) now_s: f64,
    /// By time; times are not negative, so their bits are in their order.
    next: BinaryHeap<Reverse<(u64, Next)>>,
    /// In the order in which they began.
    pub(super) turns: BTreeMap<u64, Turn>,
    /// Turns so far.
    pub(super) begun: u64,
    /// Requests so far.
    pub(super) requests: u64,
    /// Of every NPC that is answering: when the lines were said that wait.
    pub(super) mailboxes: HashMap<u64, VecDeque<f64>>,
    pub(super) tally: Tally,
}

/// Runs a server from its start to the end of its arrivals.
pub fn run(server: &Server, arrivals: &Arrivals, traffic: &Traffic) -> Result<Tally, InputError> {
    let seconds = Duration::from_secs_f64;
    let rehearsal = Rehearsal::new(RehearsalOptions {
        rows: server.rows,
        kept_conversations: server.kept,
        sequences: server.sequences,
        context: server.context,
        prefill_budget: server.prefill_budget,
        queue: server.queue,
        overload_after: seconds(server.admission.overload_after_s),
        overload_wait: seconds(server.admission.overload_wait_s),
    });
    let mut run = Run {
        server,
        arrivals,
        traffic,
        rehearsal,
        rng: ChaCha8Rng::seed_from_u64(arrivals.seed),
        start: Instant::now(),
        now_s: 0.0,
        next: BinaryHeap::new(),
        turns: BTreeMap::new(),
        begun: 0,
        requests: 0,
        mailboxes: HashMap::new(),
        tally: Tally { counted_s: arrivals.seconds, servers: 1, ..Tally::default() },
    };
    run.begin();
    run.until_the_end()?;
    let waiting: usize = run.mailboxes.values().map(VecDeque::len).sum();
    let speaking = run.turns.values().filter(|turn| turn.line.is_some()).count();
    run.tally.all.running = (waiting + speaking) as u64;
    Ok(run.tally)
}

impl Run<'_> {
    /// The first arrivals.
    fn begin(&mut self) {
        match self.arrivals.process {
            Process::Open => self.next_arrival(),
            Process::Closed { clients, think_s } => {
                for client in 0..clients {
                    // Spread over a line's time, so that not all come in one step.
                    let at = exponential(think_s.max(0.1), &mut self.rng);
                    let kind = self.traffic.client(client, clients);
                    self.push(at, Next::Said { npc: client as u64, kind });
                }
            }
        }
    }

    fn next_arrival(&mut self) {
        let at = self.now_s + self.traffic.gap_s(&mut self.rng);
        let (kind, npc) = self.traffic.actor(&mut self.rng);
        self.push(at, Next::Said { npc, kind });
    }

    pub(super) fn push(&mut self, at: f64, next: Next) {
        self.next.push(Reverse((at.to_bits(), next)));
    }

    fn until_the_end(&mut self) -> Result<(), InputError> {
        let end = self.arrivals.end_s();
        loop {
            self.take_due();
            if self.requests as f64 > MAX_REQUESTS {
                return Err(too_many());
            }
            if self.now_s >= end {
                return Ok(());
            }
            let step = self.rehearsal.begin(self.clock(self.now_s));
            if let Some(work) = step {
                self.step(work);
            }
            if self.rehearsal.take_ended() {
                self.collect();
            }
            if step.is_none() {
                // Nothing to compute until somebody says something.
                let at = self.next.peek().map_or(end, |Reverse((at, _))| f64::from_bits(*at));
                self.now_s = at.clamp(self.now_s, end);
            }
        }
    }

    /// Everything that has happened by now, each at its own time.
    fn take_due(&mut self) {
        let (now_s, end) = (self.now_s, self.arrivals.end_s());
        while let Some(Reverse((at, next))) = self.next.peek().copied() {
            let at = f64::from_bits(at);
            if at > now_s || at > end {
                break;
            }
            self.next.pop();
            self.now_s = at;
            match next {
                Next::Said { npc, kind } => {
                    self.said(npc, kind);
                    if self.arrivals.process == Process::Open {
                        self.next_arrival();
                    }
                }
                Next::Asked { turn } => self.ask(turn),
            }
        }
        self.now_s = now_s;
    }

    /// An NPC is spoken to: it answers, or the line waits in its mailbox.
    fn said(&mut self, npc: u64, kind: usize) {
        if let Some(mailbox) = self.mailboxes.get_mut(&npc) {
            // One of them is being answered.
            if mailbox.len() + 1 < self.server.admission.mailbox {
                mailbox.push_back(self.now_s);
                self.tally.all.came += 1;
            } else {
                self.tally.all.came += 1;
                self.overloaded();
            }
            return;
        }
        self.mailboxes.insert(npc, VecDeque::new());
        self.tally.all.came += 1;
        self.act(npc, kind, self.now_s);
    }

    fn step(&mut self, work: StepWork) {
        let StepWork { tokens, logits, attended, read, mixed } = work;
        let seconds = self.server.steps.seconds(StepShape { tokens, logits, attended, read, mixed });
        let began = self.now_s;
        self.now_s += seconds;
        let counted = self.now_s.min(self.arrivals.end_s()) - began.max(self.arrivals.warm_up_s);
        if counted > 0.0 {
            self.tally.busy_s += counted;
            self.tally.step_tokens += tokens as u64;
        }
        self.rehearsal.end(self.clock(self.now_s));
    }

    /// Whether what happens now is counted.
    pub(super) fn counts(&self) -> bool {
        self.now_s >= self.arrivals.warm_up_s && self.now_s <= self.arrivals.end_s()
    }

    /// A line found no place.
    pub(super) fn overloaded(&mut self) {
        self.tally.all.overloaded += 1;
        self.tally.overloaded += u64::from(self.counts());
    }

    /// Choices found no place.
    pub(super) fn missed(&mut self, count: u64) {
        if self.counts() {
            self.tally.choices_missed += count;
        }
    }

    pub(super) fn clock(&self, at_s: f64) -> Instant {
        self.start + Duration::from_secs_f64(at_s)
    }
}
