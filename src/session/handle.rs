//! What a session does with each frame of its client.

use std::sync::Arc;

use tracing::Instrument;

use super::gateway::Gateway;
use super::relay::{self, Carried, Relay};
use super::state::{Session, TurnPlace};
use crate::metrics::Limited;
use crate::npc::NpcError;
use crate::turn::{self, Say};
use crate::wire::{
    Cancel, Cid, ErrorCode, ErrorPayload, NpcFocus, NpcJoin, NpcLeave, NpcLeft, NpcWarm, Playback, SayFrame,
    ServerFrame,
};

/// When a session whose turns are all taken may try again.
const TURNS_RETRY_MS: u64 = 1000;

/// The answer to a frame that could not be done. Boxed: it is large and rare.
pub(super) type Refused = Box<ErrorPayload>;

/// C `npc.join`. Joining again is answered again and changes nothing.
pub async fn join(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    join: NpcJoin,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let known = session.has_joined(&join.npc);
    let limit = gateway.config.session.max_npcs;
    if !known && session.joined_count() >= limit {
        let message = format!("this session has joined {limit} NPCs, as many as it may");
        return Err(Box::new(ErrorPayload {
            npc: Some(join.npc),
            limit: Some(limit.into()),
            ..ErrorPayload::new(ErrorCode::TooManyNpcs, message)
        }));
    }
    let may_create = session.pass.rights().create;
    let mut joined =
        gateway.npcs.join(&join, may_create).await.map_err(|error| npc_refused(error, &join.npc))?;
    joined.face = gateway.turns.face();
    joined.relationship = gateway.npcs.relationship(&join.npc, &session.player.name);
    if known || !session.joined(join.npc.clone()) {
        // The NPC counts every join, and this session is counted already, or is over.
        gateway.npcs.leave(&join.npc);
    }
    if let Some(provisioner) = gateway.provisioner().filter(|_| joined.chain.generic) {
        provisioner.met(&joined.npc.archetype);
    }
    if gateway.turns.is_cold(&session.player.name, &join.npc) {
        let (turns, player) = (Arc::clone(&gateway.turns), session.player.name.clone());
        gateway.turn_tasks.spawn(async move { turns.hydrate(&player, &join.npc).await }.in_current_span());
    }
    session.send(&ServerFrame::NpcJoined(Box::new(joined)), cid);
    Ok(())
}

pub(super) fn npc_refused(error: NpcError, npc: &str) -> Refused {
    let temporary = matches!(error.code, ErrorCode::Overloaded | ErrorCode::StorageFailed);
    Box::new(ErrorPayload {
        temporary,
        retry_after_ms: temporary.then_some(TURNS_RETRY_MS),
        npc: Some(npc.to_owned()),
        field: error.field,
        ..ErrorPayload::new(error.code, error.message)
    })
}

/// C `npc.leave`. A turn that runs goes on to its end.
pub fn leave(
    gateway: &Gateway,
    session: &Arc<Session>,
    leave: NpcLeave,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let NpcLeave { npc } = leave;
    if !session.left(&npc) {
        return Err(not_joined(npc));
    }
    gateway.npcs.leave(&npc);
    session.send(&ServerFrame::NpcLeft(NpcLeft { npc }), cid);
    Ok(())
}

/// One of the session's places for turns.
pub(super) fn turn_place(gateway: &Gateway, session: &Arc<Session>) -> Result<TurnPlace, Refused> {
    let limit = gateway.config.session.max_turns;
    session.take_turn(limit).ok_or_else(|| {
        let message = format!("{limit} turns of this session run or wait, as many as it may have");
        Box::new(ErrorPayload { limit: Some(limit.into()), ..overloaded(message, TURNS_RETRY_MS) })
    })
}

fn overloaded(message: impl Into<String>, retry_after_ms: u64) -> ErrorPayload {
    ErrorPayload {
        temporary: true,
        retry_after_ms: Some(retry_after_ms),
        ..ErrorPayload::new(ErrorCode::Overloaded, message)
    }
}

fn not_joined(npc: String) -> Refused {
    Box::new(ErrorPayload {
        field: Some("npc".into()),
        npc: Some(npc),
        ..ErrorPayload::new(ErrorCode::UnknownNpc, "this session has not joined that NPC")
    })
}

