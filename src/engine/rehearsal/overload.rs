//! More lines than can be answered, for ten minutes on the clock that is told: chance has its part in what overload does,
//! and shows in minutes alone.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::Event;

const ROWS: usize = 16;

/// What a step takes, in milliseconds: about what the default model takes on two cores.
fn step_ms(work: &StepWork) -> f64 {
    3.0 + 0.25 * work.tokens as f64
}

/// What came of a load.
struct Found {
    answered: usize,
    refused: usize,
    /// 95 of 100 lines that were answered had their first token so early.
    first_token_ms: f64,
}

/// The engine and who asks it, on the clock that is told.
struct Server {
    rehearsal: Rehearsal,
    now: Instant,
    /// The same numbers at every run.
    rng: ChaCha8Rng,
    open: Vec<Generation>,
    refused: usize,
    first_token_ms: Vec<f64>,
}

impl Server {
    fn new(seed: u64) -> Self {
        let rehearsal = Rehearsal::new(RehearsalOptions {
            rows: ROWS,
            kept_conversations: 32,
            sequences: 256,
            context: 1024,
            prefill_budget: 64,
            queue: 64,
            overload_after: Duration::from_secs(1),
            overload_wait: Duration::from_millis(100),
        });
        Self {
            rehearsal,
            now: Instant::now(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            open: Vec::new(),
            refused: 0,
            first_token_ms: Vec::new(),
        }
    }

    /// A player says something that nobody has said before.
    fn ask(&mut self) {
        let rng = &mut self.rng;
        let prompt = (0..rng.random_range(30..130)).map(|_| rng.random_range(1..1 << 30)).collect();
        let tokens = rng.random_range(10..50);
        let deadline = Some(self.now + Duration::from_secs(10));
        let schedule = Schedule { deadline, ..Schedule::default() };
        match self.rehearsal.generate(prompt, &[], tokens, schedule, self.now) {
            Ok(line) => self.open.push(line),
            Err(EngineError::Overloaded { .. }) => self.refused += 1,
            Err(error) => panic!("{error}"),
        }
    }

    /// A step, or the time until `next`.
    fn step(&mut self, next: Instant) {
        let Some(work) = self.rehearsal.begin(self.now) else {
            self.now = next.max(self.now + Duration::from_millis(1));
            return;
        };
        self.now += Duration::from_secs_f64(step_ms(&work) / 1e3);
        self.rehearsal.end(self.now);
        let (first_token_ms, refused) = (&mut self.first_token_ms, &mut self.refused);
        self.open.retain_mut(|line| {
            let ends =
                std::iter::from_fn(|| line.ready()).find(|event| !matches!(event, Event::Started { .. }));
            match ends {
                None => return true,
                Some(Event::Finished { usage, .. }) => first_token_ms.push(usage.first_token_ms),
                Some(Event::Failed { error: EngineError::DeadlineExceeded { .. } }) => *refused += 1,
                Some(other) => panic!("{other:?}"),
            }
            false
        });
    }

    fn found(mut self) -> Found {
        self.first_token_ms.sort_by(f64::total_cmp);
        let answered = self.first_token_ms.len();
        Found { answered, refused: self.refused, first_token_ms: self.first_token_ms[answered * 95 / 100] }
    }
}

/// So many lines at a time as there are rows.
fn as_many_as_rows(seconds: u64) -> Found {
    let mut server = Server::new(1);
    let end = server.now + Duration::from_secs(seconds);
    while server.now < end {
        while server.open.len() < ROWS {
            server.ask();
        }
        server.step(end);
    }
    server.found()
}

impl Server {
    /// So many lines a second for so many seconds, at random.
    fn at_random(&mut self, seconds: u64, rate: f64) {
        let (mut next, end) = (self.now, self.now + Duration::from_secs(seconds));
        while self.now < end {
            while next <= self.now {
                self.ask();
                next += Duration::from_secs_f64(-(1.0 - self.rng.random::<f64>()).ln() / rate);
            }
            self.step(next);
        }
    }
}

fn at_random(seconds: u64, rate: f64, seed: u64) -> Found {
    let mut server = Server::new(seed);
    server.at_random(seconds, rate);
    server.found()
}

/// Who is admitted gets the first token as soon as under a light load, or half as late again, for ten minutes.
#[test]
fn those_who_are_admitted_are_answered_soon_however_many_come() {
    const SECONDS: u64 = 600;
    let capacity = as_many_as_rows(120).answered as f64 / 120.0;
    for seed in 1..=3 {
        let light = at_random(SECONDS, capacity * 0.8, seed);
        assert!(light.refused * 100 < light.answered, "{} of {}", light.refused, light.answered);
        for times in [1.35, 1.5, 2.0, 3.0] {
            let heavy = at_random(SECONDS, capacity * times, seed);
            let ratio = heavy.first_token_ms / light.first_token_ms;
            assert!(ratio < 1.5, "{times} times the capacity, {seed}: {ratio} times as late as at 80 %");
            let answered = heavy.answered as f64 / SECONDS as f64 / capacity;
            assert!(answered > 0.95, "{times} times the capacity, {seed}: {answered} of it are answered");
        }
    }
}

/// When no more come than can be answered, they are soon as good as all answered.
#[test]
fn overload_ends_when_no_more_come_than_can_be_answered() {
    let capacity = as_many_as_rows(120).answered as f64 / 120.0;
    for seed in 1..=3 {
        for (times, most) in [(0.5, 0.0), (0.8, 0.01), (0.9, 0.03)] {
            let mut server = Server::new(seed);
            server.at_random(60, capacity * 2.0);
            server.at_random(30, capacity * times);
            let before = server.refused;
            server.at_random(300, capacity * times);
            let refused = (server.refused - before) as f64 / (300.0 * capacity * times);
            assert!(refused <= most, "{times} of the capacity, {seed}: {refused} of the lines are refused");
        }
    }
}
