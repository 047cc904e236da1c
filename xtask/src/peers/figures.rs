//! Figures of one closed loop, whoever answered it.

use serde_json::{Value, json};

/// The median, the 95th and the 99th percentile.
pub type Percentiles = [f64; 3];

/// Units are in the names.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub tokens_per_second: f64,
    pub first_token_ms: Percentiles,
    pub inter_token_ms: Percentiles,
}

/// The value that a share of the values lies below, between neighbours by linear interpolation; 0 of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = last as f64 * share;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * at.fract()
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn percentiles(values: &[f64]) -> Percentiles {
    [0.5, 0.95, 0.99].map(|share| quantile(values, share))
}

impl Figures {
    /// Of a report of `npc-gateway bench socket` that measured one case.
    pub fn of_gateway(report: &Value) -> Option<Self> {
        let result = report["results"].as_array()?.first()?;
        let three = |name: &str| {
            let of = |share: &str| result[name][share].as_f64();
            Some([of("p50")?, of("p95")?, of("p99")?])
        };
        Some(Self {
            tokens_per_second: result["tokens_per_second"].as_f64()?,
            first_token_ms: three("first_token_ms")?,
            inter_token_ms: three("inter_token_ms")?,
        })
    }

    /// The median of each figure.
    pub fn median(all: &[Self]) -> Self {
        let of = |value: &dyn Fn(&Self) -> f64| median(&all.iter().map(value).collect::<Vec<_>>());
        Self {
            tokens_per_second: of(&|f| f.tokens_per_second),
            first_token_ms: [0, 1, 2].map(|at| of(&|f| f.first_token_ms[at])),
            inter_token_ms: [0, 1, 2].map(|at| of(&|f| f.inter_token_ms[at])),
        }
    }

    pub fn json(&self) -> Value {
        let three = |[p50, p95, p99]: Percentiles| json!({"p50": p50, "p95": p95, "p99": p99});
        json!({
            "tokens_per_second": self.tokens_per_second,
            "first_token_ms": three(self.first_token_ms),
            "inter_token_ms": three(self.inter_token_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let figures = Figures {
            tokens_per_second: 9.5,
            first_token_ms: [1.0, 2.0, 3.0],
            inter_token_ms: [4.0, 5.0, 6.0],
        };
        assert_eq!(Figures::of_gateway(&json!({"results": [figures.json()]})), Some(figures));
        assert_eq!(Figures::of_gateway(&json!({"results": [{"tokens_per_second": 1}]})), None);
    }

    #[test]
    fn medians_are_of_each_figure() {
        let of = |rate: f64, first: f64| Figures {
            tokens_per_second: rate,
            first_token_ms: [first; 3],
            inter_token_ms: [1.0; 3],
        };
        assert_eq!(Figures::median(&[of(1.0, 9.0), of(3.0, 8.0), of(2.0, 7.0)]), of(2.0, 8.0));
        assert_eq!(percentiles(&(0..=100).map(f64::from).collect::<Vec<_>>()), [50.0, 95.0, 99.0]);
        assert_eq!(median(&[]), 0.0);
    }
}
