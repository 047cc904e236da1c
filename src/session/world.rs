//! Frames about what happens to NPCs besides what players say. Each takes one of the session's places for turns until
//! it is on the disk.

use std::sync::Arc;

use tracing::Instrument;

use super::gateway::Gateway;
use super::handle::{Refused, turn_place};
use super::state::Session;
use crate::turn::TurnError;
use crate::wire::{ActionResult, Cid, ErrorCode, ErrorPayload, Event, EventRecorded, NpcAct, ServerFrame};

/// C `event`.
pub fn event(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    event: Event,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let about = About { turn: None, npc: Some(event.npc.clone()) };
    if !session.pass.rights().event {
        return Err(about.forbidden("event"));
    }
    let place = turn_place(gateway, session).map_err(|error| about.of(*error))?;
    let (gateway, session, cid) = (Arc::clone(gateway), Arc::clone(session), cid.cloned());
    Arc::clone(&gateway).turn_tasks.spawn(
        async move {
            let recorded = gateway.turns.event(&session.player.name, session.name(), event).await;
            // Given back first: a client may answer `event.recorded` with a line.
            drop(place);
            session.send(&about.answer(recorded), cid.as_ref());
        }
        .in_current_span(),
    );
    Ok(())
}

/// C `action.result`.
pub fn action_result(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    result: ActionResult,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let about = About { turn: Some(result.turn.clone()), npc: None };
    if !session.pass.rights().action {
        return Err(about.forbidden("action"));
    }
    let place = turn_place(gateway, session).map_err(|error| about.of(*error))?;
    let (gateway, session, cid) = (Arc::clone(gateway), Arc::clone(session), cid.cloned());
    Arc::clone(&gateway).turn_tasks.spawn(
        async move {
            let recorded = gateway.turns.action_result(&session.player.name, session.name(), result).await;
            drop(place);
            session.send(&about.answer(recorded), cid.as_ref());
        }
        .in_current_span(),
    );
    Ok(())
}

/// C `npc.act`. Answered when it is decided; it takes one of the session's places for turns until then.
pub fn act(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    act: NpcAct,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let about = About { turn: None, npc: Some(act.npc.clone()) };
    if !session.pass.rights().act {
        return Err(about.forbidden("act"));
    }
    let place = turn_place(gateway, session).map_err(|error| about.of(*error))?;
    let (gateway, session, cid) = (Arc::clone(gateway), Arc::clone(session), cid.cloned());
    Arc::clone(&gateway).turn_tasks.spawn(
        async move {
            // A decision for which nobody waits any more is not made.
            let acted = tokio::select! {
                biased;
                () = session.gone.cancelled() => return,
                acted = gateway.turns.act(&session.player.name, session.name(), act) => acted,
            };
            drop(place);
            let frame = match acted {
                Ok(acted) => ServerFrame::NpcActed(acted),
                Err(error) => ServerFrame::Error(*about.of(error.payload("", None))),
            };
            session.send(&frame, cid.as_ref());
        }
        .in_current_span(),
    );
    Ok(())
}

/// What a refused frame was about.
struct About {
    turn: Option<String>,
    npc: Option<String>,
}

impl About {
    fn of(&self, error: ErrorPayload) -> Refused {
        Box::new(ErrorPayload { turn: self.turn.clone(), npc: self.npc.clone(), ..error })
    }

    fn forbidden(&self, grant: &str) -> Refused {
        let message =
            format!("this needs the scope director, or {grant} among the server's auth.play_grants");
        self.of(ErrorPayload::new(ErrorCode::Forbidden, message))
    }

    fn answer(&self, recorded: Result<EventRecorded, TurnError>) -> ServerFrame {
        match recorded {
            Ok(recorded) => ServerFrame::EventRecorded(recorded),
            Err(error) => ServerFrame::Error(*self.of(error.payload("", None))),
        }
    }
}
