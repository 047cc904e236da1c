//! `/api/v1/provisioning`: archetypes on their way to adapters of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::api::{self, refusal};
use crate::archetype::{Metrics, Task};
use crate::provision::{Cause, Record, Refusal, State as Stage, TaskRecord};

/// When a place in the queue may be free, in seconds: a training takes minutes at least.
const RETRY_S: &str = "60";

/// Archetypes on their way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProvisioningList {
    items: Vec<Provisioning>,
}

/// An archetype on its way to adapters of its own. Times are in milliseconds since 1970, UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Provisioning {
    archetype: String,
    state: Stage,
    cause: Cause,
    /// Of a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    requested_ms: u64,
    /// When the state was reached.
    changed_ms: u64,
    /// Time that trainers have run for, in milliseconds.
    trained_ms: u64,
    tasks: BTreeMap<Task, ProvisioningTask>,
}

/// The adapter of one task. What is not known yet is absent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProvisioningTask {
    /// Steps of the training that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    /// All of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Nats a token of what is learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    /// Nats a token of what is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<f64>,
    /// Seconds to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    /// In the pack, such as `v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<String>,
}

impl From<&Record> for Provisioning {
    fn from(record: &Record) -> Self {
        Self {
            archetype: record.archetype.clone(),
            state: record.state,
            cause: record.cause,
            reason: record.reason.clone(),
            requested_ms: record.requested_ms,
            changed_ms: record.changed_ms,
            trained_ms: record.trained_ms,
            tasks: record.tasks.iter().map(|(task, found)| (*task, found.into())).collect(),
        }
    }
}

impl From<&TaskRecord> for ProvisioningTask {
    fn from(found: &TaskRecord) -> Self {
        let progress = found.progress;
        Self {
            step: progress.map(|progress| progress.step),
            steps: progress.map(|progress| progress.steps),
            loss: progress.map(|progress| progress.loss),
            held_out: progress.and_then(|progress| progress.held_out),
            eta_s: progress.and_then(|progress| progress.eta_s),
            metrics: found.metrics.clone(),
            version: found.version.map(|version| format!("v{version}")),
            rejected: found.rejected.clone(),
        }
    }
}

/// How far every archetype is that was asked for.
#[utoipa::path(
    get,
    path = "/api/v1/provisioning",
    operation_id = "list_provisioning",
    tag = "archetypes",
    responses((status = OK, description = "All of them.", body = ProvisioningList))
)]
pub(super) async fn list(State(state): State<AppState>) -> Json<ProvisioningList> {
    let records = state.gateway.provisioner().map(|provisioner| provisioner.records()).unwrap_or_default();
    Json(ProvisioningList { items: records.iter().map(Provisioning::from).collect() })
}

/// Asks for adapters for an archetype.
#[utoipa::path(
    post,
    path = "/api/v1/archetypes/{name}/provision",
    operation_id = "provision_archetype",
    tag = "archetypes",
    params(("name" = String, Path, description = "Of the archetype.", min_length = 1, max_length = 32)),
    responses(
        (status = ACCEPTED, description = "It is on its way.", body = Provisioning),
        (status = NOT_FOUND, description = "There is no pack of this name.", body = api::Refusal),
        (status = CONFLICT, description = "It is on its way already, there is nothing to train on, or nobody who trains.", body = api::Refusal),
        (status = TOO_MANY_REQUESTS, description = "As many wait as may; `Retry-After` says when to try again.", body = api::Refusal),
        (status = INTERNAL_SERVER_ERROR, description = "It may have been asked for.", body = api::Refusal),
        (status = SERVICE_UNAVAILABLE, description = "It cannot be read or stored now.", body = api::Refusal),
    )
)]
pub(super) async fn request(State(state): State<AppState>, Path(archetype): Path<String>) -> Response {
    let Some(provisioner) = state.gateway.provisioner() else {
        return refusal(StatusCode::CONFLICT, "this server has no model to train adapters for");
    };
    // Who asks may not wait until it is stored, and then it is to be done all the same.
    let provisioner = Arc::clone(provisioner);
    let asked = tokio::spawn(async move { provisioner.request(&archetype, Cause::Asked).await }).await;
    match asked {
        Ok(Ok(record)) => (StatusCode::ACCEPTED, Json(Provisioning::from(&record))).into_response(),
        Ok(Err(refused)) => refuse(&refused),
        Err(error) => {
            tracing::error!(%error, "asking for adapters stopped");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "it may have been asked for; see GET provisioning")
        }
    }
}

fn refuse(refused: &Refusal) -> Response {
    let message = refused.to_string();
    match refused {
        Refusal::NoPack(_) => refusal(StatusCode::NOT_FOUND, &message),
        Refusal::NoFolder | Refusal::NoLines(_) | Refusal::Running { .. } => {
            refusal(StatusCode::CONFLICT, &message)
        }
        Refusal::Full(_) => {
            let retry = [(header::RETRY_AFTER, RETRY_S)];
            (retry, refusal(StatusCode::TOO_MANY_REQUESTS, &message)).into_response()
        }
        Refusal::Disk(error) => {
            tracing::error!(error, "a request for adapters cannot be stored");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "it cannot be read or stored now; try again")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provision::Progress;

    fn told(record: &Record) -> Value {
        serde_json::to_value(Provisioning::from(record)).unwrap()
    }

    #[test]
    fn a_record_is_told_without_what_it_does_not_know() {
        let mut record = Record::new("banshee", Cause::Met, [Task::DialogueStyle, Task::ActionPolicy], 5);
        record.advance(Stage::Training, 7).unwrap();
        let (task, held_out, eta_s) = (Task::DialogueStyle, None, Some(40.0));
        record.note(Progress { task, step: 1, steps: 8, loss: 2.5, held_out, eta_s });
        let wanted = json!({
            "archetype": "banshee", "state": "training", "cause": "met",
            "requested_ms": 5, "changed_ms": 7, "trained_ms": 0,
            "tasks": {
                "dialogue_style": {"step": 1, "steps": 8, "loss": 2.5, "eta_s": 40.0},
                "action_policy": {},
            },
        });
        assert_eq!(told(&record), wanted);
        record.reject("too slow", 9);
        assert_eq!(
            (&told(&record)["state"], &told(&record)["reason"]),
            (&json!("rejected"), &json!("too slow"))
        );
    }
}
