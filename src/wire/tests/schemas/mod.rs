//! JSON Schema of every frame: `schemas/client/`, `schemas/server/` and `schemas/protocol.schema.json`, written
//! from the payload types, and proofs that they say what the decoder does.

mod agree;
mod build;
mod mutate;

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::Value;

use super::golden::files::{check_file, check_folder, schemas};
use super::golden::{client_golden, server_golden};
use super::*;
use build::Direction;

/// The validators of all frames of one direction, by `op`.
fn validators(direction: Direction) -> BTreeMap<&'static str, Validator> {
    direction
        .ops()
        .iter()
        .map(|op| (*op, jsonschema::draft202012::new(&build::frame(direction, op)).unwrap()))
        .collect()
}

/// Name, `op` and value of every golden frame of one direction.
fn golden_values(direction: Direction) -> Vec<(String, String, Value)> {
    let golden = match direction {
        Direction::Client => client_golden(),
        Direction::Server => server_golden(),
    };
    golden
        .frames()
        .map(|(name, json, _)| {
            let value: Value = serde_json::from_slice(json).unwrap();
            (name.to_owned(), value["op"].as_str().unwrap().to_owned(), value)
        })
        .collect()
}

fn pretty(schema: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(schema).unwrap();
    text.push(b'\n');
    text
}

#[test]
fn the_schemas_are_what_the_types_say() {
    for direction in [Direction::Client, Direction::Server] {
        let files = direction
            .ops()
            .iter()
            .map(|op| (format!("{op}.schema.json"), pretty(&build::frame(direction, op))));
        check_folder(&schemas().join(direction.name()), &files.collect());
    }
    check_file(&schemas().join("protocol.schema.json"), &pretty(&build::protocol()));
}

#[test]
fn the_schemas_are_schemas() {
    for direction in [Direction::Client, Direction::Server] {
        for op in direction.ops() {
            assert!(jsonschema::meta::is_valid(&build::frame(direction, op)), "{op}");
        }
    }
    assert!(jsonschema::meta::is_valid(&build::protocol()));
}

#[test]
fn golden_frames_are_valid() {
    let protocol = jsonschema::draft202012::new(&build::protocol()).unwrap();
    for direction in [Direction::Client, Direction::Server] {
        let validators = validators(direction);
        for (name, op, value) in golden_values(direction) {
            for validator in [&validators[op.as_str()], &protocol] {
                let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{name}: {errors:?}");
            }
            // No other frame's schema takes it.
            for (other, validator) in &validators {
                assert_eq!(validator.is_valid(&value), *other == op, "{name} as {other}");
            }
        }
    }
}
