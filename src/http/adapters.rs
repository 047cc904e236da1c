//! `/api/v1/adapters` and `/api/v1/archetypes`: what each archetype answers with, and which versions of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AppState;
use super::api::{Refusal, refusal};
use crate::archetype::{Task, version_number};
use crate::chain::{AdapterReport, CanaryReport, ChainError, ChainReport, Chains, Hosted};

/// Bytes of a promotion's body.
const MAX_BODY: usize = 4 << 10;

/// Versions of adapters.
#[derive(Serialize, ToSchema)]
pub(super) struct AdapterList {
    items: Vec<AdapterReport>,
}

/// Every version of every adapter.
#[utoipa::path(
    get,
    path = "/api/v1/adapters",
    operation_id = "list_adapters",
    tag = "adapters",
    responses((status = OK, description = "All of them.", body = AdapterList))
)]
pub(super) async fn list(State(state): State<AppState>) -> Json<AdapterList> {
    Json(AdapterList { items: state.gateway.chains().adapters(None).await })
}

/// A chain, and who else hosts it.
#[derive(Serialize, ToSchema)]
#[schema(as = HostedArchetype)]
pub(super) struct Item {
    #[serde(flatten)]
    chain: ChainReport,
    /// Absent: no Redis is set, or it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<Hosted>>,
}

/// What archetypes there are.
#[derive(Serialize, ToSchema)]
pub(super) struct ArchetypeList {
    /// Those of this server.
    items: Vec<Item>,
    /// Those that only other servers host, by name.
    elsewhere: BTreeMap<String, Vec<Hosted>>,
    /// Packs that cannot be used, and why.
    refused: BTreeMap<String, String>,
}

/// The chains of this server, those that only others host, and the packs that cannot be used.
#[utoipa::path(
    get,
    path = "/api/v1/archetypes",
    operation_id = "list_archetypes",
    tag = "archetypes",
    responses((status = OK, description = "All of them.", body = ArchetypeList))
)]
pub(super) async fn archetypes(State(state): State<AppState>) -> Json<ArchetypeList> {
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
    Json(ArchetypeList { items, elsewhere: hosts.unwrap_or_default(), refused: chains.refused() })
}

/// One chain with all versions of its adapters.
#[utoipa::path(
    get,
    path = "/api/v1/archetypes/{name}",
    operation_id = "get_archetype",
    tag = "archetypes",
    params(("name" = String, Path, description = "Of the archetype.", min_length = 1, max_length = 32)),
    responses(
        (status = OK, description = "The chain.", body = Item),
        (status = NOT_FOUND, description = "There is no pack of this name.", body = Refusal),
        (status = UNPROCESSABLE_ENTITY, description = "There is one, and it cannot be used.", body = Refusal),
        (status = SERVICE_UNAVAILABLE, description = "It cannot be looked for now.", body = Refusal),
    )
)]
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
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Promotion)]
pub(super) struct Wanted {
    /// Such as `v2`.
    #[schema(pattern = "^v[0-9]+$", example = "v2")]
    version: String,
    /// Of the NPCs that use it, 0 to 1; absent: all.
    #[schema(minimum = 0, maximum = 1)]
    share: Option<f32>,
}

/// What is in use of an adapter after a change.
#[derive(Serialize, ToSchema)]
#[schema(as = AdapterInUse)]
pub(super) struct Changed {
    id: String,
    /// `null`: only a version on trial is in use, or none.
    version: Option<String>,
    /// The version on trial.
    canary: Option<CanaryReport>,
    /// All versions that there are.
    versions: Vec<AdapterReport>,
}

/// Makes a version of an adapter the one in use, or puts it on trial with a share of the NPCs.
#[utoipa::path(
    post,
    path = "/api/v1/adapters/{id}/promote",
    operation_id = "promote_adapter",
    tag = "adapters",
    params(("id" = String, Path, description = "Archetype and task, such as `vampire.dialogue_style`.", max_length = 64)),
    request_body(content = Wanted, description = "At most 4 KiB."),
    responses(
        (status = OK, description = "It is in use.", body = Changed),
        (status = BAD_REQUEST, description = "The body is not as it must be.", body = Refusal),
        (status = NOT_FOUND, description = "There is no such adapter or version.", body = Refusal),
        (status = CONFLICT, description = "The pack pins a version.", body = Refusal),
        (status = UNPROCESSABLE_ENTITY, description = "The version fails its checks.", body = Refusal),
        (status = NOT_IMPLEMENTED, description = "No model answers on this server.", body = Refusal),
        (status = SERVICE_UNAVAILABLE, description = "It cannot be done now.", body = Refusal),
    )
)]
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
#[utoipa::path(
    post,
    path = "/api/v1/adapters/{id}/rollback",
    operation_id = "roll_back_adapter",
    tag = "adapters",
    params(("id" = String, Path, description = "Archetype and task, such as `vampire.dialogue_style`.", max_length = 64)),
    responses(
        (status = OK, description = "The version before is in use.", body = Changed),
        (status = NOT_FOUND, description = "There is no such adapter.", body = Refusal),
        (status = CONFLICT, description = "There is nothing to go back to, or the pack pins a version.", body = Refusal),
        (status = UNPROCESSABLE_ENTITY, description = "The version before fails its checks.", body = Refusal),
        (status = NOT_IMPLEMENTED, description = "No model answers on this server.", body = Refusal),
        (status = SERVICE_UNAVAILABLE, description = "It cannot be done now.", body = Refusal),
    )
)]
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
        // `None`: its trial has ended, and nothing else is in use.
        Ok(Ok((report, versions))) => {
            let (id, version, canary) = match report {
                Some(report) => (report.adapter, report.version, report.canary),
                None => (id, None, None),
            };
            Json(Changed { id, version, canary, versions }).into_response()
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
