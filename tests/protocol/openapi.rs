//! `/api/v1/openapi.json` tells the truth: every path of it is there, and what a server with something in it answers is what
//! the document says, no more and no less.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Encoding;
use crate::http::{Answer, ask};
use crate::provisioning::{ended, pack, provision};
use crate::server::TestServer;
use crate::tokens::{Issuer, claims};
use crate::versions::{put_pack, write_adapter};

/// The document, and what was asked of it.
struct Document {
    value: Value,
    asked: BTreeSet<(String, String)>,
}

impl Document {
    async fn of(server: &TestServer) -> Self {
        let answer = ask(server, "GET", "/api/v1/openapi.json", &[], "").await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
        let mut value = answer.json();
        close_all(&mut value);
        Self { value, asked: BTreeSet::new() }
    }

    /// Every method of every path.
    fn operations(&self) -> BTreeMap<(String, String), &Value> {
        let paths = self.value["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(|(method, operation)| ((method.to_uppercase(), path.clone()), operation))
        });
        operations.collect()
    }

    /// An answer is one that the document names, and its body is as it says there.
    fn check(&mut self, method: &str, template: &str, answer: &Answer) {
        let key = (method.to_owned(), template.to_owned());
        let at = format!("{method} {template}: {}", answer.status);
        let operation = self.operations().get(&key).copied().unwrap_or_else(|| panic!("{at} is not there"));
        let response = &operation["responses"][answer.status.to_string()];
        assert!(!response.is_null(), "{at} is not told of: {}", answer.text());
        let kind = answer.headers.get("content-type").map_or("", |kind| kind.split(';').next().unwrap());
        let contents = response["content"].as_object().into_iter().flatten();
        let content = contents.into_iter().find(|(name, _)| name.split(';').next() == Some(kind));
        let schema = content.map_or(&Value::Null, |(_, content)| &content["schema"]);
        assert!(!schema.is_null(), "{at} has {kind:?}, but {response}");
        if kind == "application/json" {
            let whole = json!({"allOf": [schema], "components": self.value["components"]});
            let validator = jsonschema::draft202012::new(&whole).unwrap();
            let body = answer.json();
            let errors: Vec<_> = validator
                .iter_errors(&body)
                .map(|error| format!("{error} ({})", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{at}: {errors:#?}\n{body:#}");
        }
        self.asked.insert(key);
    }

    /// Asks, and checks the answer.
    async fn ask(
        &mut self,
        server: &TestServer,
        question: &str,
        path: &str,
        body: &str,
        status: u16,
    ) -> Value {
        let (method, template) = question.split_once(' ').unwrap();
        let answer = ask(server, method, path, &[], body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        self.check(method, template, &answer);
        if answer.headers["content-type"] == "application/json" { answer.json() } else { Value::Null }
    }
}

/// Lets no object of the document's schemas have keys that it does not name, so that what is sent and not told of is seen.
fn close_all(document: &mut Value) {
    // What others are made of, with more beside it, is closed there.
    let mut parts = BTreeSet::new();
    collect_parts(document, &mut parts);
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (name, schema) in schemas {
        close(schema, parts.contains(name));
    }
}

fn collect_parts(value: &Value, parts: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key == "allOf" {
                    let names =
                        value.as_array().into_iter().flatten().filter_map(|part| part["$ref"].as_str());
                    parts.extend(names.filter_map(|name| name.rsplit('/').next()).map(str::to_owned));
                }
                collect_parts(value, parts);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_parts(item, parts)),
        _ => {}
    }
}

fn close(schema: &mut Value, open: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    for key in ["allOf", "oneOf", "anyOf"] {
        for part in object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            close(part, open || key == "allOf");
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| close(property, false));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            close(inner, false);
        }
    }
    let names = object.contains_key("properties") || object.contains_key("allOf");
    if names && !open && !object.contains_key("additionalProperties") {
        object.insert("unevaluatedProperties".into(), json!(false));
    }
}

