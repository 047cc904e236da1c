//! `/api/v1/adapters` and `/api/v1/archetypes`: what each archetype answers with, and which versions of it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AppState;
use super::api::refusal;
use crate::archetype::{Task, version_number};
use crate::chain::{AdapterReport, ChainError, ChainReport, Chains, Hosted};

/// Bytes of a promotion's body.
const MAX_BODY: usize = 4 << 10;

/// Every version of every adapter.
pub(super) async fn list(State(state): State<AppState>) -> Response {
    Json(json!({ "items": state.gateway.chains().adapters(None).await })).into_response()
}

/// A chain, and who else hosts it.
#[derive(Serialize)]
struct Item {
    #[serde(flatten)]
    chain: ChainReport,
    /// Absent: no Redis is set, or it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<Hosted>>,
}

/// The chains of this server, those that only others host, and the packs that cannot be used.
pub(super) async fn archetypes(State(state): State<AppState>) -> Json<serde_json::Value> {
    let chains = state.gateway.chains();
    let mut hosts = chains.hosts().await;
    let items: Vec<Item> = chains
        .reports()
        .into_iter()
        .map(|chain| {
            let hosts = hosts.as_mut().map(|hosts| hosts.remove(&chain.name).unwrap_or_default());
            Item { chain, hosts }
        })
        .collect();
    Json(json!({ "items": items, "elsewhere": hosts.unwrap_or_default(), "refused": chains.refused() }))
}

/// One chain with all versions of its adapters.
pub(super) async fn archetype(State(state): State<AppState>, Path(name): Path<String>) -> Response {
    let chains = state.gateway.chains();
    match chains.find(&name).await {
        Ok(Some(_)) => {}
        Ok(None) => return refusal(StatusCode::NOT_FOUND, "there is no pack of this name"),
        Err(error) => return refused(&error),
    }
    let Some(chain) = chains.report(&name) else {
        return refusal(StatusCode::NOT_FOUND, "there is no pack of this name");
    };
    let hosts = chains.hosts().await.map(|mut hosts| hosts.remove(&name).unwrap_or_default());
    let adapters = chains.adapters(Some(&name)).await;
    Json(Item { chain: ChainReport { adapters, ..chain }, hosts }).into_response()
}

/// What is wanted of a version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    version: String,
    /// Of the NPCs that use it, 0 to 1; absent: all.
    share: Option<f32>,
}

/// Makes a version of an adapter the one in use, or puts it on trial with a share of the NPCs.
pub(super) async fn promote(State(state): State<AppState>, Path(id): Path<String>, body: Bytes) -> Response {
    let bad = |message: &str| refusal(StatusCode::BAD_REQUEST, message);
    if body.len() > MAX_BODY {
        return bad("the body is too long; wanted: {\"version\": \"v2\"}, with \"share\" for a trial");
    }
    let wanted: Wanted = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(error) => {
            return bad(&format!("{error}; wanted: {{\"version\": \"v2\"}}, with \"share\" for a trial"));
        }
    };
    let Some(version) = version_number(&wanted.version) else {
        return bad(&format!("version is {:?}, but must be one such as \"v1\"", short(&wanted.version)));
    };
    if let Some(share) = wanted.share.filter(|share| !(0.0..=1.0).contains(share)) {
        return bad(&format!("share is {share}, but must be from 0 to 1"));
    }
    change(state, id, move |chains, archetype, task| async move {
        match wanted.share {
            Some(share) => chains.canary(&archetype, task, version, share).await,
            None => chains.promote(&archetype, task, version).await,
        }
    })
    .await
}

/// Ends a trial, or goes back to the version before.
pub(super) async fn rollback(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    change(state, id, |chains, archetype, task| async move { chains.rollback(&archetype, task).await }).await
}

/// Changes which version of an adapter is used, and answers with what is in use then.
async fn change<F, D>(state: AppState, id: String, change: F) -> Response
where
    F: FnOnce(std::sync::Arc<Chains>, String, Task) -> D + Send + 'static,
    D: Future<Output = Result<(), ChainError>> + Send,
{
    let Some((archetype, task)) = parse(&id) else {
        return refused(&ChainError::UnknownAdapter { id: short(&id) });
    };
    let chains = std::sync::Arc::clone(state.gateway.chains());
    // Who asks may not wait until it is done, and it is to be done as a whole all the same.
    let changing = tokio::spawn(async move {
        change(std::sync::Arc::clone(&chains), archetype.clone(), task).await?;
        let all = chains.adapters(Some(&archetype)).await;
        let report = chains.report(&archetype).and_then(|chain| chain.tasks.get(&task).cloned());
        let versions: Vec<AdapterReport> = all.into_iter().filter(|adapter| adapter.task == task).collect();
        Ok((report, versions))
    });
    match changing.await {
        Ok(Ok((Some(report), versions))) => Json(json!({
            "id": report.adapter,
            "version": report.version,
            "canary": report.canary,
            "versions": versions,
        }))
        .into_response(),
        // Its trial has ended, and nothing else is in use.
        Ok(Ok((None, versions))) => {
            Json(json!({ "id": id, "version": null, "canary": null, "versions": versions })).into_response()
        }
        Ok(Err(error)) => refused(&error),
        Err(error) => refused(&error.into()),
    }
}

/// `vampire.dialogue_style` → archetype and task. Names of archetypes have no dots.
fn parse(id: &str) -> Option<(String, Task)> {
    let (archetype, task) = id.split_once('.')?;
    Some((archetype.to_owned(), task.parse().ok()?))
}

/// Text from outside is cut before it goes into a message.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn refused(error: &ChainError) -> Response {
    let status = match error {
        ChainError::UnknownArchetype { .. }
        | ChainError::UnknownAdapter { .. }
        | ChainError::UnknownVersion { .. } => StatusCode::NOT_FOUND,
        ChainError::Pinned { .. } | ChainError::NothingBefore { .. } => StatusCode::CONFLICT,
        ChainError::Worse { .. }
        | ChainError::Bad { .. }
        | ChainError::TooLarge { .. }
        | ChainError::Pack { .. }
        | ChainError::Look { .. }
        | ChainError::Packs(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ChainError::Scripted => StatusCode::NOT_IMPLEMENTED,
        ChainError::TooManyPacks { .. }
        | ChainError::State(_)
        | ChainError::Engine(_)
        | ChainError::Table(_)
        | ChainError::Stopped(_) => {
            tracing::error!(%error, "a chain could not be changed");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    refusal(status, &error.to_string())
}
