//! One archetype on its way to adapters of its own: a plain struct without a clock and a disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::progress::Progress;
use crate::archetype::{Metrics, Task};

/// The form in which records are stored.
pub const FORMAT: u32 = 1;

/// Characters of a reason at most; the end of a trainer's last words counts more than their beginning.
const REASON_CHARS: usize = 1000;

/// Trainings of an archetype that may end by themselves, or with the server, without a step between them.
pub const FRUITLESS: u32 = 20;

/// How far an archetype is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProvisioningState)]
pub enum State {
    /// It waits for its turn.
    Requested,
    /// The trainer runs.
    Training,
    /// What was trained is compared with the base model.
    Evaluating,
    /// What is better moves into the pack and is given to the engine.
    Loading,
    /// The engine has it; turns do not use it yet.
    Registered,
    /// New turns use it.
    Available,
    /// It ended; the reason says why.
    Rejected,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Training,
        Self::Evaluating,
        Self::Loading,
        Self::Registered,
        Self::Available,
        Self::Rejected,
    ];

    /// Whether nothing comes after it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Available | Self::Rejected)
    }

    /// Whether it may follow.
    pub fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Requested => matches!(next, Self::Training | Self::Rejected),
            Self::Training => matches!(next, Self::Evaluating | Self::Rejected),
            Self::Evaluating => matches!(next, Self::Loading | Self::Rejected),
            Self::Loading => matches!(next, Self::Registered | Self::Rejected),
            Self::Registered => matches!(next, Self::Available | Self::Rejected),
            Self::Available | Self::Rejected => false,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Training => "training",
            Self::Evaluating => "evaluating",
            Self::Loading => "loading",
            Self::Registered => "registered",
            Self::Available => "available",
            Self::Rejected => "rejected",
        }
    }
}

/// Why an archetype is provisioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProvisioningCause)]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// A player met the first of its kind.
    Met,
}

/// One task's adapter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskRecord {
    /// What the trainer said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How it does on the lines that were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Its version in the pack, once it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// An archetype on its way, as it is stored and told. Times are in milliseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    pub archetype: String,
    pub state: State,
    pub cause: Cause,
    /// Of a rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub requested_ms: u64,
    /// When the state was reached.
    pub changed_ms: u64,
    /// Time that trainers have run for, over all starts of the server.
    pub trained_ms: u64,
    /// Trainings since the last step that was heard of.
    #[serde(default)]
    pub fruitless: u32,
    pub tasks: BTreeMap<Task, TaskRecord>,
}

/// A step that is none: a fault of this program's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} does not follow {}", next.name(), from.name())]
pub struct NoStep {
    pub from: State,
    pub next: State,
}

impl Record {
    pub fn new(archetype: &str, cause: Cause, tasks: impl IntoIterator<Item = Task>, now_ms: u64) -> Self {
        Self {
            format: FORMAT,
            archetype: archetype.to_owned(),
            state: State::Requested,
            cause,
            reason: None,
            requested_ms: now_ms,
            changed_ms: now_ms,
            trained_ms: 0,
            fruitless: 0,
            tasks: tasks.into_iter().map(|task| (task, TaskRecord::default())).collect(),
        }
    }

    /// Goes one step on.
    ///
    /// # Errors
    /// [`NoStep`] if `next` does not follow; nothing has changed then.
    pub fn advance(&mut self, next: State, now_ms: u64) -> Result<(), NoStep> {
        if !self.state.leads_to(next) {
            return Err(NoStep { from: self.state, next });
        }
        self.state = next;
        self.changed_ms = now_ms;
        Ok(())
    }

    /// Ends it. What has ended stays as it is.
    pub fn reject(&mut self, reason: &str, now_ms: u64) {
        if self.advance(State::Rejected, now_ms).is_ok() {
            self.reason = Some(tail(reason, REASON_CHARS));
        }
    }

    /// Notes what the trainer says. What it says of a task that it was not asked for is no progress.
    pub fn note(&mut self, progress: Progress) {
        if let Some(task) = self.tasks.get_mut(&progress.task) {
            task.progress = Some(progress);
            self.fruitless = 0;
        }
    }

    /// The adapters that are to be used, with their versions.
    pub fn accepted(&self) -> impl Iterator<Item = (Task, Option<u32>)> {
        self.tasks
            .iter()
            .filter(|(_, record)| record.rejected.is_none())
            .map(|(task, record)| (*task, record.version))
    }
}

/// The last `most` characters.
fn tail(text: &str, most: usize) -> String {
    let text = text.trim();
    match text.char_indices().rev().nth(most) {
        Some((before, c)) => format!("…{}", &text[before + c.len_utf8()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_state_but_the_last_two_leads_to_the_next_or_to_a_rejection() {
        let path = &State::ALL[..6];
        for (at, from) in State::ALL.into_iter().enumerate() {
            for next in State::ALL {
                let follows = !from.is_end() && (next == State::Rejected || path.get(at + 1) == Some(&next));
                assert_eq!(from.leads_to(next), follows, "{from:?} {next:?}");
            }
        }
    }

    #[test]
    fn a_reason_keeps_its_end() {
        let mut record = Record::new("banshee", Cause::Asked, [Task::DialogueStyle], 7);
        record.reject(&format!("{}the end", "é".repeat(2000)), 9);
        let reason = record.reason.clone().unwrap();
        assert_eq!(reason.chars().count(), REASON_CHARS + 1);
        assert!(reason.ends_with("éthe end"));
        record.reject("another", 10);
        assert_eq!((record.reason, record.changed_ms), (Some(reason), 9));
    }

    proptest! {
        #[test]
        fn whatever_is_tried_a_record_takes_only_steps(tried in prop::collection::vec(0_usize..7, 0..40)) {
            let mut record = Record::new("banshee", Cause::Met, Task::ALL, 0);
            for (now, at) in tried.into_iter().enumerate() {
                let (before, next) = (record.clone(), State::ALL[at]);
                match record.advance(next, now as u64) {
                    Ok(()) => prop_assert!(before.state.leads_to(record.state) && record.state == next),
                    Err(error) => {
                        prop_assert_eq!(&record, &before);
                        prop_assert_eq!(error, NoStep { from: before.state, next });
                    }
                }
            }
        }
    }
}
