//! Whether more comes than can be computed, for longer than a burst lasts.
//!
//! A queue is there for bursts. One that stands makes every line late and lets no more of them through, so while the
//! load lasts a line is admitted only if its prompt would be begun almost at once, and refused at once otherwise: those
//! that are admitted are answered as soon as under a light load. The idea is that of the controlled-delay queue
//! (Nichols and Jacobson, "Controlling Queue Delay", 2012), with refusals in the place of drops. Lines that wait
//! already keep the time that they were given.

use std::time::{Duration, Instant};

/// Of the lines that come, the share that must be refused for the overload to go on. Without a queue a load of 80 %
/// has up to a fifth of its lines refused, one of 200 % more than half.
const REFUSED: f64 = 0.2;

/// Of the share that is refused, what the newest line counts for. Lines come at random: of 32 in a row there are often few
/// that are refused although twice as many come as can be answered, and every end by chance has the queue stand again
/// (`rehearsal/overload.rs` is such a load).
const NEWEST: f64 = 1.0 / 128.0;

/// How often the time after which overload begins nobody must have been refused for it to end, whatever the share is: a
/// lull of that time alone comes by chance.
const QUIET: u32 = 3;

/// The engine's thread tells it what happens; a plain struct without a clock.
#[derive(Debug)]
pub struct Pressure {
    /// How long lines must have waited without a break.
    after: Duration,
    /// Since when some line has always waited.
    waits_since: Option<Instant>,
    /// Lines that came so far and those of them that were refused.
    seen: Arrivals,
    /// When the last refusal was seen.
    refused_at: Option<Instant>,
    /// While overloaded: the share of refused lines.
    share: Option<f64>,
}

/// Counts of players' requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    pub came: u64,
    /// Of those that came, the ones that were turned away.
    pub refused: u64,
}

impl Pressure {
    pub fn new(after: Duration) -> Self {
        Self { after, waits_since: None, seen: Arrivals::default(), refused_at: None, share: None }
    }

    /// Whether the engine is overloaded, given whether lines wait and how many came so far.
    pub fn update(&mut self, now: Instant, lines_wait: bool, arrivals: Arrivals) -> bool {
        let refused = arrivals.refused.saturating_sub(self.seen.refused);
        let admitted = arrivals.came.saturating_sub(self.seen.came).saturating_sub(refused);
        self.seen = arrivals;
        if refused > 0 {
            self.refused_at = Some(now);
        }
        if let Some(share) = &mut self.share {
            // In which order they came within a step is not known.
            let keep = |count: u64| (1.0 - NEWEST).powi(i32::try_from(count).unwrap_or(i32::MAX));
            *share = 1.0 - (1.0 - *share * keep(admitted)) * keep(refused);
        }
        let quiet = self.refused_at.is_none_or(|at| now.saturating_duration_since(at) >= self.after * QUIET);
        if lines_wait {
            let since = *self.waits_since.get_or_insert(now);
            if self.share.is_none() && now.saturating_duration_since(since) >= self.after {
                self.share = Some(0.5);
            }
        } else {
            self.waits_since = None;
            self.share = self.share.filter(|share| !quiet && *share >= REFUSED);
        }
        self.share.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says at these milliseconds, with lines waiting or not and so many that came and were refused.
    fn says(events: &[(u64, bool, u64, u64)]) -> Vec<bool> {
        let (mut pressure, start) = (Pressure::new(Duration::from_secs(1)), Instant::now());
        events
            .iter()
            .map(|&(at, lines_wait, came, refused)| {
                pressure.update(start + Duration::from_millis(at), lines_wait, Arrivals { came, refused })
            })
            .collect()
    }

    #[test]
    fn a_burst_is_no_overload() {
        assert_eq!(
            says(&[(0, true, 9, 0), (900, true, 9, 0), (950, false, 9, 0), (1900, true, 20, 9)]),
            [false; 4]
        );
    }

    #[test]
    fn a_queue_that_stands_is_until_nobody_has_been_refused_for_a_while() {
        let events = [
            (0, true, 9, 0),
            (1000, true, 9, 0),
            (1100, true, 10, 1),
            (1900, false, 11, 2),
            (4800, false, 11, 2),
            (4899, true, 11, 2),
            (4900, false, 11, 2),
            (4950, true, 11, 2),
        ];
        assert_eq!(says(&events), [false, true, true, true, true, true, false, false]);
    }

    #[test]
    fn overload_lasts_as_long_as_many_of_those_that_come_are_refused() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        let mut now = Instant::now();
        let mut arrivals = Arrivals::default();
        let mut come = |pressure: &mut Pressure, lines: u64, of_ten: u64, wait: bool| {
            (0..lines).fold(false, |_, line| {
                now += Duration::from_millis(50);
                arrivals.came += 1;
                arrivals.refused += u64::from(line % 10 < of_ten);
                pressure.update(now, wait, arrivals)
            })
        };
        assert!(come(&mut pressure, 30, 0, true));
        assert!(come(&mut pressure, 1000, 5, false), "half of them are refused");
        assert!(come(&mut pressure, 30, 0, false), "none for a moment");
        assert!(!come(&mut pressure, 300, 1, false), "a tenth of them is refused");
        assert!(!come(&mut pressure, 100, 9, false), "nobody waits");
    }
}
