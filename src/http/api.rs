//! `/api/v1`: for those who run the server. Who may ask is checked for paths that do not exist, too.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::{AppState, adapters, history, openapi, provisioning, sessions, stats};
use crate::config::AuthMode;
use crate::metrics::TokenFault;
use crate::models::Told;
use crate::wire::NpcJoined;

/// The routes below `/api/v1`.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let missing = async || refusal(StatusCode::NOT_FOUND, "there is no such resource");
    let routes = Router::new()
        .route("/adapters", get(adapters::list))
        .route("/adapters/{id}/promote", post(adapters::promote))
        .route("/adapters/{id}/rollback", post(adapters::rollback))
        .route("/archetypes", get(adapters::archetypes))
        .route("/archetypes/{name}", get(adapters::archetype))
        .route("/archetypes/{name}/provision", post(provisioning::request))
        .route("/models", get(models))
        .route("/openapi.json", get(openapi::document))
        .route("/sessions", get(sessions::list))
        .route("/stats", get(stats::stats))
        .route("/provisioning", get(provisioning::list))
        .route("/npcs/{id}", get(npc))
        .route("/npcs/{id}/history", get(history::list))
        .route("/players/{id}", delete(erase));
    routes.fallback(missing).layer(from_fn_with_state(state.clone(), admin))
}

/// Why something is not done, in words for people.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Refusal {
    error: String,
}

/// Models that may answer lines without adapters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList {
    items: Vec<Told>,
}

/// The models that may answer lines without adapters; none is listed where there is no choice.
#[utoipa::path(
    get,
    path = "/api/v1/models",
    operation_id = "list_models",
    tag = "models",
    responses((status = OK, description = "All of them.", body = ModelList))
)]
pub(super) async fn models(State(state): State<AppState>) -> Json<ModelList> {
    Json(ModelList { items: state.gateway.models().unwrap_or_default() })
}

/// An NPC as `npc.joined` tells of it.
#[utoipa::path(
    get,
    path = "/api/v1/npcs/{id}",
    operation_id = "get_npc",
    tag = "npcs",
    params(("id" = String, Path, description = "Of the NPC.", min_length = 1, max_length = 64)),
    responses(
        (status = OK, description = "The NPC.", body = NpcJoined),
        (status = NOT_FOUND, description = "There is no NPC with this id.", body = Refusal),
        (status = SERVICE_UNAVAILABLE, description = "It cannot be read now.", body = Refusal),
    )
)]
pub(super) async fn npc(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    match state.gateway.npc(&id).await {
        Ok(Some(npc)) => Json(npc).into_response(),
        Ok(None) => refusal(StatusCode::NOT_FOUND, "there is no NPC with this id"),
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, &error.message),
    }
}

/// What was erased with a player.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Erased {
    player: String,
    /// Lines and events of the player's that are gone.
    interactions: usize,
    /// Those of others that named the player, and do not any more.
    mentions: usize,
    /// NPCs that have forgotten the player.
    npcs: usize,
}

/// Erases a player for good. Answers when nothing of them is left.
#[utoipa::path(
    delete,
    path = "/api/v1/players/{id}",
    operation_id = "erase_player",
    tag = "players",
    params(("id" = String, Path, description = "The player's name.", min_length = 1)),
    responses(
        (status = OK, description = "Nothing of the player is left.", body = Erased),
        (status = INTERNAL_SERVER_ERROR, description = "The player may be erased in part; ask again.", body = Refusal),
        (status = SERVICE_UNAVAILABLE, description = "The player may be erased in part; ask again.", body = Refusal),
    )
)]
pub(super) async fn erase(State(state): State<AppState>, Path(player): Path<String>) -> Response {
    // Who asks may not wait until it is done, and it is to be done all the same.
    let gateway = Arc::clone(&state.gateway);
    let erasing = tokio::spawn(async move { gateway.erase_player(&player).await.map(|done| (player, done)) });
    match erasing.await {
        Ok(Ok((player, erased))) => Json(Erased {
            player,
            interactions: erased.interactions,
            mentions: erased.mentions,
            npcs: erased.npcs,
        })
        .into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "a player was not erased, or in part");
            let message = "the player may be erased in part; ask again";
            refusal(StatusCode::SERVICE_UNAVAILABLE, message)
        }
        Err(error) => {
            tracing::error!(%error, "erasing a player stopped");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "the player may be erased in part; ask again")
        }
    }
}

/// In `jwt` mode: `Authorization: Bearer TOKEN` with the scope `admin`. In `dev` mode everybody has every scope.
pub(super) async fn admin(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if state.gateway.config().auth.mode == AuthMode::Dev {
        return next.run(request).await;
    }
    let grant = bearer(request.headers()).map(|token| state.gateway.auth().check(token));
    match grant {
        Some(Ok(grant)) if grant.is_admin() => next.run(request).await,
        Some(Ok(_)) => {
            state.gateway.auth().metrics().failures.of(TokenFault::Scope).inc();
            refusal(StatusCode::FORBIDDEN, "the token does not have the scope admin")
        }
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
    (status, Json(Refusal { error: message.to_owned() })).into_response()
}
