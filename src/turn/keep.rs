//! The end of a turn: it is on the disk before anybody is told, and what is heard later follows it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::{Instrument, debug_span};

use super::events::Item;
use super::run::{Ending, Progress, Runner, millis, send};
use super::spent::Part;
use super::state::TurnState;
use super::tracks::Became;
use super::{TurnError, TurnEvent, Turns, prompt};
use crate::history::{Body, Exchange, Felt, JournalError, Kind, Memory, Recalled, Record, Tie};
use crate::npc::Place;
use crate::wire::{DoneReason, ErrorCode, TimingInfo, TurnDone, UsageInfo};

/// When a line that the journal could not take may be tried again.
const RETRY_MS: u64 = 1000;

/// Milliseconds since 1970, UTC.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The answer while the journal cannot be written. What exactly failed is for the log.
pub(super) fn unwritable() -> TurnError {
    TurnError {
        temporary: true,
        retry_after_ms: Some(RETRY_MS),
        ..TurnError::new(ErrorCode::StorageFailed, "what is said cannot be stored now; try again")
    }
}

impl Turns {
    /// Whether what was said between the two before this start of the server is yet to be fetched.
    pub fn is_cold(&self, player: &str, npc: &str) -> bool {
        self.history.is_cold(npc, player)
    }

    /// Fetches it, so that the conversation goes on where it was. No turn waits for it.
    pub async fn hydrate(&self, player: &str, npc: &str) {
        let Some(found) = self.npcs.get(npc) else { return };
        let archetype = &found.info.archetype;
        let fetched = self.history.hydrate(npc, player, |memory| exchange(memory, archetype)).await;
        if let Err(error) = fetched {
            tracing::warn!(npc, %error, "a conversation goes on without what was said before");
        }
    }

    /// What was heard of an ended turn has changed.
    pub(super) fn amend(&self, state: &TurnState) {
        let heard = state.heard_text();
        self.history.hot().amend(&state.npc, &state.player, &state.turn, &heard);
        // Before that, whoever stores it will see the change.
        if state.is_stored() {
            self.history.reword(&state.npc, &state.player, state.interaction, &heard);
            self.history.amend(state.interaction, || state.heard());
        }
    }
}

/// A line as prompts show it; `None`: they do not. An NPC that has become somebody else does not remember what it said
/// when it was another.
fn exchange(memory: &Memory, archetype: &str) -> Option<Exchange> {
    let shown = memory.kind == Kind::Dialogue && memory.archetype == archetype && !memory.reply.is_empty();
    shown.then(|| Exchange {
        id: memory.id,
        turn: memory.turn.clone(),
        recalled: None,
        message: prompt::player_message(memory.context.as_deref(), &memory.text),
        reply: memory.reply.clone(),
        audience: memory.audience.clone(),
    })
}

impl Runner {
    /// If the turn is in the journal: tells its `Done` again.
    pub(super) async fn told_again(&self, events: &mpsc::Sender<Item>) -> bool {
        let (player, npc, turn) = (&self.say.player, &self.say.npc, &self.say.turn);
        let event = match self.turns.history.find(player, npc, turn).await {
            Ok(Some(record)) => TurnEvent::Done(Box::new(record.done())),
            Ok(None) if self.turns.history.journal().is_writable() => return false,
            Ok(None) => TurnEvent::Error(Box::new(unwritable().payload(turn, Some(npc)))),
            Err(error) => {
                tracing::error!(%error, "it cannot be known whether a turn is stored");
                TurnEvent::Error(Box::new(unwritable().payload(turn, Some(npc))))
            }
        };
        // First: the next one to ask is answered by the journal again.
        self.turns.registry.remove(&self.state);
        // Fails only if the client is gone, and then nobody waits for it.
        let _ = send(events, event).await;
        true
    }

