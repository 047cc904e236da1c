//! Where a turn's time goes.

use std::time::{Duration, Instant};

use super::run::Runner;
use crate::engine::Usage;
use crate::wire::DoneReason;

/// What a turn is in, in the order in which it gets there; it may leave some out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The NPC answers earlier lines.
    Mailbox,
    /// It is looked whether the line may be answered.
    Moderation,
    /// What the NPC remembers is looked for, and the prompt is made.
    Recall,
    /// The line waits for a row, its adapters, or a model elsewhere.
    Queue,
    /// The prompt is computed, up to the first token.
    Prefill,
    /// Tokens come.
    Decode,
    /// The line is there, and answers of what the NPC feels, does and wants are not.
    Tracks,
    /// The turn is being stored.
    Journal,
    /// Its last frames wait to be taken.
    Telling,
}

/// As many as there are parts.
const PARTS: usize = Part::Telling as usize + 1;

/// How long a turn was in each of its parts.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    arrived: Instant,
    part: Part,
    since: Instant,
    times: [Duration; PARTS],
    /// From the line's arrival on.
    first_token: Option<Duration>,
    /// How the turn ended; `None`: it did not begin.
    pub ended: Option<DoneReason>,
}

impl Spent {
    /// The line has come.
    pub fn new(arrived: Instant) -> Self {
        Self {
            arrived,
            part: Part::Mailbox,
            since: arrived,
            times: [Duration::ZERO; PARTS],
            first_token: None,
            ended: None,
        }
    }

    /// The turn is in another part from `now` on.
    pub fn enter(&mut self, part: Part, now: Instant) {
        self.times[self.part as usize] += now.saturating_duration_since(self.since);
        (self.part, self.since) = (part, now);
    }

    /// The first token has come.
    pub fn first_token(&mut self, now: Instant) {
        self.first_token.get_or_insert(now.saturating_duration_since(self.arrived));
        self.enter(Part::Decode, now);
    }

    /// Milliseconds in a part.
    fn ms(&self, part: Part) -> u64 {
        self.times[part as usize].as_millis() as u64
    }
}

impl Runner {
    /// The turn is over: says where its time went, if it took long.
    pub(super) fn tell_if_slow(&self, spent: &mut Spent, usage: &Usage, now: Instant) {
        spent.enter(Part::Telling, now);
        let total = now.saturating_duration_since(spent.arrived);
        if self.turns.slow.is_none_or(|slow| total < slow) {
            return;
        }
        tracing::warn!(
            total_ms = total.as_millis() as u64,
            mailbox_ms = spent.ms(Part::Mailbox),
            moderation_ms = spent.ms(Part::Moderation),
            recall_ms = spent.ms(Part::Recall),
            queue_ms = spent.ms(Part::Queue),
            prefill_ms = spent.ms(Part::Prefill),
            decode_ms = spent.ms(Part::Decode),
            tracks_ms = spent.ms(Part::Tracks),
            journal_ms = spent.ms(Part::Journal),
            telling_ms = spent.ms(Part::Telling),
            first_token_ms = spent.first_token.map(|first| first.as_millis() as u64),
            prompt_tokens = usage.prompt_tokens,
            cached_tokens = usage.cached_tokens,
            generated_tokens = usage.generated_tokens,
            ended = spent.ended.map(tracing::field::debug),
            "a turn was slow"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_time_is_in_some_part() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut spent = Spent::new(start);
        spent.enter(Part::Recall, at(30));
        spent.enter(Part::Queue, at(35));
        spent.enter(Part::Prefill, at(100));
        spent.first_token(at(150));
        // A second one is not the first.
        spent.first_token(at(160));
        spent.enter(Part::Tracks, at(400));
        // A question was asked again, say.
        spent.enter(Part::Decode, at(410));
        spent.enter(Part::Journal, at(420));
        spent.enter(Part::Telling, at(425));
        spent.enter(Part::Telling, at(425));
        let parts = [
            (Part::Mailbox, 30),
            (Part::Moderation, 0),
            (Part::Recall, 5),
            (Part::Queue, 65),
            (Part::Prefill, 50),
            (Part::Decode, 260),
            (Part::Tracks, 10),
            (Part::Journal, 5),
            (Part::Telling, 0),
        ];
        assert_eq!(parts.map(|(part, _)| spent.ms(part)), parts.map(|(_, ms)| ms));
        assert_eq!(spent.times.iter().sum::<Duration>(), Duration::from_millis(425));
        assert_eq!(spent.first_token, Some(Duration::from_millis(150)));
    }
}
