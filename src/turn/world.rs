//! What happens to NPCs besides what players say: it is stored like a turn, and remembered.

use super::keep::{now_ms, unwritable};
use super::{TurnError, Turns};
use crate::history::{Body, Heard, HistoryError, Kind, Outcome, Record};
use crate::npc::{Happening, NpcError};
use crate::wire::{ActionResult, ErrorCode, Event, EventKind, EventRecorded};

use uuid::Uuid;

impl From<NpcError> for TurnError {
    fn from(error: NpcError) -> Self {
        let storage = error.code == ErrorCode::StorageFailed;
        let plain = if storage { unwritable() } else { Self::new(error.code, "") };
        Self { message: error.message, field: error.field, ..plain }
    }
}

impl Turns {
    /// Stores an event that a player's client tells of; it is on the disk when this returns. One with the same id is
    /// told again.
    ///
    /// # Errors
    /// `unknown_npc`, `storage_failed`.
    pub async fn event(
        &self,
        player: &str,
        session: String,
        event: Event,
    ) -> Result<EventRecorded, TurnError> {
        let Event { npc, event: id, kind, text, importance, witnesses } = event;
        let found = self.npcs.find(&npc).await?.ok_or_else(|| {
            TurnError::new(ErrorCode::UnknownNpc, format!("there is no npc {npc:?}")).field("npc")
        })?;
        let what = Happening {
            kind,
            player: player.to_owned(),
            event: id.clone(),
            text: text.clone(),
            importance,
            at_ms: self.now_ms(),
        };
        let body = Body {
            session: Some(session),
            witnesses: witnesses.unwrap_or_default(),
            event: Some(kind),
            importance,
            ..Body::happened(&id, &found.info.archetype, text, what.at_ms)
        };
        let kind = match kind {
            EventKind::Injury => Kind::Injury,
            EventKind::Gift => Kind::Gift,
            EventKind::Threat | EventKind::Witness | EventKind::Custom => Kind::Event,
        };
        let told = self.tell(player, npc, kind, body).await?;
        if told.is_new
            && let Err(error) = self.npcs.happen(&found.info.id, told.id, &what).await
        {
            // The event stands; what it would have made of the NPC does not.
            tracing::error!(npc = found.info.id, %error, "an event has not changed its NPC");
        }
        Ok(EventRecorded { event: Some(id), interaction: told.id.to_string() })
    }

    /// Stores what became of an action of a turn that runs, or ended in the last 120 s; it is on the disk when this
    /// returns. The first outcome of an action stays.
    ///
    /// # Errors
    /// `unknown_turn`, `storage_failed`.
    pub async fn action_result(
        &self,
        player: &str,
        session: String,
        result: ActionResult,
    ) -> Result<EventRecorded, TurnError> {
        let ActionResult { turn, action, ok, reason } = result;
        let state = self.find(player, &turn)?;
        let name = state.name_of(&action);
        let archetype = self.npcs.get(&state.npc).map_or_else(String::new, |npc| npc.info.archetype.clone());
        let body = Body {
            session: Some(session),
            outcome: Some(Outcome { action, ok, reason: reason.clone() }),
            ..Body::happened(&turn, &archetype, String::new(), now_ms())
        };
        let told = self.tell(player, state.npc.clone(), Kind::Action, body).await?;
        // Of what was not proposed the NPC knows nothing.
        if let Some(name) = name.filter(|_| told.is_new) {
            self.outcomes.add(&state.npc, player, &name, ok, reason.as_deref());
        }
        Ok(EventRecorded { event: None, interaction: told.id.to_string() })
    }

    /// Stores it, unless it is stored already.
    async fn tell(&self, player: &str, npc: String, kind: Kind, body: Body) -> Result<Told, TurnError> {
        let heard = Heard { said: String::new(), chars: None };
        let id = Uuid::now_v7();
        let record = Record { id, kind, npc, player: player.to_owned(), heard, body };
        let told = self.history.tell(record).await.map_err(unstored)?;
        Ok(Told { id: told.id, is_new: told.id == id })
    }
}

/// The answer to what could not be stored, or looked for. What exactly failed is for the log.
#[allow(clippy::needless_pass_by_value)] // For `map_err`.
pub(super) fn unstored(error: HistoryError) -> TurnError {
    tracing::error!(%error, "what happened could not be stored");
    TurnError { message: "what happened cannot be stored now; try again".into(), ..unwritable() }
}

/// What is stored now.
struct Told {
    id: Uuid,
    /// And was not before.
    is_new: bool,
}
