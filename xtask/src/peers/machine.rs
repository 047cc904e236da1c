//! What others do on this machine.

use std::thread::sleep;
use std::time::Duration;

/// How long it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// The share of this machine's processors that others take, 0 to 1; 0 where the system does not tell. Looked at
/// while nothing of ours runs.
pub fn busy() -> f64 {
    let read = || std::fs::read_to_string("/proc/stat").ok().and_then(|text| times(&text));
    let Some(before) = read() else { return 0.0 };
    sleep(LOOK);
    let Some(after) = read() else { return 0.0 };
    let (all, idle) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    if all == 0 { 0.0 } else { 1.0 - idle as f64 / all as f64 }
}

/// All time and idle time of all processors, of the first line of `/proc/stat`.
fn times(text: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what guests took is in user already.
    let idle = numbers.get(3)? + numbers.get(4)?;
    Some((numbers.iter().take(8).sum(), idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed() {
        assert_eq!(times("cpu  10 1 5 100 4 0 2 3 9 9\ncpu0 1"), Some((125, 104)));
        assert_eq!(times("intr 5"), None);
        assert!((0.0..=1.0).contains(&busy()));
    }
}
