//! The bounds of the payloads as JSON Schema, for the derives in [`super::payload`].
//!
//! Only tests compile this: `schemas/` is checked in, and the server has no use for it. What the decoder checks
//! is stated with the decoder's own constants.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::client::{
    IMPORTANCE, MAX_ARCHETYPE_CHARS, MAX_AUDIENCE, MAX_DESCRIPTION_CHARS, MAX_ID_CHARS, MAX_NAME_CHARS,
    MAX_STOP_CHARS, MAX_STOPS, MAX_TOKENS, MAX_TRAITS, MIN_P, MIX_WEIGHT, TEMPERATURE, TOP_P, TRAIT,
};
use super::fields::Range;
use super::payload::{Action, Axis, ChainTask, Choice, EmotionLabel, FACE_SHAPES};
use super::{PROTOCOL, TASKS};

/// Traits of a personality that the server sends.
const PERSONALITY: usize = 50;
/// Probabilities and intensities.
const UNIT: Range = Range::closed(0.0, 1.0, "");
/// An axis of a relationship.
const AXIS: Range = Range::closed(-1.0, 1.0, "");
/// How far an axis may move at once: from one end to the other.
const SHIFT: Range = Range::closed(-2.0, 2.0, "");

type Generator = SchemaGenerator;

fn string(min: usize, max: usize) -> Schema {
    json_schema!({"type": "string", "minLength": min, "maxLength": max})
}

fn pattern(min: usize, max: usize, pattern: &str) -> Schema {
    let mut schema = string(min, max);
    schema.insert("pattern".into(), pattern.into());
    schema
}

fn number(range: &Range) -> Schema {
    let mut schema = json_schema!({"type": "number", "format": "float"});
    for (key, bound) in range.bounds() {
        schema.insert(key.into(), json!(bound));
    }
    schema
}

/// A map whose keys are free, at most `max` of them.
fn numbers_by_name(max: usize, range: &Range) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": number(range),
        "propertyNames": string(1, MAX_NAME_CHARS),
        "maxProperties": max,
    })
}

/// A map whose keys are one of these.
fn numbers_by_one_of(names: &Value, range: &Range) -> Schema {
    json_schema!({"type": "object", "additionalProperties": number(range), "propertyNames": {"enum": names}})
}

fn ids(max: usize) -> Schema {
    json_schema!({"type": "array", "items": string(1, MAX_ID_CHARS), "maxItems": max})
}

/// Of an NPC.
pub fn npc_id(_: &mut Generator) -> Schema {
    pattern(1, MAX_ID_CHARS, "^[A-Za-z0-9_.:-]*$")
}

/// Of a turn, an event, an act, an action.
pub fn short_id(_: &mut Generator) -> Schema {
    string(1, MAX_ID_CHARS)
}

pub fn archetype(_: &mut Generator) -> Schema {
    pattern(1, MAX_ARCHETYPE_CHARS, "^[a-z0-9_-]*$")
}

/// No control characters.
pub fn plain_name(_: &mut Generator) -> Schema {
    pattern(1, MAX_NAME_CHARS, r"^[^\u0000-\u001f\u007f-\u009f]*$")
}

pub fn client_text(_: &mut Generator) -> Schema {
    string(1, MAX_NAME_CHARS)
}

pub fn description(_: &mut Generator) -> Schema {
    json_schema!({"type": "string", "maxLength": MAX_DESCRIPTION_CHARS})
}

pub fn protocol(_: &mut Generator) -> Schema {
    json_schema!({"const": PROTOCOL})
}

pub fn always_false(_: &mut Generator) -> Schema {
    json_schema!({"const": false})
}

/// Traits as a client gives them.
pub fn traits(_: &mut Generator) -> Schema {
    numbers_by_name(MAX_TRAITS, &TRAIT)
}

/// Traits as the server tells them.
pub fn personality(_: &mut Generator) -> Schema {
    let mut schema = numbers_by_name(PERSONALITY, &TRAIT);
    schema.insert("minProperties".into(), PERSONALITY.into());
    schema
}

pub fn actions(generator: &mut Generator) -> Schema {
    json_schema!({"type": "array", "items": generator.subschema_for::<Action>()})
}

pub fn audience(_: &mut Generator) -> Schema {
    ids(MAX_AUDIENCE)
}

pub fn max_tokens(_: &mut Generator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_TOKENS})
}

pub fn temperature(_: &mut Generator) -> Schema {
    number(&TEMPERATURE)
}

pub fn top_p(_: &mut Generator) -> Schema {
    number(&TOP_P)
}

pub fn min_p(_: &mut Generator) -> Schema {
    number(&MIN_P)
}

pub fn stop(_: &mut Generator) -> Schema {
    json_schema!({"type": "array", "items": string(1, MAX_STOP_CHARS), "maxItems": MAX_STOPS})
}

/// Weights of a mix by task.
pub fn mix(_: &mut Generator) -> Schema {
    numbers_by_one_of(&json!(TASKS), &MIX_WEIGHT)
}

pub fn task(_: &mut Generator) -> Schema {
    json_schema!({"enum": TASKS})
}

pub fn tasks(generator: &mut Generator) -> Schema {
    json_schema!({
        "type": "array",
        "items": task(generator),
        "minItems": 1,
        "maxItems": TASKS.len(),
        "uniqueItems": true,
    })
}

/// The chain's adapters by task.
pub fn chain_tasks(generator: &mut Generator) -> Schema {
    by_task::<ChainTask>(generator)
}

/// The answers of an `npc.act` by task.
pub fn results(generator: &mut Generator) -> Schema {
    by_task::<Choice>(generator)
}

fn by_task<T: schemars::JsonSchema>(generator: &mut Generator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": generator.subschema_for::<T>(),
        "propertyNames": {"enum": TASKS},
    })
}

pub fn importance(_: &mut Generator) -> Schema {
    number(&IMPORTANCE)
}

/// A probability or an intensity.
pub fn unit(_: &mut Generator) -> Schema {
    number(&UNIT)
}

/// Probabilities by option.
pub fn probabilities(_: &mut Generator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": number(&UNIT)})
}

pub fn emotions(_: &mut Generator) -> Schema {
    numbers_by_one_of(&names_of::<EmotionLabel>(), &UNIT)
}

pub fn axis(_: &mut Generator) -> Schema {
    number(&AXIS)
}

pub fn shifts(_: &mut Generator) -> Schema {
    numbers_by_one_of(&names_of::<Axis>(), &SHIFT)
}

/// Action units: `AU12`, `AU14L`, `AU14R`.
pub fn action_units(_: &mut Generator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": number(&UNIT),
        "propertyNames": {"pattern": "^AU[0-9]{1,2}[LR]?$"},
    })
}

/// In JSON; in MessagePack it is bin.
pub fn blob(_: &mut Generator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": u8::MAX},
        "minItems": FACE_SHAPES,
        "maxItems": FACE_SHAPES,
    })
}

pub fn rig(_: &mut Generator) -> Schema {
    json_schema!({"const": "arkit52"})
}

pub fn shapes(_: &mut Generator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string"},
        "minItems": FACE_SHAPES,
        "maxItems": FACE_SHAPES,
        "uniqueItems": true,
    })
}

/// The names of an enum of plain words.
fn names_of<T: schemars::JsonSchema>() -> Value {
    let schema = T::json_schema(&mut Generator::default());
    schema.get("enum").expect("no variant has a description").clone()
}
