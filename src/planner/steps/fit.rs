//! Step times from measured steps: least squares with terms that are not negative.

use serde::{Deserialize, Serialize};

use super::super::input::{self, InputError};
use super::{MAX_SECONDS, StepPoint, StepShape, StepTimes};

/// Samples that one fit takes.
const MAX_SAMPLES: u64 = 100_000;

/// Points of the curve at most. More would follow the noise.
const MAX_KNOTS: usize = 16;

/// Sweeps over the terms until they are taken to stand.
const MAX_SWEEPS: usize = 20_000;

/// A sweep that changes no term by more than this share of the largest is the last.
const STANDS: f64 = 1e-12;

/// A step that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub shape: StepShape,
    /// Median of its repeats.
    pub seconds: f64,
}

/// Fitted times, and how far they are from what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    pub times: StepTimes,
    /// Of |fitted − measured| / measured over the samples.
    pub median_error: f64,
    pub largest_error: f64,
}

impl StepTimes {
    /// The times that come nearest to the samples: least squares of the relative errors, all terms at least 0. The
    /// curve's points are at the samples' counts of tokens that are powers of two, and at the least and the most; it
    /// never falls.
    ///
    /// # Errors
    /// No samples or more than 100,000; one without tokens, or with a time that is not above 0 and at most an hour.
    pub fn fit(samples: &[Sample]) -> Result<Fit, InputError> {
        input::whole("samples (how many)", samples.len() as u64, 1, MAX_SAMPLES)?;
        for (index, sample) in samples.iter().enumerate() {
            let key = |field: &str| format!("samples[{index}].{field}");
            input::whole(&key("shape.tokens"), sample.shape.tokens as u64, 1, 1 << 24)?;
            input::number(&key("seconds"), sample.seconds, 1e-9, MAX_SECONDS)?;
        }
        let knots = knots(samples);
        let rows: Vec<Vec<f64>> = samples.iter().map(|sample| row(sample, &knots)).collect();
        let terms = non_negative(&rows);
        let (steps, rest) = terms.split_at(knots.len());
        let mut seconds = 0.0;
        let points = knots.iter().zip(steps).map(|(tokens, more)| {
            seconds += more;
            StepPoint { tokens: *tokens, seconds }
        });
        let mut points: Vec<StepPoint> = points.collect();
        // A step is never free: what the other terms explain wholly leaves nothing for the first point.
        for point in &mut points {
            point.seconds = point.seconds.max(1e-9);
        }
        let [logits_s, attended_s, read_s, mixed_s] =
            [0, 1, 2, 3].map(|at| rest.get(at).copied().unwrap_or(0.0));
        let times = StepTimes { points, logits_s, attended_s, read_s, mixed_s, step_overhead_s: 0.0 };
        let mut errors: Vec<f64> = samples
            .iter()
            .map(|sample| (times.seconds(sample.shape) - sample.seconds).abs() / sample.seconds)
            .collect();
        errors.sort_by(f64::total_cmp);
        let (median_error, largest_error) = (errors[errors.len() / 2], errors[errors.len() - 1]);
        Ok(Fit { times, median_error, largest_error })
    }
}

/// Where the curve has its points, ascending.
fn knots(samples: &[Sample]) -> Vec<usize> {
    let mut all: Vec<usize> = samples.iter().map(|sample| sample.shape.tokens).collect();
    all.sort_unstable();
    all.dedup();
    let (first, last) = (all[0], all[all.len() - 1]);
    all.retain(|tokens| tokens.is_power_of_two() || *tokens == first || *tokens == last);
    while all.len() > MAX_KNOTS {
        // The steepest part of the curve is at its beginning, but there the points lie closest too.
        all.remove(1);
    }
    all
}

/// What each term adds to a sample's time, as a share of it: the rises between the points, then logits, positions
/// looked at, positions read, and adapters.
fn row(sample: &Sample, knots: &[usize]) -> Vec<f64> {
    let shape = sample.shape;
    let tokens = shape.tokens as f64;
    let rises = knots.iter().enumerate().map(|(at, knot)| {
        let Some(before) = at.checked_sub(1).map(|at| knots[at] as f64) else { return 1.0 };
        ((tokens - before) / (*knot as f64 - before)).clamp(0.0, 1.0)
    });
    let rest = [shape.logits, shape.attended, shape.read, shape.mixed].map(|count| count as f64);
    rises.chain(rest).map(|value| value / sample.seconds).collect()
}

/// The terms x ≥ 0 that make the squares of `rows`·x − 1 least, one term after another until they stand. The problem is
/// convex, so that ends at the least (Franc et al. 2005, "Sequential Coordinate-Wise Algorithm for the Non-negative Least
/// Squares Problem").
fn non_negative(rows: &[Vec<f64>]) -> Vec<f64> {
    let count = rows.first().map_or(0, Vec::len);
    // Terms of one length, so that none is found slower for its unit alone.
    let lengths: Vec<f64> = (0..count)
        .map(|at| rows.iter().map(|row| row[at] * row[at]).sum::<f64>().sqrt().max(f64::MIN_POSITIVE))
        .collect();
    let product = |a: usize, b: usize| {
        rows.iter().map(|row| (row[a] / lengths[a]) * (row[b] / lengths[b])).sum::<f64>()
    };
    let square: Vec<Vec<f64>> = (0..count).map(|a| (0..count).map(|b| product(a, b)).collect()).collect();
    let mut terms = vec![0.0_f64; count];
    // Half of the gradient.
    let mut slopes: Vec<f64> =
        (0..count).map(|at| -rows.iter().map(|row| row[at] / lengths[at]).sum::<f64>()).collect();
    for _ in 0..MAX_SWEEPS {
        let (mut most, mut change) = (0.0_f64, 0.0_f64);
        for at in 0..count {
            let curvature = square[at][at];
            if curvature <= 0.0 {
                continue;
            }
            let next = (terms[at] - slopes[at] / curvature).max(0.0);
            let by = next - terms[at];
            if by != 0.0 {
                for (slope, other) in slopes.iter_mut().zip(&square[at]) {
                    *slope += by * other;
                }
                terms[at] = next;
            }
            most = most.max(next);
            change = change.max(by.abs());
        }
        if change <= STANDS * most {
            break;
        }
    }
    terms.iter().zip(&lengths).map(|(term, length)| term / length).collect()
}
