//! A circuit breaker: a model that fails again and again is left alone for a while, and then tried with one line.

use std::time::{Duration, Instant};

/// How it stands with a model. Time is given to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open it.
    most: u32,
    /// How long it stays open.
    pause: Duration,
    failures: u32,
    /// Since when it is open, or, while the one line that tries it is on its way, when that was sent.
    opened: Option<Instant>,
    /// The line that tries it.
    trying: bool,
}

impl Breaker {
    pub fn new(most: u32, pause: Duration) -> Self {
        Self { most: most.max(1), pause, failures: 0, opened: None, trying: false }
    }

    /// Whether a line may be sent.
    pub fn is_closed(&self, now: Instant) -> bool {
        self.opened.is_none_or(|at| now.saturating_duration_since(at) >= self.pause)
    }

    /// A line is to be sent; false: it may not. Of those that come after the pause only the first may, until it is known
    /// how that went, or another pause has passed.
    pub fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.is_closed(now);
        if admitted && self.opened.is_some() {
            (self.opened, self.trying) = (Some(now), true);
        }
        admitted
    }

    /// A line was answered.
    pub fn succeeded(&mut self) {
        (self.failures, self.opened, self.trying) = (0, None, false);
    }

    /// A line was not answered, which was its own fault: of the model it says only that it is there again.
    pub fn excused(&mut self) {
        if self.trying {
            self.succeeded();
        }
    }

    /// A line failed. Returns whether that has opened it.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = self.trying || (self.opened.is_none() && self.failures >= self.most);
        if opens {
            (self.opened, self.trying) = (Some(now), false);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_when_one_line_is_answered() {
        let (mut breaker, start) = (Breaker::new(3, PAUSE), Instant::now());
        assert!(!breaker.failed(start) && !breaker.failed(start));
        breaker.succeeded();
        assert!(!breaker.failed(start) && !breaker.failed(start) && breaker.failed(start));
        assert!(!breaker.admit(start + PAUSE / 2));
        let later = start + PAUSE;
        assert!(breaker.is_closed(later) && breaker.admit(later));
        assert!(!breaker.admit(later), "one line tries it");
        assert!(breaker.failed(later), "and it is open again at once");
        assert!(!breaker.admit(later + PAUSE / 2));
        assert!(breaker.admit(later + PAUSE));
        breaker.succeeded();
        assert!(breaker.admit(later + PAUSE) && breaker.admit(later + PAUSE));
        assert!(!breaker.failed(later) && !breaker.failed(later));
        breaker.excused();
        assert!(breaker.failed(later), "an excuse does not make up for failures");
        assert!(breaker.admit(later + PAUSE));
        breaker.excused();
        assert!(breaker.admit(later + PAUSE) && breaker.admit(later + PAUSE), "but it answers again");
    }

    #[test]
    fn a_line_that_never_comes_back_does_not_keep_it_open_for_ever() {
        let (mut breaker, start) = (Breaker::new(1, PAUSE), Instant::now());
        breaker.failed(start);
        assert!(breaker.admit(start + PAUSE));
        assert!(!breaker.admit(start + PAUSE));
        assert!(breaker.admit(start + PAUSE * 2));
    }

    proptest! {
        /// While it is open nothing is admitted within the pause.
        #[test]
        fn nothing_is_sent_to_a_model_within_the_pause(steps in prop::collection::vec((0_u64..6, 0_u8..3), 0..60)) {
            let (mut breaker, mut now) = (Breaker::new(2, PAUSE), Instant::now());
            let mut closed_again = now;
            for (seconds, what) in steps {
                now += Duration::from_secs(seconds);
                match what {
                    0 => prop_assert!(!breaker.admit(now) || now >= closed_again),
                    1 => breaker.succeeded(),
                    _ => if breaker.failed(now) {
                        closed_again = now + PAUSE;
                    },
                }
                if what == 1 {
                    closed_again = now;
                }
            }
        }
    }
}