    /// Stores the turn and sends its last frames.
    pub(super) async fn conclude(
        &self,
        ending: Ending,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
        place: Option<&mut Place>,
    ) {
        progress.spent.enter(Part::Journal, Instant::now());
        if matches!(ending, Ending::Failed) && progress.started.is_none() {
            // It never began: the same id may be tried again.
            self.turns.registry.remove(&self.state);
            self.turns.metrics.done.of(DoneReason::Error).inc();
            return;
        }
        if matches!(ending, Ending::Gone) {
            // What was sent counts as heard, unless the client said otherwise.
            self.state.cut(None);
        }
        let broke_off = matches!(ending, Ending::Failed);
        let (reason, fallback) = match ending {
            Ending::Line { reason, fallback } => (reason, fallback),
            Ending::Cancelled | Ending::Gone => (DoneReason::Cancelled, false),
            Ending::Failed => (DoneReason::Error, false),
        };
        let usage = &progress.usage;
        let (cancelled, mut done) = self.state.finish(TurnDone {
            turn: self.say.turn.clone(),
            player: self.say.player.clone(),
            npc: self.say.npc.clone(),
            reason,
            text: String::new(),
            fallback,
            usage: UsageInfo {
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                generated_tokens: usage.generated_tokens,
            },
            timing: TimingInfo {
                queue_ms: usage.queue_ms as u64,
                ttft_ms: usage.first_token_ms as u64,
                total_ms: millis(progress.arrived),
            },
            interaction: (reason != DoneReason::Error).then(|| self.state.interaction.to_string()),
        });
        let mut failed = None;
        if done.interaction.is_some()
            && let Err(error) = self.store(&done, progress).await
        {
            tracing::error!(%error, "a turn could not be stored");
            failed = Some(unwritable().payload(&self.say.turn, Some(&self.say.npc)));
            done = self.state.not_stored().unwrap_or(done);
        }
        self.count(&done, progress);
        let now = Instant::now();
        progress.spent.enter(Part::Telling, now);
        progress.spent.ended = Some(done.reason);
        tracing::Span::current().record("ended", tracing::field::debug(done.reason));
        self.turns.registry.ended(&self.state);
        tracing::debug!(reason = ?done.reason, usage = ?progress.usage, "turn ended");
        if let Some(place) = place {
            // First: a client may answer `turn.done` with its next line.
            place.vacate();
        }
        let failed = failed.map(|error| TurnEvent::Error(Box::new(error)));
        // A face is not left as it is when its line breaks off.
        let broken =
            (broke_off && cancelled.is_none()).then(|| self.state.neutral(self.state.end())).flatten();
        let (cancelled, neutral) = match cancelled {
            Some(cut) => (Some(TurnEvent::Cancelled(Box::new(cut.cancelled))), cut.neutral),
            None => (None, broken),
        };
        let neutral = neutral.map(|key| TurnEvent::Face(Box::new(key)));
        let done = TurnEvent::Done(Box::new(done));
        for event in failed.into_iter().chain(cancelled).chain(neutral).chain([done]) {
            if send(events, event).await.is_err() {
                // The client is gone, and nobody waits for it.
                return;
            }
        }
    }

    /// Counts a turn that ended.
    fn count(&self, done: &TurnDone, progress: &Progress) {
        let (metrics, usage) = (&self.turns.metrics, &progress.usage);
        metrics.done.of(done.reason).inc();
        metrics.whole.observe(progress.arrived.elapsed());
        // 0: no model has begun to answer.
        if usage.queue_ms > 0.0 {
            metrics.queue.observe(Duration::from_secs_f64(usage.queue_ms / 1e3));
        }
        metrics.prompt_tokens.add(usage.prompt_tokens.into());
        metrics.cached_tokens.add(usage.cached_tokens.into());
        metrics.generated_tokens.add(usage.generated_tokens.into());
    }

    /// Stores an ended turn, and then adds it to the conversation and to what the NPC remembers.
    async fn store(&self, done: &TurnDone, progress: &Progress) -> Result<(), JournalError> {
        // A scripted line knows of nothing.
        let recalled = progress.recalled.as_ref().filter(|_| !done.fallback);
        let record = self.record(done, recalled, &progress.became);
        let history = &self.turns.history;
        history.journal().put(&record).instrument(debug_span!("journal")).await?;
        self.turns.outcomes.were_told(&self.say.npc, &self.say.player, self.outcomes);
        // A cancel or a playback may have come meanwhile: the record follows it.
        if self.state.stored() != record.heard {
            history.amend(record.id, || self.state.heard());
        }
        if let Some(Felt { label, intensity }) = record.body.emotion {
            let (player, at_ms) = (Some(self.say.player.as_str()), self.say.at_ms);
            self.turns.npcs.change(&self.npc, |mind| mind.feel(label, intensity, player, at_ms));
        }
        let known = Record { heard: self.state.heard(), ..record };
        history.remember(&known);
        if let Some(exchange) = exchange(&Memory::from(&known), &known.body.archetype) {
            let exchange = Exchange { recalled: recalled.cloned(), ..exchange };
            history.hot().push(&self.say.npc, &self.say.player, exchange);
        }
        // And between these two.
        let heard = self.state.heard_text();
        history.hot().amend(&self.say.npc, &self.say.player, &self.say.turn, &heard);
        history.reword(&self.say.npc, &self.say.player, known.id, &heard);
        Ok(())
    }

    fn record(&self, done: &TurnDone, recalled: Option<&Recalled>, became: &Became) -> Record {
        Record {
            id: self.state.interaction,
            kind: Kind::Dialogue,
            npc: self.say.npc.clone(),
            player: self.say.player.clone(),
            heard: self.state.heard(),
            body: Body {
                session: self.say.session.clone(),
                context: self.say.context.clone(),
                reason: done.reason,
                fallback: done.fallback,
                adapters: if done.fallback { Vec::new() } else { self.used.clone() },
                usage: done.usage,
                timing: done.timing,
                audience: self.say.audience.clone().unwrap_or_default(),
                emotion: became
                    .feeling
                    .as_ref()
                    .map(|felt| Felt { label: felt.label, intensity: felt.intensity }),
                relationship: became.relationship.map(|(before, after)| Tie { before, after }),
                goals: became.goals.clone(),
                recalled: recalled.map(|recalled| recalled.ids.clone()).unwrap_or_default(),
                ..Body::happened(&self.say.turn, &self.npc.info.archetype, self.say.text.clone(), now_ms())
            },
        }
    }
}
