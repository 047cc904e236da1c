//! The learning rate: it warms up, then falls along half a cosine.

/// The share of `peak` in step `step` (from 0) of `steps`: rises over the first `warm_up` steps, then falls to `floor`.
pub(crate) fn rate(step: usize, steps: usize, warm_up: usize, floor: f64) -> f64 {
    if step < warm_up {
        return (step + 1) as f64 / warm_up as f64;
    }
    let done = (step - warm_up) as f64 / (steps.saturating_sub(warm_up)).max(1) as f64;
    floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls() {
        let rates: Vec<f64> = (0..100).map(|step| rate(step, 100, 10, 0.1)).collect();
        assert!(
            (rates[0] - 0.1).abs() < 1e-9 && (rates[9] - 1.0).abs() < 1e-9 && (rates[10] - 1.0).abs() < 1e-9
        );
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b));
        assert!(rates[99] > 0.1 && rates[99] < 0.102);
        assert!((rate(5, 0, 0, 0.1) - 0.1).abs() < 1e-9);
    }
}
