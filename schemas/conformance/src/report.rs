//! What came of every case.

use std::fmt;

use serde::Serialize;

/// What came of a case in one subprotocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    Passed,
    Failed {
        reason: String,
        /// The last frames, oldest first.
        trace: Vec<String>,
    },
    /// The protocol knows it, and this server does not have it.
    NotAvailable {
        reason: String,
    },
    /// This run lacked something that the case needs.
    Skipped {
        reason: String,
    },
}

/// One line of a report.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// `file/case`.
    pub case: String,
    pub subprotocol: &'static str,
    pub proves: Vec<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// All that came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub address: String,
    /// `server` of `hello`.
    pub server: String,
    /// `engine` of `hello`.
    pub engine: String,
    pub verdicts: Vec<Verdict>,
}

impl Report {
    fn count(&self, is: fn(&Outcome) -> bool) -> usize {
        self.verdicts.iter().filter(|verdict| is(&verdict.outcome)).count()
    }

    pub fn passed(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Passed)
    }

    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed { .. }))
    }

    /// Names of the cases that failed, each once.
    pub fn failures(&self) -> Vec<&str> {
        let failed = self.verdicts.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Failed { .. }));
        let mut names: Vec<&str> = failed.map(|verdict| verdict.case.as_str()).collect();
        names.dedup();
        names
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}, engine {}", self.server, self.address, self.engine)?;
        for Verdict { case, subprotocol, proves, outcome } in &self.verdicts {
            match outcome {
                Outcome::Passed => writeln!(f, "passed         {case} ({subprotocol})")?,
                Outcome::NotAvailable { reason } => {
                    writeln!(f, "not available  {case} ({subprotocol}): {reason}")?;
                }
                Outcome::Skipped { reason } => {
                    writeln!(f, "skipped        {case} ({subprotocol}): {reason}")?;
                }
                Outcome::Failed { reason, trace } => {
                    writeln!(f, "FAILED         {case} ({subprotocol}): {reason}")?;
                    for sentence in proves {
                        writeln!(f, "    the protocol: {sentence}")?;
                    }
                    for line in trace {
                        writeln!(f, "    {line}")?;
                    }
                }
            }
        }
        let (missing, skipped) = (
            self.count(|outcome| matches!(outcome, Outcome::NotAvailable { .. })),
            self.count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
        );
        let (passed, failed) = (self.passed(), self.failed());
        writeln!(f, "{passed} passed, {failed} failed, {missing} not available, {skipped} skipped")
    }
}
