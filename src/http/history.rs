//! `/api/v1/npcs/{id}/history`: what happened with an NPC.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::AppState;
use super::api::{Refusal, refusal};
use crate::history::{Kind, Outcome, Record};
use crate::wire::{AdapterUse, DoneReason, EventKind, TimingInfo, UsageInfo};

/// Items of a page, unless it says otherwise, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;

/// What of the list is wanted. Taken as text, so that a bad value is answered in our own words.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    limit: Option<String>,
    before: Option<String>,
}

/// A page, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryPage)]
pub(super) struct Page {
    items: Vec<Item>,
    /// `before` of the next page; absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A record as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryItem)]
pub(super) struct Item {
    id: String,
    /// `dialogue`, `event`, `action`, `attitude`, `injury` or `gift`.
    kind: &'static str,
    npc: String,
    player: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    archetype: String,
    audience: Vec<String>,
    witnesses: Vec<String>,
    /// Ids of the items that the NPC remembered for it.
    recalled: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    importance: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    world_time: Option<String>,
    at_ms: u64,
    #[serde(flatten)]
    what: What,
}

/// What there is of each kind.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = HistoryItemOfKind)]
pub(super) enum What {
    Line {
        turn: String,
        /// What the player said.
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        context: Option<String>,
        /// What the NPC said, and what of it the player heard.
        said: String,
        heard: String,
        reason: DoneReason,
        fallback: bool,
        adapters: Vec<AdapterUse>,
        usage: UsageInfo,
        timing: TimingInfo,
    },
    Outcome {
        /// In which the action was proposed.
        turn: String,
        action: String,
        ok: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Event {
        /// The client's id of it.
        event: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        event_kind: Option<EventKind>,
        /// What happened.
        text: String,
    },
}

impl From<Record> for Item {
    fn from(record: Record) -> Self {
        let Record { id, kind, npc, player, heard, body } = record;
        let what = match (kind, body.outcome) {
            (Kind::Dialogue, _) => What::Line {
                turn: body.turn,
                text: body.text,
                context: body.context,
                heard: heard.text().to_owned(),
                said: heard.said,
                reason: body.reason,
                fallback: body.fallback,
                adapters: body.adapters,
                usage: body.usage,
                timing: body.timing,
            },
            (_, Some(Outcome { action, ok, reason })) => {
                What::Outcome { turn: body.turn, action, ok, reason }
            }
            (_, None) => What::Event { event: body.turn, event_kind: body.event, text: body.text },
        };
        Self {
            id: id.to_string(),
            kind: kind.name(),
            npc,
            player,
            session: body.session,
            archetype: body.archetype,
            audience: body.audience,
            witnesses: body.witnesses,
            recalled: body.recalled.iter().map(Uuid::to_string).collect(),
            importance: body.importance,
            world_time: body.world_time,
            at_ms: body.at_ms,
            what,
        }
    }
}

/// What happened with an NPC, the newest first. One that nobody has spoken with has no items.
#[utoipa::path(
    get,
    path = "/api/v1/npcs/{id}/history",
    operation_id = "list_npc_history",
    tag = "npcs",
    params(
        ("id" = String, Path, description = "Of the NPC.", min_length = 1, max_length = 64),
        ("limit" = Option<u32>, Query, description = "Items of a page; 50 without it.", minimum = 1, maximum = 500),
        ("before" = Option<String>, Query, description = "`next` of the page before: items that are older than that one."),
    ),
    responses(
        (status = OK, description = "A page.", body = Page),
        (status = BAD_REQUEST, description = "A parameter is not as it must be.", body = Refusal),
        (status = SERVICE_UNAVAILABLE, description = "It cannot be read now.", body = Refusal),
    )
)]
pub(super) async fn list(
    State(state): State<AppState>,
    Path(npc): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let (limit, before) = match read(&wanted) {
        Ok(wanted) => wanted,
        Err(message) => return refusal(StatusCode::BAD_REQUEST, &message),
    };
    // One more tells whether there is another page.
    match state.gateway.history().page(&npc, before, limit + 1).await {
        Ok(mut records) => {
            let more = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| more).map(|record| record.id.to_string());
            Json(Page { items: records.into_iter().map(Item::from).collect(), next }).into_response()
        }
        Err(error) => {
            tracing::error!(%error, npc, "a history could not be read");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "the history cannot be read now; try again")
        }
    }
}

fn read(wanted: &Wanted) -> Result<(usize, Option<Uuid>), String> {
    let limit = match &wanted.limit {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| format!("limit is {text:?}, but must be a number, 1 to {MAX_PAGE}"))?,
    };
    let before = wanted.before.as_ref().map(|text| text.parse::<Uuid>()).transpose();
    Ok((limit, before.map_err(|_| "before must be the id of an item".to_owned())?))
}
