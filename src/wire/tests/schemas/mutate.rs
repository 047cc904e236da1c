//! Changes of a valid frame, read off its schema: one at each bound, one past it.

use serde_json::{Map, Value, json};

/// A step that a 32-bit float between −2 and 2 can show.
const STEP: f64 = 1e-6;

/// A changed frame.
#[derive(Debug)]
pub struct Mutation {
    pub frame: Value,
    /// Whether the schema's words allow it.
    pub ok: bool,
    /// Where and what, for messages.
    pub what: String,
}

/// Walks a frame beside its schema.
pub struct Walk<'a> {
    schema: &'a Value,
    frame: &'a Value,
    mutations: Vec<Mutation>,
}

/// All mutations of a frame that its schema tells.
pub fn mutations(schema: &Value, frame: &Value) -> Vec<Mutation> {
    let mut walk = Walk { schema, frame, mutations: Vec::new() };
    walk.at("", schema);
    walk.mutations
}

impl<'a> Walk<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(path) => self.schema.pointer(path.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// Notes the frame with another value at a place.
    fn put(&mut self, at: &str, value: impl Into<Value>, ok: bool, what: &str) {
        let mut frame = self.frame.clone();
        *frame.pointer_mut(at).unwrap() = value.into();
        self.mutations.push(Mutation { frame, ok, what: format!("{at}: {what}") });
    }

    fn at(&mut self, at: &str, schema: &'a Value) {
        let schema = self.resolve(schema);
        let value = self.frame.pointer(at).unwrap();
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            self.any_of(at, options);
            return;
        }
        for key in ["const", "enum"] {
            if schema.get(key).is_some() {
                self.put(at, "no such word", false, key);
                self.put(at, json!([]), false, key);
            }
        }
        let wrong = match schema.get("type").and_then(Value::as_str) {
            Some("string") => vec![json!(7), json!([])],
            Some("integer") => vec![json!("7"), json!(-1), json!(0.5), json!(true)],
            Some("number") => vec![json!("7"), json!(true), json!([])],
            Some("boolean") => vec![json!(1), json!("true")],
            Some("array") => vec![json!({}), json!("x")],
            Some("object") => vec![json!([]), json!("x"), json!(1)],
            _ => vec![],
        };
        for wrong in wrong {
            self.put(at, wrong, false, "type");
        }
        self.numbers(at, schema);
        match value {
            Value::String(_) => self.string(at, schema),
            Value::Array(items) => self.array(at, schema, items),
            Value::Object(map) => self.object(at, schema, map),
            _ => {}
        }
    }

    /// `cid` and `limit`: of several types.
    fn any_of(&mut self, at: &str, options: &[Value]) {
        let takes = |kind: &str| options.iter().any(|option| option["type"] == kind);
        self.put(at, u64::MAX, takes("integer"), "the largest integer");
        self.put(at, "", takes("string"), "an empty string");
        self.put(at, -1, takes("number"), "a negative integer");
        self.put(at, 0.5, takes("number"), "a fraction");
        self.put(at, true, false, "a boolean");
        self.put(at, json!([]), false, "an array");
        self.put(at, json!({}), false, "a map");
    }

    fn numbers(&mut self, at: &str, schema: &Value) {
        let integer = schema["type"] == "integer";
        for (key, sign, included) in [
            ("minimum", -1.0, true),
            ("maximum", 1.0, true),
            ("exclusiveMinimum", -1.0, false),
            ("exclusiveMaximum", 1.0, false),
        ] {
            let Some(bound) = schema.get(key) else { continue };
            self.put(at, bound.clone(), included, key);
            if integer {
                // Past the largest integer of all is no integer any more.
                let past = i128::from(bound.as_u64().unwrap()) + sign as i128;
                let past = u64::try_from(past).map_or_else(|_| json!(past as f64), |past| json!(past));
                self.put(at, past, false, &format!("past {key}"));
            } else {
                let bound = bound.as_f64().unwrap();
                self.put(at, bound + sign * STEP, false, &format!("past {key}"));
                self.put(at, bound - sign * STEP, true, &format!("inside {key}"));
                self.put(at, bound as i64, included, &format!("{key} as an integer"));
            }
        }
    }

    fn string(&mut self, at: &str, schema: &Value) {
        // Lengths count characters, not bytes; a pattern may not let the long ones through.
        let letter = if schema.get("pattern").is_some() { "a" } else { "🦇" };
        for (key, sign) in [("minLength", -1), ("maxLength", 1)] {
            let Some(bound) = schema.get(key).and_then(Value::as_i64) else { continue };
            self.put(at, letter.repeat(bound as usize), true, key);
            self.put(at, letter.repeat((bound + sign) as usize), false, &format!("past {key}"));
        }
    }

    fn array(&mut self, at: &str, schema: &'a Value, items: &[Value]) {
        let Some(of) = schema.get("items") else { return };
        let unique = schema.get("uniqueItems").is_some();
        if let Some(first) = items.first() {
            for (key, sign) in [("minItems", -1), ("maxItems", 1)] {
                let Some(bound) = schema.get(key).and_then(Value::as_i64) else { continue };
                let names = of.get("enum").and_then(Value::as_array);
                let many = |n: i64| -> Vec<Value> {
                    (0..n as usize)
                        .map(|i| match names {
                            Some(names) => names[i % names.len()].clone(),
                            None if unique => format!("{i}").into(),
                            None => first.clone(),
                        })
                        .collect()
                };
                self.put(at, many(bound), true, key);
                self.put(at, many(bound + sign), false, &format!("past {key}"));
            }
            if unique {
                self.put(at, vec![first.clone(), first.clone()], false, "uniqueItems");
            }
            self.at(&format!("{at}/0"), of);
        }
    }

    fn object(&mut self, at: &str, schema: &'a Value, map: &Map<String, Value>) {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, of) in properties {
                if !map.contains_key(key) {
                    continue;
                }
                let mut less = map.clone();
                less.remove(key);
                self.put(at, less, !required.contains(&key.as_str()), &format!("without {key}"));
                self.at(&format!("{at}/{key}"), of);
            }
            let mut more = map.clone();
            more.insert("unknown key".into(), json!({"of": ["a", {"later": "version"}]}));
            self.put(at, more, true, "unknown key");
        } else {
            self.names(at, schema, map);
        }
        if let Some(absent) = schema.pointer("/not/required/0").and_then(Value::as_str) {
            let mut more = map.clone();
            more.insert(absent.to_owned(), json!(1));
            self.put(at, more, false, "a key that it never has");
        }
    }

    /// A map whose keys are names.
    fn names(&mut self, at: &str, schema: &'a Value, map: &Map<String, Value>) {
        let Some((name, first)) = map.iter().next() else { return };
        if let Some(of) = schema.get("additionalProperties") {
            self.at(&format!("{at}/{name}"), of);
        }
        for (key, sign) in [("minProperties", -1), ("maxProperties", 1)] {
            let Some(bound) = schema.get(key).and_then(Value::as_i64) else { continue };
            let many = |n: i64| (0..n).map(|i| (format!("k{i}"), first.clone())).collect::<Map<_, _>>();
            self.put(at, many(bound), true, key);
            self.put(at, many(bound + sign), false, &format!("past {key}"));
        }
        let Some(names) = schema.get("propertyNames") else { return };
        let named = |name: String| Map::from_iter([(name, first.clone())]);
        let bounds = |key| names.get(key).and_then(Value::as_u64).map(|bound| bound as usize);
        // The number of entries is another matter.
        if schema.get("minProperties").is_some() {
            return;
        }
        if let (Some(min), Some(max)) = (bounds("minLength"), bounds("maxLength")) {
            for (length, ok) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                self.put(at, named("ß".repeat(length)), ok, &format!("a name of {length} characters"));
            }
        } else {
            self.put(at, named("no such name".into()), false, "propertyNames");
        }
    }
}
