//! A line that the engine cannot answer: another one in its place, or an error.

use tokio::sync::mpsc;

use super::{Ending, Gone, Progress, Runner, send};
use crate::config::OnOverload;
use crate::engine::EngineError;
use crate::turn::events::Item;
use crate::turn::tracks::Tracks;
use crate::turn::{TurnError, TurnEvent};
use crate::wire::{DoneReason, RouteReason};

impl Runner {
    /// The engine cannot answer now: a scripted line of the pack, or the error.
    pub(super) async fn overloaded(
        &self,
        error: EngineError,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        let lines = &self.npc.pack.overload_lines;
        if self.turns.npc.on_overload == OnOverload::Error || lines.is_empty() {
            return self.failed(&error.into(), events).await;
        }
        tracing::warn!(%error, "answered with a scripted line");
        // Another line for another turn, the same for the same one.
        let pick =
            self.say.turn.bytes().fold(0_usize, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()));
        if progress.started.is_none() {
            self.start(progress, &[], Some(RouteReason::Fallback), events).await?;
        }
        let line = &lines[pick % lines.len()];
        self.delta(line.clone(), 0, progress, events).await?;
        // Nothing is asked; the mouth moves.
        let mut tracks = Tracks::new(self);
        tracks.spoken(line);
        tracks.finish();
        self.tell(&mut tracks, progress, events).await?;
        Ok(Ending::Line { reason: DoneReason::Stop, fallback: true })
    }

    pub(super) async fn engine_failed(
        &self,
        error: EngineError,
        progress: &mut Progress,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        let own = matches!(
            error,
            EngineError::BadRequest { .. }
                | EngineError::UnknownAdapter(_)
                | EngineError::PromptTooLong { .. }
        );
        // Logged here, where it is handled; what is the client's own fault is only answered.
        if !own {
            tracing::error!(%error, "a line could not be generated");
            // A line that has begun cannot become another one.
            if self.state.end().text_offset == 0 {
                return self.overloaded(error, progress, events).await;
            }
        }
        self.failed(&error.into(), events).await
    }

    pub(super) async fn failed(
        &self,
        error: &TurnError,
        events: &mpsc::Sender<Item>,
    ) -> Result<Ending, Gone> {
        let frame = error.payload(&self.say.turn, Some(&self.say.npc));
        send(events, TurnEvent::Error(Box::new(frame))).await?;
        Ok(Ending::Failed)
    }
}