/// C `npc.focus`. Answered when the prompt is warm; it takes one of the session's places for turns until then.
pub fn focus(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    focus: NpcFocus,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let NpcFocus { npc } = focus;
    if !session.has_joined(&npc) {
        return Err(not_joined(npc));
    }
    let named = |error| Box::new(ErrorPayload { npc: Some(npc.clone()), ..error });
    if gateway.is_draining() {
        let message = "the server is going down and warms nothing";
        return Err(named(overloaded(message, gateway.config.shutdown.grace_ms)));
    }
    let place = turn_place(gateway, session).map_err(|error| named(*error))?;
    let (turns, session, cid) = (Arc::clone(&gateway.turns), Arc::clone(session), cid.cloned());
    gateway.turn_tasks.spawn(
        async move {
            let warm = tokio::select! {
                biased;
                () = session.gone.cancelled() => return,
                warm = turns.focus(&session.player.name, &npc) => warm,
            };
            // Given back first: a client may answer `npc.warm` with a line.
            drop(place);
            let frame = match warm {
                Ok(warm) => ServerFrame::NpcWarm(NpcWarm { npc, tokens: warm.tokens, ms: warm.ms }),
                Err(error) => {
                    ServerFrame::Error(ErrorPayload { turn: None, ..error.payload("", Some(&npc)) })
                }
            };
            session.send(&frame, cid.as_ref());
        }
        .in_current_span(),
    );
    Ok(())
}

/// C `say`. The turn's first frame is the answer.
pub fn say(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    say: SayFrame,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    session.pass.rights().check_say(&say)?;
    let SayFrame { npc, turn, text, actions, context, generation, mix, audience } = say;
    let named = |error| Box::new(ErrorPayload { turn: Some(turn.clone()), npc: Some(npc.clone()), ..error });
    if !session.has_joined(&npc) {
        return Err(Box::new(ErrorPayload { turn: Some(turn), ..*not_joined(npc) }));
    }
    // Runs nothing, so no limit is in its way.
    let player = &session.player.name;
    match gateway.turns.repeated(player, &npc, &turn) {
        Ok(None) => {}
        Ok(Some(_)) if gateway.relays.is_telling(player, &npc, &turn) => {
            // Its end would overtake its text.
            return Err(Box::new(turn::still_running(&turn).payload(&turn, Some(&npc))));
        }
        Ok(Some(done)) => {
            session.send(&ServerFrame::TurnDone(done), cid);
            return Ok(());
        }
        Err(error) => return Err(Box::new(error.payload(&turn, Some(&npc)))),
    }
    if gateway.is_draining() {
        let message = "the server is going down and takes no new lines";
        return Err(named(overloaded(message, gateway.config.shutdown.grace_ms)));
    }
    let place = turn_place(gateway, session).map_err(|error| named(*error))?;
    gateway.rates.turn(player).map_err(|error| {
        gateway.metrics.rate_limited.of(Limited::Turns).inc();
        named(*error)
    })?;
    let line = Say {
        player: player.clone(),
        npc: npc.clone(),
        turn: turn.clone(),
        session: Some(session.id.simple().to_string()),
        text,
        context,
        generation,
        mix,
        audience: audience.clone(),
        actions,
        at_ms: gateway.turns.now_ms(),
    };
    if let Some(mut cut) = gateway.turns.barge_in(player, &npc, &turn) {
        if cut.cancelled.player != *player {
            cut.audience.push(cut.cancelled.player.clone());
        }
        relay::tell_cut(gateway, session, cut, None);
    }
    let events = gateway.turns.say(line).map_err(|error| Box::new(error.payload(&turn, Some(&npc))))?;
    let carried = Carried {
        speaker: Arc::clone(session),
        npc,
        turn,
        audience: audience.unwrap_or_default(),
        cid: cid.cloned(),
    };
    Relay::start(gateway, carried, place, events);
    Ok(())
}

/// C `cancel`. While the turn runs, its own `turn.cancelled` is the answer.
pub fn cancel(
    gateway: &Gateway,
    session: &Arc<Session>,
    cancel: &Cancel,
    cid: Option<&Cid>,
) -> Result<(), Refused> {
    let player = &session.player.name;
    let relay = gateway.relays.find(player, &cancel.turn);
    if let Some(relay) = &relay {
        relay.cancelling(session, cid.cloned());
    }
    match (gateway.turns.cancel(player, &cancel.turn, cancel.heard_offset), relay) {
        (Ok(None), _) => Ok(()),
        (Ok(answer), Some(relay)) => {
            relay.not_cancelling(gateway, session, answer);
            Ok(())
        }
        (Ok(Some(answer)), None) => {
            relay::tell_cut(gateway, session, answer, cid);
            Ok(())
        }
        (Err(error), relay) => {
            if let Some(relay) = relay {
                relay.not_cancelling(gateway, session, None);
            }
            Err(Box::new(error.payload(&cancel.turn, None)))
        }
    }
}

/// C `playback`. Not answered.
pub fn playback(gateway: &Gateway, session: &Session, playback: &Playback) -> Result<(), Refused> {
    let player = &session.player.name;
    gateway
        .turns
        .playback(player, &playback.turn, playback.heard_offset)
        .map_err(|error| Box::new(error.payload(&playback.turn, None)))
}
