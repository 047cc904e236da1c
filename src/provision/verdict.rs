//! Whether an adapter is worth having: its figures on the lines that were held out, against the base model's.

use serde::{Deserialize, Serialize};

/// `metrics.json`, as the trainer writes it beside an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub examples: u64,
    /// Lines that were held out.
    pub held_out: u64,
    /// The base model's loss on them, in nats a token.
    pub base_loss: f64,
    pub loss: f64,
    /// The share of them that was answered right, where answers are right or wrong.
    #[serde(default)]
    pub accuracy: Option<f64>,
    #[serde(default)]
    pub base_accuracy: Option<f64>,
    /// The share that the most frequent answer alone would get right.
    #[serde(default)]
    pub majority: Option<f64>,
}

impl Metrics {
    /// # Errors
    /// Why they cannot be judged.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let metrics: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        for (name, loss) in [("base_loss", metrics.base_loss), ("loss", metrics.loss)] {
            if !loss.is_finite() || loss < 0.0 {
                return Err(format!("{name} is {loss}, but must be a loss"));
            }
        }
        let shares = [
            ("accuracy", metrics.accuracy),
            ("base_accuracy", metrics.base_accuracy),
            ("majority", metrics.majority),
        ];
        for (name, share) in shares {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(format!("{name} is {}, but must be from 0 to 1", share.unwrap_or_default()));
            }
        }
        Ok(metrics)
    }

    /// Whether the adapter is better than the base model: where answers are right or wrong it answers more of them
    /// right, or as many with less doubt; elsewhere its loss is lower.
    ///
    /// # Errors
    /// The numbers, in words.
    pub fn judge(&self) -> Result<(), String> {
        if self.held_out == 0 {
            return Err("no lines were held out to measure it on".to_owned());
        }
        let Self { held_out, base_loss, loss, .. } = self;
        let lower = loss < base_loss;
        let losses =
            format!("its loss on {held_out} held-out lines is {loss:.3}, the base model's {base_loss:.3}");
        match (self.accuracy, self.base_accuracy) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(losses: (f64, f64), accuracies: Option<(f64, f64)>) -> Metrics {
        Metrics {
            examples: 90,
            held_out: 10,
            base_loss: losses.0,
            loss: losses.1,
            accuracy: accuracies.map(|(_, own)| own),
            base_accuracy: accuracies.map(|(base, _)| base),
            majority: accuracies.map(|_| 0.5),
        }
    }

    #[test]
    fn what_is_not_better_is_told_with_its_numbers() {
        assert_eq!(metrics((3.0, 2.0), None).judge(), Ok(()));
        let worse = metrics((2.0, 2.5), None).judge().unwrap_err();
        assert!(worse.contains("10 held-out lines is 2.500, the base model's 2.000"), "{worse}");
        assert!(metrics((2.0, 2.0), None).judge().is_err(), "as good is not better");
    }

    #[test]
    fn where_answers_are_right_or_wrong_that_counts_first() {
        assert_eq!(metrics((1.0, 1.1), Some((0.4, 0.6))).judge(), Ok(()));
        assert_eq!(metrics((1.0, 0.9), Some((0.6, 0.6))).judge(), Ok(()));
        let worse = metrics((1.0, 0.5), Some((0.6, 0.5))).judge().unwrap_err();
        assert!(worse.contains("50.0 % of 10 held-out lines right, the base model 60.0 %"), "{worse}");
        assert!(metrics((1.0, 1.0), Some((0.6, 0.6))).judge().is_err());
    }

    #[test]
    fn without_held_out_lines_nothing_is_known() {
        let unmeasured = Metrics { held_out: 0, ..metrics((3.0, 1.0), None) };
        assert!(unmeasured.judge().unwrap_err().contains("held out"));
    }

    #[test]
    fn figures_that_are_none_are_refused() {
        let parse = |text: &str| Metrics::parse(text.as_bytes());
        let good =
            r#"{"task":"personality","examples":1,"held_out":1,"base_loss":2,"loss":1,"accuracy":null}"#;
        assert_eq!(parse(good).unwrap().accuracy, None);
        for (text, named) in [
            (r#"{"examples":1,"held_out":1,"base_loss":2}"#, "loss"),
            (r#"{"examples":1,"held_out":1,"base_loss":2,"loss":-1}"#, "loss is -1"),
            (r#"{"examples":1,"held_out":1,"base_loss":2,"loss":1,"accuracy":1.5}"#, "accuracy is 1.5"),
            (r#"{"examples":1,"held_out":1,"base_loss":2,"loss":NaN}"#, "expected value"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
