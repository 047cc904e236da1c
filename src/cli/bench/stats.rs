//! Percentiles.

use serde::Serialize;

/// A distribution in short.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// The value that a share of the sorted values lies below, between neighbours by linear interpolation; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = last as f64 * share;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * at.fract()
}

pub fn percentiles(mut values: Vec<f64>) -> Percentiles {
    values.sort_by(f64::total_cmp);
    let at = |share| quantile(&values, share);
    Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

impl Percentiles {
    /// The median of each over several distributions.
    pub fn median(all: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| median(all.iter().map(value).collect());
        Self { p50: of(|p| p.p50), p95: of(|p| p.p95), p99: of(|p| p.p99) }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_where_they_should() {
        assert_eq!(percentiles(Vec::new()), Percentiles::default());
        let all = percentiles((0..=100).rev().map(f64::from).collect());
        assert_eq!(all, Percentiles { p50: 50.0, p95: 95.0, p99: 99.0 });
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        let two = Percentiles { p50: 100.0, p95: 5.0, p99: 101.0 };
        assert_eq!(Percentiles::median(&[all, two]), Percentiles { p50: 75.0, p95: 50.0, p99: 100.0 });
    }
}
