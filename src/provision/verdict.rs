//! Whether an adapter is worth having: its figures on the lines that were held out, against the base model's.

use crate::archetype::Metrics;

/// Reads `metrics.json` as the trainer writes it.
///
/// # Errors
/// Why the adapter cannot be judged by it.
pub fn parse(bytes: &[u8]) -> Result<Metrics, String> {
    let metrics = Metrics::parse(bytes)?;
    let missing = [
        ("held_out", metrics.held_out.is_none()),
        ("base_loss", metrics.base_loss.is_none()),
        ("loss", metrics.loss.is_none()),
    ];
    match missing.iter().find(|(_, missing)| *missing) {
        Some((key, _)) => Err(format!("{key} is missing")),
        None => Ok(metrics),
    }
}

/// Whether the adapter is better than the base model: where answers are right or wrong it answers more of them right, or as
/// many with less doubt; elsewhere its loss is lower.
///
/// # Errors
/// The numbers, in words.
pub fn judge(metrics: &Metrics) -> Result<(), String> {
    let (Some(held_out), Some(base_loss), Some(loss)) = (metrics.held_out, metrics.base_loss, metrics.loss)
    else {
        return Err("it was not measured".to_owned());
    };
    if held_out == 0 {
        return Err("no lines were held out to measure it on".to_owned());
    }
    let lower = loss < base_loss;
    let losses =
        format!("its loss on {held_out} held-out lines is {loss:.3}, the base model's {base_loss:.3}");
    match (metrics.accuracy, metrics.base_accuracy) {
        (Some(own), Some(base)) if own > base || (own == base && lower) => Ok(()),
        (Some(own), Some(base)) => Err(format!(
            "not better than the base model: it answers {:.1} % of {held_out} held-out lines right, the base \
             model {:.1} %, and {losses}",
            own * 100.0,
            base * 100.0
        )),
        _ if lower => Ok(()),
        _ => Err(format!("not better than the base model: {losses}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(losses: (f64, f64), accuracies: Option<(f64, f64)>) -> Metrics {
        Metrics {
            examples: Some(90),
            held_out: Some(10),
            base_loss: Some(losses.0),
            loss: Some(losses.1),
            accuracy: accuracies.map(|(_, own)| own),
            base_accuracy: accuracies.map(|(base, _)| base),
            majority: accuracies.map(|_| 0.5),
        }
    }

    #[test]
    fn what_is_not_better_is_told_with_its_numbers() {
        assert_eq!(judge(&metrics((3.0, 2.0), None)), Ok(()));
        let worse = judge(&metrics((2.0, 2.5), None)).unwrap_err();
        assert!(worse.contains("10 held-out lines is 2.500, the base model's 2.000"), "{worse}");
        assert!(judge(&metrics((2.0, 2.0), None)).is_err(), "as good is not better");
    }

    #[test]
    fn where_answers_are_right_or_wrong_that_counts_first() {
        assert_eq!(judge(&metrics((1.0, 1.1), Some((0.4, 0.6)))), Ok(()));
        assert_eq!(judge(&metrics((1.0, 0.9), Some((0.6, 0.6)))), Ok(()));
        let worse = judge(&metrics((1.0, 0.5), Some((0.6, 0.5)))).unwrap_err();
        assert!(worse.contains("50.0 % of 10 held-out lines right, the base model 60.0 %"), "{worse}");
        assert!(judge(&metrics((1.0, 1.0), Some((0.6, 0.6)))).is_err());
    }

    #[test]
    fn without_held_out_lines_nothing_is_known() {
        let unmeasured = Metrics { held_out: Some(0), ..metrics((3.0, 1.0), None) };
        assert!(judge(&unmeasured).unwrap_err().contains("held out"));
    }

    #[test]
    fn figures_that_are_none_are_refused() {
        let parse = |text: &str| parse(text.as_bytes());
        let good =
            r#"{"task":"personality","examples":1,"held_out":1,"base_loss":2,"loss":1,"accuracy":null}"#;
        assert_eq!(parse(good).unwrap().accuracy, None);
        for (text, named) in [
            (r#"{"examples":1,"held_out":1,"base_loss":2}"#, "loss is missing"),
            (r#"{"examples":1,"held_out":1,"base_loss":2,"loss":-1}"#, "loss is -1"),
            (r#"{"examples":1,"held_out":1,"base_loss":2,"loss":1,"accuracy":1.5}"#, "accuracy is 1.5"),
            (r#"{"examples":1,"held_out":1,"base_loss":2,"loss":NaN}"#, "expected value"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
