//! `/api/v1/sessions`: who is there.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::AppState;
use super::api::{Refusal, refusal};
use crate::session::SessionTold;

/// Items of a page, unless it says otherwise, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;

/// What of the list is wanted. Taken as text, so that a bad value is answered in our own words.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    limit: Option<String>,
    after: Option<String>,
}

/// Sessions, in the order of their ids, which says nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionPage {
    items: Vec<Item>,
    /// `after` of the next page; absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct Item {
    /// Its id, as `ready` told it.
    session: String,
    player: String,
    state: SessionState,
    /// When it began, in milliseconds since 1970, UTC.
    since_ms: u64,
    /// What the player's token allows.
    scopes: Vec<String>,
    /// `npc.v1.msgpack` or `npc.v1.json`.
    subprotocol: &'static str,
    /// Ids of the NPCs that it has joined, in alphabetical order.
    npcs: Vec<String>,
    /// Turns that run or wait.
    turns: usize,
    /// Frames that its client has not acknowledged.
    held_frames: usize,
    /// What these take.
    held_bytes: usize,
}

/// Where a session's client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SessionState {
    Connected,
    /// Its socket is gone; the session waits for its client.
    Lost,
}

impl From<SessionTold> for Item {
    fn from(told: SessionTold) -> Self {
        Self {
            session: told.id.simple().to_string(),
            player: told.player,
            state: if told.lost { SessionState::Lost } else { SessionState::Connected },
            since_ms: told.began_ms,
            scopes: told.scopes,
            subprotocol: told.subprotocol.name(),
            npcs: told.npcs,
            turns: told.turns,
            held_frames: told.held_frames,
            held_bytes: told.held_bytes,
        }
    }
}

/// Who is there, also those who have lost their connection and may come back.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    operation_id = "list_sessions",
    tag = "server",
    params(
        ("limit" = Option<u32>, Query, description = "Items of a page; 50 without it.", minimum = 1, maximum = 500),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
    ),
    responses(
        (status = OK, description = "A page.", body = SessionPage),
        (status = BAD_REQUEST, description = "A parameter is not as it must be.", body = Refusal),
    )
)]
pub(super) async fn list(State(state): State<AppState>, Query(wanted): Query<Wanted>) -> Response {
    let (limit, after) = match read(&wanted) {
        Ok(wanted) => wanted,
        Err(message) => return refusal(StatusCode::BAD_REQUEST, &message),
    };
    let (ids, next) = page(state.gateway.session_ids(), after, limit);
    // One that has ended meanwhile is left out.
    let items = ids.into_iter().filter_map(|id| state.gateway.session_told(id)).map(Item::from).collect();
    Json(SessionPage { items, next: next.map(|id| id.simple().to_string()) }).into_response()
}

/// The first so many ids behind one, in their order, and where the next page begins.
fn page(mut ids: Vec<Uuid>, after: Option<Uuid>, limit: usize) -> (Vec<Uuid>, Option<Uuid>) {
    ids.retain(|id| after.is_none_or(|after| *id > after));
    let more = ids.len() > limit;
    if more {
        ids.select_nth_unstable(limit);
        ids.truncate(limit);
    }
    ids.sort_unstable();
    let next = ids.last().copied().filter(|_| more);
    (ids, next)
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
    let after = wanted.after.as_ref().map(|text| text.parse::<Uuid>()).transpose();
    Ok((limit, after.map_err(|_| "after must be the id of a session".to_owned())?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_number_and_no_id_is_refused_in_words() {
        let read = |limit: Option<&str>, after: Option<&str>| {
            super::read(&Wanted { limit: limit.map(str::to_owned), after: after.map(str::to_owned) })
        };
        let id = Uuid::from_u128(7);
        assert_eq!(read(None, None), Ok((PAGE, None)));
        assert_eq!(read(Some("500"), Some(&id.simple().to_string())), Ok((500, Some(id))));
        for limit in ["0", "501", "-1", "ten", ""] {
            let said = read(Some(limit), None).unwrap_err();
            assert_eq!(said, format!("limit is {limit:?}, but must be a number, 1 to 500"));
        }
        assert_eq!(read(None, Some("anna")).unwrap_err(), "after must be the id of a session");
    }

    proptest! {
        #[test]
        fn the_pages_of_all_ids_are_all_ids(ids in prop::collection::btree_set(any::<u128>(), 0..60), limit in 1_usize..20) {
            let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
            // A registry has no order.
            let shuffled: Vec<Uuid> = ids.iter().rev().copied().collect();
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (items, next) = page(shuffled.clone(), after, limit);
                prop_assert!(items.len() <= limit);
                seen.extend(items);
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(seen, ids);
        }
    }
}
