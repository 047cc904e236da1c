use proptest::prelude::*;

use super::*;

fn times() -> StepTimes {
    StepTimes {
        points: vec![
            StepPoint { tokens: 1, seconds: 0.010 },
            StepPoint { tokens: 16, seconds: 0.016 },
            StepPoint { tokens: 128, seconds: 0.072 },
        ],
        logits_s: 1e-4,
        attended_s: 1e-7,
        read_s: 2e-7,
        mixed_s: 2e-5,
        step_overhead_s: 0.0,
    }
}

fn shape(tokens: usize, logits: usize, attended: usize, mixed: usize) -> StepShape {
    StepShape { tokens, logits, attended, read: attended, mixed }
}

fn near(value: f64, wanted: f64, share: f64) {
    assert!((value - wanted).abs() <= wanted.abs() * share, "{value} instead of {wanted}");
}

#[test]
fn the_curve_goes_through_its_points_and_beyond_them() {
    let times = StepTimes { step_overhead_s: 0.001, ..times() };
    assert_eq!(times.seconds(shape(0, 0, 0, 0)), 0.0);
    for (tokens, seconds) in [(1, 0.011), (16, 0.017), (72, 0.045), (128, 0.073), (256, 0.137)] {
        near(times.seconds(shape(tokens, 0, 0, 0)), seconds, 1e-12);
    }
    near(times.seconds(shape(1, 1, 1000, 3)), 0.011 + 1e-4 + 1e-4 + 2e-4 + 6e-5, 1e-12);
}

#[test]
fn on_a_slower_machine_everything_takes_longer() {
    let all = StepTimes { step_overhead_s: 0.001, ..times() };
    let shape = shape(40, 3, 5000, 12);
    near(all.slower(1.5).seconds(shape), 1.5 * all.seconds(shape), 1e-12);
}

#[test]
fn what_cannot_be_is_named() {
    let said = |times: StepTimes| times.check("steps").unwrap_err().to_string();
    assert!(times().check("steps").is_ok());
    let mut falls = times();
    falls.points[1].seconds = 0.001;
    assert_eq!(said(falls), "steps.points[1].seconds is 0.001, but must be 0.01 to 3600");
    let mut twice = times();
    twice.points[1].tokens = 1;
    assert_eq!(said(twice), "steps.points[1].tokens is 1, but must be 2 to 16777216");
    assert!(said(StepTimes { points: Vec::new(), ..times() }).starts_with("steps.points (how many) is 0"));
    assert!(said(StepTimes { mixed_s: -1.0, ..times() }).starts_with("steps.mixed_s is -1"));
}

/// Steps as the bench makes them.
fn grid(times: &StepTimes) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |shape| samples.push(Sample { shape, seconds: times.seconds(shape) });
    for tokens in [1, 2, 4, 8, 16, 32] {
        for past in [64, 256, 512] {
            for mixed in [0, tokens, 3 * tokens] {
                add(shape(tokens, tokens, tokens * past, mixed));
            }
        }
    }
    for tokens in [16, 32, 64, 128, 256] {
        for (logits, past) in [(0, 0), (1, 0), (1, 256)] {
            // A prompt's tokens share what they look at.
            let attended = tokens * past + tokens * tokens / 2;
            add(StepShape { read: past + tokens, ..shape(tokens, logits, attended, 0) });
        }
    }
    samples
}

#[test]
fn a_fit_finds_the_times_that_made_the_samples() {
    let mut made = times();
    made.points = [1, 2, 4, 8, 16, 32, 64, 128, 256]
        .map(|tokens| StepPoint { tokens, seconds: 0.008 + 0.0004 * (tokens as f64).powf(0.9) })
        .to_vec();
    let fit = StepTimes::fit(&grid(&made)).unwrap();
    assert!(fit.largest_error < 1e-3, "{fit:?}");
    for (found, wanted) in [
        (fit.times.logits_s, made.logits_s),
        (fit.times.attended_s, made.attended_s),
        (fit.times.read_s, made.read_s),
        (fit.times.mixed_s, made.mixed_s),
    ] {
        near(found, wanted, 0.02);
    }
    assert!(fit.times.check("steps").is_ok());
}

#[test]
fn noise_is_averaged_and_reported() {
    let mut samples = grid(&times());
    for (index, sample) in samples.iter_mut().enumerate() {
        sample.seconds *= if index % 2 == 0 { 1.1 } else { 0.9 };
    }
    let fit = StepTimes::fit(&samples).unwrap();
    assert!(fit.median_error > 0.03 && fit.largest_error < 0.3, "{fit:?}");
    near(fit.times.seconds(shape(8, 8, 2048, 0)), times().seconds(shape(8, 8, 2048, 0)), 0.06);
}

#[test]
fn a_bench_report_is_read() {
    let fit = StepTimes::fit(&grid(&times())).unwrap();
    let text =
        serde_json::json!({"version": 1, "steps": {"rows": 32, "samples": [], "fit": fit}}).to_string();
    assert_eq!(StepTimes::from_bench("steps.json", &text).unwrap(), fit.times);
    let said = |text: &str| StepTimes::from_bench("steps.json", text).unwrap_err().to_string();
    assert!(said("{}").starts_with("steps.json: has no steps: measure them with"), "{}", said("{}"));
    assert!(said("[").starts_with("steps.json: "));
}

proptest! {
    #[test]
    fn a_fit_is_never_negative_and_never_falls(
        all in proptest::collection::vec((1..500_usize, 0..40_usize, 0..100_000_usize, 0..100_usize, 1e-4..1.0_f64), 1..40)
    ) {
        let samples: Vec<Sample> = all
            .into_iter()
            .map(|(tokens, logits, attended, mixed, seconds)| Sample { shape: shape(tokens, logits, attended, mixed), seconds })
            .collect();
        let fit = StepTimes::fit(&samples).unwrap();
        prop_assert!(fit.times.check("steps").is_ok(), "{:?}", fit);
        prop_assert!(fit.median_error <= fit.largest_error);
    }

    #[test]
    fn more_work_never_takes_less(a in (1..500_usize, 0..40_usize, 0..100_000_usize), more in 0..100_usize) {
        let (tokens, logits, attended) = a;
        let less = times().seconds(shape(tokens, logits, attended, 0));
        prop_assert!(times().seconds(shape(tokens + more, logits + more, attended + more, more)) >= less - 1e-12);
    }

    #[test]
    fn odd_samples_are_refused_not_fitted(tokens in 0..3_usize, seconds: f64) {
        let good = tokens > 0 && (1e-9..=3600.0).contains(&seconds);
        prop_assert_eq!(StepTimes::fit(&[Sample { shape: shape(tokens, 0, 0, 0), seconds }]).is_ok(), good);
    }
}
