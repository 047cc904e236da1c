//! What is counted with: atomics, which nobody waits for.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Only ever grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn inc(&self) {
        self.add(1);
    }

    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// One of those that a [`Gauge`] counts, until it is dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a Gauge);

impl Gauge {
    /// One more, for as long as it is held.
    pub fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    pub fn set(&self, count: i64) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long things took.
#[derive(Debug)]
pub struct Histogram {
    /// In seconds, ascending.
    bounds: &'static [f64],
    /// By bucket, the last one without an upper bound. Not summed up.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    /// `bounds`: the upper bounds of the buckets in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Sum in seconds, and the buckets, each with its upper bound and what fell into it alone. The last bound is
    /// [`f64::INFINITY`], for all that is larger.
    pub fn get(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets = bounds.zip(counts).collect();
        (self.nanos.load(Ordering::Relaxed) as f64 / 1e9, buckets)
    }

    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::new(&[0.001, 0.5, 2.0]);
        for ms in [0, 1, 2, 500, 501, 2000, 60_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let (sum, buckets) = histogram.get();
        assert_eq!(buckets, [(0.001, 2), (0.5, 2), (2.0, 2), (f64::INFINITY, 1)]);
        assert!((sum - 63.004).abs() < 1e-9, "{sum}");
        assert_eq!(histogram.count(), 7);
    }

    #[test]
    fn a_gauge_counts_what_is_held() {
        let gauge = Gauge::default();
        let first = gauge.hold();
        let second = gauge.hold();
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop(second);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn threads_lose_no_count() {
        let (counter, histogram) = (Counter::default(), Histogram::new(super::super::bounds::STEP));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        counter.inc();
                        histogram.observe(Duration::from_micros(1500));
                    }
                });
            }
        });
        assert_eq!((counter.get(), histogram.count()), (40_000, 40_000));
        assert!((histogram.get().0 - 60.0).abs() < 1e-6);
    }
}
