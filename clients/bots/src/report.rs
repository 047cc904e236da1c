//! What was counted and measured, and which promises broke.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Broken promises that are kept word for word; more are counted.
const KEPT: usize = 20;
/// Longest time that is told from longer ones, in microseconds: ten minutes.
const MAX_MICROS: u64 = 600_000_000;

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Filled by all players of a run.
#[derive(Debug, Default)]
pub struct Report {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: BTreeMap<&'static str, u64>,
    figures: BTreeMap<&'static str, f64>,
    /// In microseconds.
    times: BTreeMap<&'static str, Histogram<u64>>,
    broken: Vec<String>,
    broken_count: usize,
}

impl Report {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts one.
    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    /// Counts many; of 0 the line is there.
    pub fn add(&self, what: &'static str, many: u64) {
        *self.inner().counts.entry(what).or_default() += many;
    }

    /// How many were counted.
    pub fn counted(&self, what: &str) -> u64 {
        self.inner().counts.get(what).copied().unwrap_or(0)
    }

    /// Notes a figure that is no time.
    pub fn figure(&self, what: &'static str, value: f64) {
        self.inner().figures.insert(what, value);
    }

    /// The figure of this name.
    pub fn figured(&self, what: &str) -> Option<f64> {
        self.inner().figures.get(what).copied()
    }

    /// Notes how long something took.
    pub fn time(&self, what: &'static str, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MAX_MICROS).clamp(1, MAX_MICROS);
        let mut inner = self.inner();
        if !inner.times.contains_key(what) {
            // Three digits of every time; never refused.
            let Ok(times) = Histogram::new(3) else { return };
            inner.times.insert(what, times);
        }
        if let Some(times) = inner.times.get_mut(what) {
            // It grows to what it is given.
            let _ = times.record(micros);
        }
    }

    /// A percentile of what was noted, if anything was.
    pub fn percentile(&self, what: &str, percent: f64) -> Option<Duration> {
        let inner = self.inner();
        let times = inner.times.get(what).filter(|times| !times.is_empty())?;
        Some(Duration::from_micros(times.value_at_percentile(percent)))
    }

    /// A promise of the protocol broke.
    pub fn broke(&self, what: String) {
        let mut inner = self.inner();
        inner.broken_count += 1;
        if inner.broken.len() < KEPT {
            inner.broken.push(what);
        }
    }

    /// How many promises broke.
    pub fn broken(&self) -> usize {
        self.inner().broken_count
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let inner = self.inner();
        let mut text = String::new();
        for (what, count) in &inner.counts {
            let _ = writeln!(text, "{what:<40} {count:>12}");
        }
        for (what, value) in &inner.figures {
            let _ = writeln!(text, "{what:<40} {value:>12.3}");
        }
        if !inner.times.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<40} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
                "milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"
            );
        }
        for (what, times) in &inner.times {
            let _ = write!(text, "{what:<40} {:>9}", times.len());
            let values = PERCENTILES.map(|(_, percent)| times.value_at_percentile(percent));
            for micros in values.into_iter().chain([times.max()]) {
                let _ = write!(text, " {:>10.2}", micros as f64 / 1e3);
            }
            text.push('\n');
        }
        if inner.broken_count == 0 {
            text.push_str("\nno promise broke\n");
        } else {
            let _ = writeln!(text, "\n{} promises broke:", inner.broken_count);
            for what in &inner.broken {
                let _ = writeln!(text, "- {what}");
            }
            if inner.broken_count > inner.broken.len() {
                let _ = writeln!(text, "- and {} more", inner.broken_count - inner.broken.len());
            }
        }
        text
    }

    /// The same for programs; times in milliseconds.
    pub fn json(&self) -> Value {
        let inner = self.inner();
        let times: Map<String, Value> = inner
            .times
            .iter()
            .map(|(what, times)| {
                let mut values = Map::from_iter([("count".to_owned(), times.len().into())]);
                for (name, percent) in PERCENTILES {
                    values.insert(name.into(), (times.value_at_percentile(percent) as f64 / 1e3).into());
                }
                values.insert("max".into(), (times.max() as f64 / 1e3).into());
                ((*what).to_owned(), values.into())
            })
            .collect();
        json!({
            "counts": inner.counts, "figures": inner.figures, "milliseconds": times,
            "broken": inner.broken_count, "examples": inner.broken,
        })
    }

    /// Writes the JSON into a file.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.json())?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write --json {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_the_table_and_in_the_json() {
        let report = Report::default();
        report.add("turns", 3);
        report.figure("ratio", 0.5);
        for ms in 1..=100 {
            report.time("turn", Duration::from_millis(ms));
        }
        for number in 0..25 {
            report.broke(format!("hole {number}"));
        }
        assert_eq!(report.percentile("turn", 50.0).unwrap().as_millis(), 50);
        let (table, json) = (report.table(), report.json());
        for words in ["turns", "25 promises broke", "hole 19", "and 5 more", "p99.9"] {
            assert!(table.contains(words), "{words}: {table}");
        }
        assert_eq!((&json["broken"], &json["counts"]["turns"]), (&25.into(), &3.into()));
        assert_eq!(json["milliseconds"]["turn"]["count"], 100);
    }
}
