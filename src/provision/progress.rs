//! What a trainer says on its standard output, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::archetype::Task;

/// How far the training of one task is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub task: Task,
    pub step: u64,
    pub steps: u64,
    /// Of the last step, in nats a token.
    pub loss: f64,
    /// The loss on the lines that are held out, once it was measured.
    #[serde(default)]
    pub held_out: Option<f64>,
    /// Seconds until the task is done, about.
    #[serde(default)]
    pub eta_s: Option<f64>,
}

impl Progress {
    /// Reads one line; `None`: it tells of no progress, as a library that writes there may.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let progress: Self = serde_json::from_slice(line).ok()?;
        let within = progress.step <= progress.steps && progress.loss.is_finite();
        within.then_some(progress)
    }

    pub fn is_done(&self) -> bool {
        self.step == self.steps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_the_trainer_is_read() {
        let line =
            br#"{"task":"dialogue_style","step":12,"steps":80,"loss":2.31,"held_out":null,"eta_s":40}"#;
        let progress = Progress::parse(line).unwrap();
        let wanted = (Task::DialogueStyle, 12, 80, 2.31, None, Some(40.0));
        let Progress { task, step, steps, loss, held_out, eta_s } = progress;
        assert_eq!((task, step, steps, loss, held_out, eta_s), wanted);
        assert!(!progress.is_done());
    }

    #[test]
    fn what_is_no_progress_is_passed_over() {
        for line in [
            "",
            "loading the model",
            "{}",
            r#"{"task":"juggling","step":1,"steps":2,"loss":1}"#,
            r#"{"task":"personality","step":3,"steps":2,"loss":1}"#,
            r#"{"task":"personality","step":-1,"steps":2,"loss":1}"#,
            r#"{"task":"personality","step":1,"steps":2,"loss":"low"}"#,
        ] {
            assert_eq!(Progress::parse(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Progress::parse(&line);
        }
    }
}
