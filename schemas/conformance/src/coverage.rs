//! Every op, error code, close code and reason of the protocol is named by at least one case, and every sentence that
//! a case proves stands in the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::case::{self, Case};

/// What no case can bring about from outside.
const EXCEPTIONS: [(&str, &str); 5] = [
    ("close 4000", "internal: needs a fault of the server"),
    ("error engine_failed", "needs a fault of the model"),
    ("error storage_failed", "needs a fault of the store"),
    ("done error", "needs a fault of the model or the store while a turn runs"),
    ("done blocked", "needs a line that a filter of the server blocks; no frame asks for one"),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn cases() -> Vec<Case> {
    case::load(&folder("cases")).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The ops of one direction: the schemas that there are.
fn ops(direction: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder("..").join(direction)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(".schema.json")?.to_owned())).collect()
}

/// The values of an enum of a schema.
fn variants(op: &str, name: &str) -> BTreeSet<String> {
    let schema = json(&folder("../server").join(format!("{op}.schema.json")));
    let mut found = BTreeSet::new();
    constants(&schema["$defs"][name], &mut found);
    assert!(!found.is_empty(), "{op} has no {name}");
    found
}

fn constants(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let listed = map.get("enum").and_then(Value::as_array).into_iter().flatten();
            found.extend(
                map.get("const").into_iter().chain(listed).filter_map(|v| Some(v.as_str()?.to_owned())),
            );
            map.values().for_each(|value| constants(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| constants(item, found)),
        _ => {}
    }
}

/// Numbers and names of the close codes, from the protocol's table.
fn close_codes(page: &str) -> BTreeMap<u64, String> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
    });
    rows.collect()
}

/// What the steps of all cases name: `client OP`, `server OP`, `error CODE`, `close CODE`, `failed REASON`, `done REASON`.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl Named {
    fn of(cases: &[Case]) -> Self {
        let mut named = Self::default();
        for case in cases {
            for step in &case.steps {
                named.step(&serde_json::from_str(&step.text).unwrap(), &mut Vec::new());
            }
        }
        named
    }

    fn note(&mut self, kind: &str, value: &Value) {
        match value {
            Value::String(text) => drop(self.0.insert(format!("{kind} {text}"))),
            Value::Object(map) => map.get("$in").into_iter().for_each(|all| self.note(kind, all)),
            Value::Array(all) => all.iter().for_each(|one| self.note(kind, one)),
            _ => {}
        }
    }

    fn step(&mut self, step: &Value, values: &mut Vec<Value>) {
        let Some(map) = step.as_object() else { return };
        for (key, body) in map {
            match key.as_str() {
                "send" | "send_as_other" => self.sent(body, values),
                "flood" => self.sent(&body["frame"], values),
                "ask" => {
                    self.sent(&body[0], values);
                    self.expected(&body[1]);
                }
                "expect" | "until" => self.expected(body),
                "until_all" => {
                    body.as_array().into_iter().flatten().for_each(|pattern| self.expected(pattern));
                }
                "has" => self.expected(&body[0]),
                "expect_close" => drop(self.0.insert(format!("close {}", body["code"]))),
                "session" => self.note("client", &"identify".into()),
                "resume" => {
                    self.note("client", &"resume".into());
                    self.note("server", &"resumed".into());
                }
                "connect" => self.note("server", &"hello".into()),
                "repeat" | "each" => {
                    self.expected(&body["until"]);
                    if let Some(code) = body["until_close"].get("code") {
                        self.0.insert(format!("close {code}"));
                    }
                    let depth = values.len();
                    values.extend(body["of"].as_array().cloned().unwrap_or_default());
                    body["steps"].as_array().into_iter().flatten().for_each(|step| self.step(step, values));
                    values.truncate(depth);
                }
                _ => {}
            }
        }
    }

    /// A frame that is sent; its op, or the whole of it, may be each of the loop's values.
    fn sent(&mut self, frame: &Value, values: &[Value]) {
        match frame["op"].as_str() {
            Some("$op") => values.iter().for_each(|op| self.note("client", op)),
            Some(_) => self.note("client", &frame["op"]),
            None => values.iter().for_each(|frame| self.note("client", &frame["op"])),
        }
    }

    fn expected(&mut self, pattern: &Value) {
        let (op, d) = (&pattern["op"], &pattern["d"]);
        self.note("server", op);
        if op == "error" {
            self.note("error", &d["code"]);
        }
        if op == "resume_failed" {
            self.note("failed", &d["reason"]);
        }
        if op == "turn.done" {
            self.note("done", &d["reason"]);
        }
    }
}

#[test]
fn every_op_code_and_reason_is_named_by_a_case() {
    let page = fs::read_to_string(folder("../protocol.md")).unwrap();
    let codes = close_codes(&page);
    assert!(codes.len() >= 14, "{codes:?}");
    let with = |kind: &str, all: BTreeSet<String>| {
        all.into_iter().map(move |name| format!("{kind} {name}")).collect::<Vec<_>>()
    };
    let wanted: BTreeSet<String> = [
        with("client", ops("client")),
        with("server", ops("server")),
        with("error", variants("error", "ErrorCode")),
        with("failed", variants("resume_failed", "ResumeFailReason")),
        with("done", variants("turn.done", "DoneReason")),
        codes.keys().map(|code| format!("close {code}")).collect(),
    ]
    .concat()
    .into_iter()
    .collect();
    let named = Named::of(&cases()).0;
    let excepted: BTreeSet<String> = EXCEPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let missing: Vec<_> =
        wanted.iter().filter(|name| !named.contains(*name) && !excepted.contains(*name)).collect();
    assert!(missing.is_empty(), "no case names {missing:?}");
    let stale: Vec<_> =
        excepted.iter().filter(|name| named.contains(*name) || !wanted.contains(*name)).collect();
    assert!(stale.is_empty(), "no exceptions any more: {stale:?}");
}

#[test]
fn close_codes_have_the_names_of_the_protocol() {
    let codes = close_codes(&fs::read_to_string(folder("../protocol.md")).unwrap());
    for case in cases() {
        for step in &case.steps {
            let step: Value = serde_json::from_str(&step.text).unwrap();
            check_closes(&step, &codes, &case.full_name());
        }
    }
}

fn check_closes(value: &Value, codes: &BTreeMap<u64, String>, case: &str) {
    match value {
        Value::Object(map) => {
            if let (Some(code), Some(reason)) = (map.get("code").and_then(Value::as_u64), map.get("reason")) {
                assert_eq!(Some(reason.as_str().unwrap()), codes.get(&code).map(String::as_str), "{case}");
            }
            map.values().for_each(|value| check_closes(value, codes, case));
        }
        Value::Array(items) => items.iter().for_each(|item| check_closes(item, codes, case)),
        _ => {}
    }
}

#[test]
fn every_proof_stands_in_the_protocol() {
    let page = fs::read_to_string(folder("../protocol.md")).unwrap();
    for case in cases() {
        for sentence in &case.proves {
            assert!(page.contains(sentence), "{}: {sentence}", case.full_name());
        }
    }
}
