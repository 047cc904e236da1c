//! From what the engine tells to what the turn's followers are told.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{Answer, Ending, Gone, Progress, Runner, millis, send};
use crate::archetype::Task;
use crate::chain::reason;
use crate::engine::{EngineError, Event, FinishReason, Usage};
use crate::turn::events::Item;
use crate::turn::guard::Passed;
use crate::turn::spent::Part;
use crate::turn::{Piece, TurnEvent, tracks};
use crate::wire::{AdapterUse, DoneReason, RouteReason, TurnStarted};

impl Runner {
    /// Takes an event of the engine; returns how the turn ended, if that was the last one.
    pub(super) async fn take(
        &self,
        event: Option<Event>,
        answer: &mut Answer<'_>,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Option<Ending>, Gone> {
        match event {
            Some(Event::Started { prompt_tokens, cached_tokens }) => {
                progress.usage.prompt_tokens = prompt_tokens;
                progress.usage.cached_tokens = cached_tokens;
                progress.usage.queue_ms = progress.since_arrival_ms();
                progress.spent.enter(Part::Prefill, progress.now);
                self.start(progress, &self.used, None, events).await?;
                self.tell(&mut answer.tracks, progress, events).await?;
            }
            Some(Event::Text { text, tokens }) => {
                if progress.usage.generated_tokens == 0 {
                    progress.usage.first_token_ms = progress.since_arrival_ms();
                    progress.spent.first_token(progress.now);
                }
                progress.usage.generated_tokens += tokens;
                if let Some(text) = answer.line.push(text, tokens) {
                    let passed = tokio::select! {
                        biased;
                        () = self.state.cancelled.cancelled() => return Ok(Some(Ending::Cancelled)),
                        () = events.closed() => return Err(Gone),
                        passed = answer.guard.push(text) => passed,
                    };
                    if self.pass(passed, answer, progress, events).await? {
                        return Ok(Some(Ending::Line { reason: DoneReason::Blocked, fallback: false }));
                    }
                }
            }
            Some(Event::Finished { reason, usage }) => {
                progress.spent.enter(Part::Tracks, progress.now);
                self.measured(progress.source, &usage);
                // The engine's times begin when it was asked, the turn's when the line arrived.
                progress.usage = Usage {
                    queue_ms: progress.waited_ms + usage.queue_ms,
                    first_token_ms: progress.waited_ms + usage.first_token_ms,
                    ..usage
                };
                let passed = tokio::select! {
                    biased;
                    () = self.state.cancelled.cancelled() => return Ok(Some(Ending::Cancelled)),
                    () = events.closed() => return Err(Gone),
                    passed = answer.guard.finish() => passed,
                };
                let blocked = self.pass(passed, answer, progress, events).await?;
                let reason = match reason {
                    _ if blocked => DoneReason::Blocked,
                    FinishReason::Stop => DoneReason::Stop,
                    FinishReason::Length => DoneReason::Length,
                };
                return Ok(Some(Ending::Line { reason, fallback: false }));
            }
            Some(Event::Failed { error: error @ EngineError::DeadlineExceeded { .. } }) => {
                return self.overloaded(error, progress, events).await.map(Some);
            }
            Some(Event::Failed { error }) => {
                return self.engine_failed(error, progress, events).await.map(Some);
            }
            None => return self.engine_failed(EngineError::Stopped, progress, events).await.map(Some),
        }
        Ok(None)
    }

    /// Sends what the guard has let through; tells whether the line ends there.
    pub(super) async fn pass(
        &self,
        passed: Passed,
        answer: &mut Answer<'_>,
        progress: &Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<bool, Gone> {
        let Passed { text, blocked } = passed;
        if !text.is_empty() {
            let spoken = text.clone();
            let tokens = answer.line.take_tokens();
            if self.delta(text, tokens, progress, events).await? {
                self.count_text(tokens, answer, progress);
            }
            answer.tracks.spoken(&spoken);
            self.tell(&mut answer.tracks, progress, events).await?;
        }
        if blocked {
            tracing::info!("an answer was blocked");
        }
        Ok(blocked)
    }

    /// Text of so many tokens has gone out.
    fn count_text(&self, tokens: u32, answer: &mut Answer<'_>, progress: &Progress) {
        let (metrics, now) = (&self.turns.metrics, Instant::now());
        match answer.spoke.replace(now) {
            None => metrics.first_token.observe(now.saturating_duration_since(progress.arrived)),
            Some(before) => {
                let gap = now.saturating_duration_since(before);
                metrics.inter_token.observe(gap / tokens.max(1));
            }
        }
    }

    pub(super) async fn start(
        &self,
        progress: &mut Progress,
        used: &[AdapterUse],
        instead: Option<RouteReason>,
        events: &mpsc::Sender<Item>,
    ) -> Result<(), Gone> {
        progress.started = Some(Instant::now());
        self.state.begin();
        let reason = instead.unwrap_or_else(|| self.reason());
        self.turns.npcs.chains().reasons().count(reason);
        self.turns.metrics.routed.of(reason).inc();
        self.turns.metrics.archetypes.inc(&self.npc.pack.name);
        tracing::debug!(
            player = self.say.player,
            archetype = self.npc.pack.name,
            ?reason,
            adapters = ?used.iter().map(|used| (&used.id, &used.version)).collect::<Vec<_>>(),
            "a turn begins"
        );
        let frame = TurnStarted {
            turn: self.say.turn.clone(),
            npc: self.say.npc.clone(),
            player: self.say.player.clone(),
            text: self.say.text.clone(),
            generic: used.is_empty(),
            reason: Some(reason),
            adapters: used.to_vec(),
            prompt_tokens: progress.usage.prompt_tokens,
            cached_tokens: progress.usage.cached_tokens,
        };
        send(events, TurnEvent::Started(Box::new(frame))).await
    }

    /// Why it is answered with the adapters that it is answered with.
    pub(super) fn reason(&self) -> RouteReason {
        let asked = tracks::tasks(&self.turns.turn.tracks, &self.npc, &self.say);
        let used = self.used.iter().filter_map(|used| used.task.parse().ok());
        reason(&self.routes, Task::SPOKEN.into_iter().chain(asked), used)
    }

    /// Sends text, unless the line was cut; tells whether it did.
    pub(super) async fn delta(
        &self,
        text: String,
        tokens: u32,
        progress: &Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<bool, Gone> {
        // Not when the engine had it: somebody may have looked at it since.
        let now_ms = progress.started.map_or(0, millis);
        let Some((offset, t_ms)) = self.state.add_text(&text, now_ms) else { return Ok(false) };
        send(events, TurnEvent::Delta(Piece { text, offset, t_ms, tokens })).await?;
        Ok(true)
    }
}
