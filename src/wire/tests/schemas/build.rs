//! Puts a payload's schema into its frame.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::*;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Who sends a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Client,
    Server,
}

impl Direction {
    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    pub fn ops(self) -> &'static [&'static str] {
        match self {
            Self::Client => &CLIENT_OPS,
            Self::Server => &SERVER_OPS,
        }
    }
}

/// The payload of a frame; its definition goes to the generator.
fn payload(direction: Direction, op: &str, generator: &mut SchemaGenerator) -> Value {
    fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
    let of = match (direction, op) {
        (Direction::Client, "identify") => of::<Identify>,
        (Direction::Client, "resume") => of::<Resume>,
        (Direction::Client, "heartbeat") => of::<Heartbeat>,
        (Direction::Client, "auth") => of::<Auth>,
        (Direction::Client, "npc.join") => of::<NpcJoin>,
        (Direction::Client, "npc.focus") => of::<NpcFocus>,
        (Direction::Client, "npc.leave") => of::<NpcLeave>,
        (Direction::Client, "say") => of::<SayFrame>,
        (Direction::Client, "cancel") => of::<Cancel>,
        (Direction::Client, "playback") => of::<Playback>,
        (Direction::Client, "action.result") => of::<ActionResult>,
        (Direction::Client, "event") => of::<Event>,
        (Direction::Client, "npc.act") => of::<NpcAct>,
        (Direction::Server, "hello") => of::<Hello>,
        (Direction::Server, "ready") => of::<Ready>,
        (Direction::Server, "resumed") => of::<Resumed>,
        (Direction::Server, "resume_failed") => of::<ResumeFailed>,
        (Direction::Server, "heartbeat_ack") => of::<HeartbeatAck>,
        (Direction::Server, "authed") => of::<Authed>,
        (Direction::Server, "npc.joined") => of::<NpcJoined>,
        (Direction::Server, "npc.warm") => of::<NpcWarm>,
        (Direction::Server, "npc.left") => of::<NpcLeft>,
        (Direction::Server, "turn.started") => of::<TurnStarted>,
        (Direction::Server, "dialogue.delta") => of::<DialogueDelta>,
        (Direction::Server, "emotion") => of::<Emotion>,
        (Direction::Server, "face.key") => of::<FaceKey>,
        (Direction::Server, "action.proposed") => of::<ActionProposed>,
        (Direction::Server, "social") => of::<Social>,
        (Direction::Server, "goal") => of::<Goal>,
        (Direction::Server, "turn.done") => of::<TurnDone>,
        (Direction::Server, "turn.cancelled") => of::<TurnCancelled>,
        (Direction::Server, "event.recorded") => of::<EventRecorded>,
        (Direction::Server, "npc.acted") => of::<NpcActed>,
        (Direction::Server, "error") => of::<ErrorPayload>,
        other => panic!("no payload is known for {other:?}"),
    };
    of(generator)
}

/// Whether a server frame has an `s`: always, never, or (`None`) perhaps.
fn numbered(op: &str) -> Option<bool> {
    match op {
        "hello" | "heartbeat_ack" | "resumed" | "resume_failed" => Some(false),
        "error" => None,
        _ => Some(true),
    }
}

/// A frame without its definitions.
fn envelope(direction: Direction, op: &str, generator: &mut SchemaGenerator) -> Value {
    let d = payload(direction, op, generator);
    let definition = d["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap();
    let has_required = generator.definitions()[definition].get("required").is_some();
    let description = generator.definitions()[definition].get("description").cloned();

    let mut properties = Map::new();
    let mut required = vec!["op"];
    properties.insert("op".into(), json!({"const": op}));
    properties.insert("d".into(), d);
    properties.insert("cid".into(), generator.subschema_for::<Cid>().to_value());
    if has_required {
        required.push("d");
    }
    let mut frame = json!({"title": op, "type": "object"});
    if let Some(description) = description {
        frame["description"] = description;
    }
    if direction == Direction::Server {
        let number = match op {
            "ready" => json!({"const": 1, "description": "The first number of the session."}),
            _ => json!({
                "type": "integer",
                "format": "uint64",
                "minimum": 1,
                "description": "Number of the frame in its session, without gaps.",
            }),
        };
        match numbered(op) {
            Some(true) => required.push("s"),
            Some(false) => frame["not"] = json!({"required": ["s"]}),
            None => {}
        }
        if numbered(op) != Some(false) {
            properties.insert("s".into(), number);
        }
    }
    frame["properties"] = properties.into();
    frame["required"] = json!(required);
    frame
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// The schema of one frame.
pub fn frame(direction: Direction, op: &str) -> Value {
    let mut generator = generator();
    let mut schema = envelope(direction, op, &mut generator);
    schema["$schema"] = DRAFT.into();
    schema["$id"] = format!("urn:npc-gateway:v{PROTOCOL}:{}:{op}", direction.name()).into();
    schema["$defs"] = generator.take_definitions(false).into();
    tidy(&mut schema);
    schema
}

/// One schema with all frames, for tools that make types of it.
pub fn protocol() -> Value {
    let mut generator = generator();
    let mut frames = Map::new();
    let mut all = Map::new();
    for (direction, name) in [(Direction::Client, "ClientFrame"), (Direction::Server, "ServerFrame")] {
        let mut one_of = Vec::new();
        for op in direction.ops() {
            let mut frame = envelope(direction, op, &mut generator);
            let title = format!("{}Frame", pascal(op));
            frame["title"] = title.as_str().into();
            one_of.push(json!({"$ref": format!("#/$defs/{title}")}));
            assert!(frames.insert(title, frame).is_none(), "two frames of one name: {op}");
        }
        let description = format!("What the {} sends.", direction.name());
        all.insert(name.to_owned(), json!({"title": name, "description": description, "oneOf": one_of}));
    }
    let mut definitions = generator.take_definitions(false);
    for (name, definition) in frames.into_iter().chain(all) {
        assert!(definitions.insert(name.clone(), definition).is_none(), "two definitions of the name {name}");
    }
    let mut schema = json!({
        "$schema": DRAFT,
        "$id": format!("urn:npc-gateway:v{PROTOCOL}"),
        "title": format!("npc-gateway wire protocol, version {PROTOCOL}"),
        "oneOf": [{"$ref": "#/$defs/ClientFrame"}, {"$ref": "#/$defs/ServerFrame"}],
        "$defs": definitions,
    });
    tidy(&mut schema);
    schema
}

/// `npc.join` → `NpcJoin`.
fn pascal(op: &str) -> String {
    op.split(['.', '_'])
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        })
        .collect()
}

/// Says of optional keys that they may be absent, not that they may be null, and of integers how far they go.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(map) => {
            for key in ["anyOf", "type"] {
                let Some(Value::Array(options)) = map.get_mut(key) else { continue };
                options.retain(|option| option != "null" && *option != json!({"type": "null"}));
                if options.len() == 1 {
                    let option = options.remove(0);
                    map.remove(key);
                    match option {
                        Value::Object(option) => map.extend(option),
                        kind => {
                            map.insert(key.to_owned(), kind);
                        }
                    }
                }
            }
            if let Some(bits) = map.get("format").and_then(Value::as_str).and_then(|f| f.strip_prefix("uint"))
            {
                let max = u64::MAX >> (64 - bits.parse::<u32>().unwrap());
                map.entry("maximum").or_insert_with(|| max.into());
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                // The lines of a comment are no lines of a text.
                *text = text.replace('\n', " ");
            }
            map.values_mut().for_each(tidy);
        }
        _ => {}
    }
}
