//! `/api/v1/openapi.json`: what HTTP paths there are, for programs. `docs/openapi.json` is the same document.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Object, Ref, ResponseBuilder, Type};
use utoipa::{Modify, OpenApi};

use super::{adapters, api, health, history, metrics, provisioning, sessions, stats, upgrade};

/// Every path is made from the handler that answers it, and every schema from the type that is sent.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "npc-gateway",
        description = "What operators ask of a gateway. Lists are `{\"items\": […]}`; one that comes in pages has `next`, \
                       absent on the last page. What is not done is answered with `{\"error\": \"…\"}`. Times are in \
                       milliseconds since 1970, UTC, where nothing else is said.",
        version = "1",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        adapters::archetype,
        adapters::archetypes,
        adapters::list,
        adapters::promote,
        adapters::rollback,
        api::erase,
        api::models,
        api::npc,
        document,
        health::healthz,
        health::readyz,
        history::list,
        metrics::page,
        provisioning::list,
        provisioning::request,
        sessions::list,
        stats::stats,
        upgrade::upgrade,
    ),
    security(("bearer" = ["admin"])),
    modifiers(&Bearer),
    tags(
        (name = "adapters", description = "Versions of adapters: which are in use, and which may be."),
        (name = "archetypes", description = "What archetypes there are, and those on their way to adapters of their own."),
        (name = "health", description = "For who starts and stops servers, and for who watches them."),
        (name = "models", description = "Models elsewhere."),
        (name = "npcs", description = "NPCs, and what happened with them."),
        (name = "players", description = "Players."),
        (name = "server", description = "How the server is, and who is there."),
    )
)]
struct Document;

/// How it is told who asks, and what those are answered who may not.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "With `auth.mode = \"jwt\"`: a token with the scope `admin`; 401 without one, 403 without the scope. With \
                 \"dev\" nothing is looked at.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let items = document.paths.paths.values_mut();
        let operations = items.flat_map(|item| [&mut item.get, &mut item.post, &mut item.delete]).flatten();
        for operation in operations.filter(|operation| operation.security.is_none()) {
            let error = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
            let text = ContentBuilder::new().schema(Some(Object::with_type(Type::String))).build();
            let strangers = ResponseBuilder::new()
                .description("There is no token that is good.")
                .content("application/json", error());
            let others = ResponseBuilder::new()
                .description(
                    "The token's scope is not `admin`; or, as text, pages of this `Origin` may not ask.",
                )
                .content("application/json", error())
                .content("text/plain", text);
            let responses = &mut operation.responses.responses;
            responses.insert("401".into(), strangers.into());
            responses.insert("403".into(), others.into());
        }
    }
}

/// The document as it is sent: JSON, indented.
fn text() -> String {
    // A document that cannot be written would be a fault of this program's, and the tests would see it.
    Document::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

static TEXT: LazyLock<Bytes> = LazyLock::new(|| text().into());

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "get_openapi",
    tag = "health",
    responses((status = OK, description = "OpenAPI 3.1.", body = Object, content_type = "application/json"))
)]
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// Where the document is for those who read the repository.
    const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

    #[test]
    fn the_document_is_checked_in() {
        let written = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
        if written != text() {
            let new = format!("{CHECKED_IN}.new");
            std::fs::write(&new, text()).unwrap();
            panic!("docs/openapi.json is not what is served: look at {new}, and move it there");
        }
    }

    /// The paths in `.route("…", …)` of a source.
    fn routes(source: &str) -> impl Iterator<Item = &str> {
        source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next())
    }

    #[test]
    fn every_path_that_is_routed_is_in_the_document() {
        let source = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http").join(name);
            std::fs::read_to_string(path).unwrap()
        };
        let (top, api) = (source("mod.rs"), source("api.rs"));
        let routed: BTreeSet<String> = routes(&top)
            .map(str::to_owned)
            .chain(routes(&api).map(|path| format!("/api/v1{path}")))
            // A page for people.
            .filter(|path| path != "/")
            .collect();
        assert!(routed.len() > 10, "{routed:?}");
        let document: Value = serde_json::from_str(&text()).unwrap();
        let documented: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(routed, documented);
    }

    #[test]
    fn everything_in_the_document_is_said_in_words() {
        let document: Value = serde_json::from_str(&text()).unwrap();
        let mut ids = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let at = format!("{method} {path}");
                let said = |value: &Value| value.as_str().is_some_and(|text| text.trim().len() > 5);
                assert!(said(&operation["summary"]) || said(&operation["description"]), "{at}");
                assert!(ids.insert(operation["operationId"].to_string()), "{at} has the id of another one");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(said(&parameter["description"]), "{at}: {parameter}");
                }
                for (status, response) in operation["responses"].as_object().unwrap() {
                    assert!(said(&response["description"]), "{at}: {status}");
                }
            }
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(!schema["description"].is_null(), "{name} is not described");
        }
    }
}
