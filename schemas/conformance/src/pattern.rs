//! What a frame is compared with.
//!
//! A map matches a map that has at least its keys; an array matches one of as many items; anything else matches its
//! equal (`1` and `1.0` are equal). A map with keys that begin with `$` asks more:
//!
//! | key | matches |
//! |---|---|
//! | `$absent: true` | no such key |
//! | `$type` | `str`, `uint`, `number`, `bool`, `map`, `array` |
//! | `$in` | an item of this list |
//! | `$min`, `$max` | a number not below, not above |
//! | `$not` | what this pattern does not match |
//! | `$has` | an array with an item that matches this |
//! | `$each` | an array all of whose items match this |
//! | `$contains` | a string with this in it |
//! | `$chars` | a string of so many Unicode scalar values |
//! | `$save` | anything; it is kept under this name |

use std::collections::BTreeMap;

use serde_json::Value;

use crate::stop::short;

pub type Saved = BTreeMap<String, Value>;

/// Compares; what `$save` names goes into `saved`.
///
/// # Errors
/// Where the two differ.
pub fn matches(pattern: &Value, value: Option<&Value>, at: &str, saved: &mut Saved) -> Result<(), String> {
    if let Value::Object(map) = pattern
        && map.keys().any(|key| key.starts_with('$'))
    {
        return map.iter().try_for_each(|(key, wanted)| ask(key, wanted, value, at, saved));
    }
    let Some(value) = value else { return Err(format!("{at} is missing")) };
    let differs =
        || Err(format!("{at} is {}, not {}", short(&value.to_string()), short(&pattern.to_string())));
    match (pattern, value) {
        (Value::Object(wanted), Value::Object(map)) => wanted
            .iter()
            .try_for_each(|(key, wanted)| matches(wanted, map.get(key), &format!("{at}.{key}"), saved)),
        (Value::Array(wanted), Value::Array(items)) if wanted.len() == items.len() => wanted
            .iter()
            .zip(items)
            .enumerate()
            .try_for_each(|(i, (wanted, item))| matches(wanted, Some(item), &format!("{at}[{i}]"), saved)),
        (Value::Number(wanted), Value::Number(number)) if wanted.as_f64() == number.as_f64() => Ok(()),
        (wanted, value) if wanted == value => Ok(()),
        _ => differs(),
    }
}

fn ask(key: &str, wanted: &Value, value: Option<&Value>, at: &str, saved: &mut Saved) -> Result<(), String> {
    if key == "$absent" {
        return match value {
            None => Ok(()),
            Some(value) => Err(format!("{at} should be absent and is {}", short(&value.to_string()))),
        };
    }
    let Some(value) = value else { return Err(format!("{at} is missing")) };
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let matched = match key {
        "$type" => is_a(wanted.as_str().unwrap_or_default(), value),
        "$in" => wanted.as_array().is_some_and(|all| {
            all.iter().any(|one| matches(one, Some(value), at, &mut Saved::new()).is_ok())
        }),
        "$min" => number(value) >= number(wanted),
        "$max" => number(value) <= number(wanted),
        "$not" => matches(wanted, Some(value), at, &mut Saved::new()).is_err(),
        "$has" => value.as_array().is_some_and(|items| {
            items.iter().any(|item| matches(wanted, Some(item), at, &mut Saved::new()).is_ok())
        }),
        "$each" => {
            let Some(items) = value.as_array() else { return Err(format!("{at} is no array")) };
            return items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| matches(wanted, Some(item), &format!("{at}[{i}]"), saved));
        }
        "$contains" => {
            value.as_str().zip(wanted.as_str()).is_some_and(|(value, wanted)| value.contains(wanted))
        }
        "$chars" => value.as_str().map(|text| text.chars().count() as u64) == wanted.as_u64(),
        "$save" => {
            saved.insert(wanted.as_str().unwrap_or_default().to_owned(), value.clone());
            true
        }
        _ => return Err(format!("the case is wrong: {key} is no word of a pattern")),
    };
    let (wanted, value) = (short(&wanted.to_string()), short(&value.to_string()));
    if matched { Ok(()) } else { Err(format!("{at} is {value}, not {key} {wanted}")) }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "str" => value.is_string(),
        "uint" => value.is_u64(),
        "number" => value.is_number(),
        "bool" => value.is_boolean(),
        "map" => value.is_object(),
        "array" => value.is_array(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pattern: &Value, value: &Value) -> bool {
        matches(pattern, Some(value), "frame", &mut Saved::new()).is_ok()
    }

    #[test]
    fn a_map_wants_its_own_keys_and_takes_others() {
        let frame = json!({"op": "x", "d": {"a": 1, "l": [1, 2]}});
        for pattern in [json!({}), json!({"op": "x"}), json!({"d": {"a": 1.0}}), json!({"d": {"l": [1, 2]}})]
        {
            assert!(check(&pattern, &frame), "{pattern}");
        }
        for pattern in
            [json!({"op": "y"}), json!({"d": {"b": 1}}), json!({"d": {"l": [1]}}), json!({"op": {}})]
        {
            assert!(!check(&pattern, &frame), "{pattern}");
        }
    }

    #[test]
    fn every_word_can_match_and_fail() {
        for (pattern, good, bad) in [
            (json!({"$type": "uint"}), json!(1), json!(-1)),
            (json!({"$type": "str"}), json!("x"), json!(1)),
            (json!({"$type": "number"}), json!(0.5), json!("x")),
            (json!({"$type": "bool"}), json!(true), json!(1)),
            (json!({"$type": "map"}), json!({}), json!([])),
            (json!({"$type": "array"}), json!([]), json!({})),
            (json!({"$in": ["a", "b"]}), json!("b"), json!("c")),
            (json!({"$min": 2}), json!(2), json!(1.5)),
            (json!({"$max": 2, "$min": 1}), json!(2), json!(3)),
            (json!({"$not": {"$in": [1, 2]}}), json!(3), json!(2)),
            (json!({"$has": "a"}), json!(["b", "a"]), json!(["b"])),
            (json!({"$each": {"$type": "str"}}), json!(["b", "a"]), json!(["b", 1])),
            (json!({"$contains": "b"}), json!("abc"), json!("ac")),
            (json!({"$chars": 2}), json!("🦇x"), json!("🦇")),
            (json!({"x": {"$absent": true}}), json!({"y": 1}), json!({"x": 1})),
        ] {
            assert!(check(&pattern, &good), "{pattern} {good}");
            assert!(!check(&pattern, &bad), "{pattern} {bad}");
        }
    }

    #[test]
    fn what_is_saved_is_kept() {
        let mut saved = Saved::new();
        let pattern = json!({"d": {"a": {"$type": "uint", "$save": "it"}}});
        matches(&pattern, Some(&json!({"d": {"a": 7}})), "frame", &mut saved).unwrap();
        assert_eq!(saved["it"], 7);
        assert!(matches(&json!({"a": {"$save": "it"}}), Some(&json!({})), "frame", &mut saved).is_err());
    }

    #[test]
    fn a_word_that_is_none_matches_nothing() {
        assert!(!check(&json!({"$tpye": "str"}), &json!("x")));
    }
}