/// A server with everything that there can be: versions of adapters, a pack to train, a model elsewhere.
async fn full(folder: &TempDir) -> TestServer {
    let packs = folder.path().join("packs");
    put_pack(&packs, "imp", "");
    for version in [1, 2] {
        write_adapter(&packs.join(format!("imp/dialogue_style/v{version}")), version);
    }
    pack(&packs, "banshee", &["dialogue_style"]);
    let models = folder.path().join("models.toml");
    let far = "[[model]]\nname = \"far\"\nurl = \"http://127.0.0.1:1\"\nmodel = \"m\"\nserver = \"llama.cpp\"\n\
               cost = 1.0\nquality = 0.1\n";
    fs::write(&models, far).unwrap();
    let sets = [
        format!("packs.path={}", packs.display()),
        format!("models.file={}", models.display()),
        "models.retries=0".to_owned(),
        "models.priority=latency".to_owned(),
        r#"turn.tracks=["emotion","action","social","goal"]"#.to_owned(),
        "auth.play_grants=event,action,act".to_owned(),
    ];
    TestServer::with_own_engine(&sets.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// A player does everything that leaves something to be asked for.
async fn live(server: &TestServer) {
    let actions = json!([{"name": "wave", "description": "waves"}, {"name": "hide", "description": "hides"}]);
    let mut client = server.identified(Encoding::Json, "mina").await;
    for (npc, archetype) in [("pip", "imp"), ("wail", "banshee")] {
        let joined = client.ask("npc.join", json!({"npc": npc, "archetype": archetype})).await;
        assert_eq!(joined["op"], "npc.joined", "{joined}");
        let say = json!({"npc": npc, "turn": npc, "text": "Wave!", "context": "dusk", "actions": actions});
        client.send(&json!({"op": "say", "d": say})).await;
        let done = client.until("turn.done").await;
        assert_ne!(done.last().unwrap()["d"]["reason"], "error", "{done:?}");
    }
    let event = json!({"npc": "pip", "event": "e1", "kind": "gift", "text": "A flower.", "importance": 0.5});
    let recorded = client.ask("event", event).await;
    assert_eq!(recorded["op"], "event.recorded", "{recorded}");
    let act = json!({"npc": "pip", "act": "a1", "context": "Rain.", "tasks": ["action_policy"], "actions": actions});
    let acted = client.ask("npc.act", act).await;
    assert_eq!(acted["op"], "npc.acted", "{acted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_what_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = full(&folder).await;
    let _provisioning = provision(&server, folder.path()).drop_guard();
    let mut document = Document::of(&server).await;
    live(&server).await;
    // One that comes later stops nothing.
    put_pack(&folder.path().join("packs"), "broken", "unheard_of = 1");

    let promote = ("POST /api/v1/adapters/{id}/promote", "/api/v1/adapters/imp.dialogue_style/promote");
    let rollback = ("POST /api/v1/adapters/{id}/rollback", "/api/v1/adapters/imp.dialogue_style/rollback");
    let provision = ("POST /api/v1/archetypes/{name}/provision", "/api/v1/archetypes/banshee/provision");
    let archetype = "GET /api/v1/archetypes/{name}";
    let (npc, history) = ("GET /api/v1/npcs/{id}", "GET /api/v1/npcs/{id}/history");
    let d = &mut document;
    d.ask(&server, promote.0, promote.1, r#"{"version": "v1"}"#, 200).await;
    let canary = d.ask(&server, promote.0, promote.1, r#"{"version": "v2", "share": 0.5}"#, 200).await;
    assert_eq!(canary["canary"]["version"], "v2", "{canary}");
    let adapters = d.ask(&server, "GET /api/v1/adapters", "/api/v1/adapters", "", 200).await;
    assert!(adapters["items"].as_array().unwrap().len() >= 2, "{adapters}");
    d.ask(&server, archetype, "/api/v1/archetypes/imp", "", 200).await;
    d.ask(&server, archetype, "/api/v1/archetypes/unicorn", "", 404).await;
    d.ask(&server, archetype, "/api/v1/archetypes/broken", "", 422).await;
    let archetypes = d.ask(&server, "GET /api/v1/archetypes", "/api/v1/archetypes", "", 200).await;
    assert!(archetypes["refused"]["broken"].is_string(), "{archetypes}");
    for (body, status) in
        [("{}", 400), (r#"{"version": "v9"}"#, 404), (r#"{"version": "v1", "share": 2}"#, 400)]
    {
        d.ask(&server, promote.0, promote.1, body, status).await;
    }
    d.ask(&server, rollback.0, rollback.1, "", 200).await;
    d.ask(&server, rollback.0, "/api/v1/adapters/imp.lore/rollback", "", 404).await;

    // The player has met it: it may be on its way already, or be there.
    let way = ended(&server, "banshee").await;
    assert_eq!(way["state"], "available", "{way}");
    let way = d.ask(&server, "GET /api/v1/provisioning", "/api/v1/provisioning", "", 200).await;
    assert!(way["items"][0]["tasks"]["dialogue_style"]["metrics"].is_object(), "{way}");
    d.ask(&server, provision.0, provision.1, "", 202).await;
    d.ask(&server, provision.0, "/api/v1/archetypes/unicorn/provision", "", 404).await;

    let models = d.ask(&server, "GET /api/v1/models", "/api/v1/models", "", 200).await;
    assert!(models["items"].as_array().unwrap().len() >= 2, "{models}");
    d.ask(&server, npc, "/api/v1/npcs/pip", "", 200).await;
    d.ask(&server, npc, "/api/v1/npcs/nobody", "", 404).await;
    let page = d.ask(&server, history, "/api/v1/npcs/pip/history?limit=2", "", 200).await;
    let next = page["next"].as_str().expect("a page more");
    let rest = format!("/api/v1/npcs/pip/history?before={next}");
    let rest = d.ask(&server, history, &rest, "", 200).await;
    assert!(rest["items"].as_array().unwrap().iter().any(|item| item["said"].is_string()), "{rest}");
    d.ask(&server, history, "/api/v1/npcs/pip/history?limit=0", "", 400).await;
    let sessions = d.ask(&server, "GET /api/v1/sessions", "/api/v1/sessions?limit=1", "", 200).await;
    assert_eq!(sessions["items"][0]["player"], "mina", "{sessions}");
    d.ask(&server, "GET /api/v1/sessions", "/api/v1/sessions?limit=x", "", 400).await;
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/stats", "/api/v1/openapi.json"] {
        d.ask(&server, &format!("GET {path}"), path, "", 200).await;
    }
    let player = ("DELETE /api/v1/players/{id}", "/api/v1/players/mina");
    let erased = d.ask(&server, player.0, player.1, "", 200).await;
    assert!(erased["interactions"].as_u64() >= Some(2), "{erased}");
    d.ask(&server, "GET /ws", "/ws", "", 400).await;

    let all: BTreeSet<_> = document.operations().into_keys().collect();
    assert_eq!(document.asked, all, "every path of the document is asked here");
}

#[tokio::test]
async fn without_a_token_every_path_of_operators_is_refused() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    let admin = format!("Bearer {}", issuer.sign(&claims("ops", "admin")));
    let answer = ask(&server, "GET", "/api/v1/openapi.json", &[("Authorization", &admin)], "").await;
    let document = answer.json();
    let error = &document["components"]["schemas"]["Error"];
    assert!(error["required"].as_array().unwrap().contains(&json!("error")), "{error}");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = operation["security"] == json!([{}]);
            assert!(!open || !path.starts_with("/api/v1/"), "{path}");
            let refused = ask(&server, &method.to_uppercase(), path, &[], "").await;
            assert_eq!(refused.status == 401, !open, "{method} {path}: {}", refused.status);
            if !open {
                assert!(refused.json()["error"].is_string(), "{path}");
                assert_eq!(refused.headers["www-authenticate"], "Bearer", "{path}");
            }
        }
    }
}
