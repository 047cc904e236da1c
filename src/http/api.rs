//! `/api/v1`: for those who run the server. Who may ask is checked for paths that do not exist, too.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::{AppState, history};
use crate::config::AuthMode;

/// The routes below `/api/v1`.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let missing = async || refusal(StatusCode::NOT_FOUND, "there is no such resource");
    let routes = Router::new().route("/npcs/{id}", get(npc)).route("/npcs/{id}/history", get(history::list));
    routes.fallback(missing).layer(from_fn_with_state(state.clone(), admin))
}

/// An NPC that is in memory, as `npc.joined` tells of it.
async fn npc(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    match state.gateway.npc(&id) {
        Some(npc) => Json(npc).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "nobody has joined an NPC with this id lately"),
    }
}

/// In `jwt` mode: `Authorization: Bearer TOKEN` with the scope `admin`. In `dev` mode everybody has every scope.
async fn admin(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if state.gateway.config().auth.mode == AuthMode::Dev {
        return next.run(request).await;
    }
    let grant = bearer(request.headers()).map(|token| state.gateway.auth().check(token));
    match grant {
        Some(Ok(grant)) if grant.is_admin() => next.run(request).await,
        Some(Ok(_)) => refusal(StatusCode::FORBIDDEN, "the token does not have the scope admin"),
        refused => {
            if let Some(Err(cause)) = refused {
                tracing::debug!(%cause, "a token was refused");
            }
            let message = "wanted: Authorization: Bearer, with a token that is good";
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (challenge, refusal(StatusCode::UNAUTHORIZED, message)).into_response()
        }
    }
}

/// The token of the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?.to_str().ok()?, lines.next()) else { return None };
    let (scheme, token) = line.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(super) fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
