//! `/api/v1/provisioning`: archetypes on their way to adapters of their own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::AppState;
use super::api::refusal;
use crate::provision::{Cause, Record, Refusal, TaskRecord};

/// When a place in the queue may be free, in seconds: a training takes minutes at least.
const RETRY_S: &str = "60";

/// How far every archetype is that was asked for.
pub(super) async fn list(State(state): State<AppState>) -> Response {
    let records = state.gateway.provisioner().map(|provisioner| provisioner.records()).unwrap_or_default();
    Json(json!({ "items": records.iter().map(told).collect::<Vec<_>>() })).into_response()
}

/// Asks for adapters for an archetype.
pub(super) async fn request(State(state): State<AppState>, Path(archetype): Path<String>) -> Response {
    let Some(provisioner) = state.gateway.provisioner() else {
        return refusal(StatusCode::CONFLICT, "this server has no model to train adapters for");
    };
    // Who asks may not wait until it is stored, and then it is to be done all the same.
    let provisioner = Arc::clone(provisioner);
    let asked = tokio::spawn(async move { provisioner.request(&archetype, Cause::Asked).await }).await;
    match asked {
        Ok(Ok(record)) => (StatusCode::ACCEPTED, Json(told(&record))).into_response(),
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

/// A record as it is told.
fn told(record: &Record) -> Value {
    let tasks: Map<String, Value> =
        record.tasks.iter().map(|(task, found)| (task.name().to_owned(), told_task(found))).collect();
    with(
        json!({
            "archetype": record.archetype,
            "state": record.state,
            "cause": record.cause,
            "requested_ms": record.requested_ms,
            "changed_ms": record.changed_ms,
            "trained_ms": record.trained_ms,
            "tasks": tasks,
        }),
        [("reason", record.reason.as_ref().map(|reason| json!(reason)))],
    )
}

fn told_task(found: &TaskRecord) -> Value {
    let progress = found.progress;
    with(
        json!({}),
        [
            ("step", progress.map(|progress| json!(progress.step))),
            ("steps", progress.map(|progress| json!(progress.steps))),
            ("loss", progress.map(|progress| json!(progress.loss))),
            ("held_out", progress.and_then(|progress| progress.held_out).map(|loss| json!(loss))),
            ("eta_s", progress.and_then(|progress| progress.eta_s).map(|eta| json!(eta))),
            ("metrics", found.metrics.as_ref().map(|metrics| json!(metrics))),
            ("version", found.version.map(|version| json!(format!("v{version}")))),
            ("rejected", found.rejected.as_ref().map(|reason| json!(reason))),
        ],
    )
}

/// An object with those keys besides that have a value.
fn with<const N: usize>(mut object: Value, keys: [(&str, Option<Value>); N]) -> Value {
    if let Value::Object(object) = &mut object {
        object.extend(keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Task;
    use crate::provision::{Progress, State};

    #[test]
    fn a_record_is_told_without_what_it_does_not_know() {
        let mut record = Record::new("banshee", Cause::Met, [Task::DialogueStyle, Task::ActionPolicy], 5);
        record.advance(State::Training, 7).unwrap();
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
