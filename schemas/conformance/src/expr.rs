//! Values of cases that are worked out while they run.
//!
//! | written | is |
//! |---|---|
//! | `"$name.key"` | the value of that name |
//! | `"… ${name.key} …"` | the text with the value in it |
//! | `{"$add": [a, b]}`, `{"$mul": [a, b]}`, `{"$sub": [a, b]}`, `{"$div": [a, b]}` | whole numbers; never below 0 |
//! | `{"$repeat": [text, n]}` | the text n times |
//! | `{"$merge": [map, map]}` | a map with the keys of both, the second one's if both have it |
//! | `{"$prefix": [text, n]}` | its first n Unicode scalar values |
//! | `{"$count": text}` | how many it has |
//! | `{"$token": {…}}` | a token, see `tokens.rs` |

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::stop::{Step, Stop, fail};
use crate::tokens::{Tokens, Wish};

/// Most bytes of a text that a case makes.
const MAX_TEXT: usize = 64 << 20;

/// The values that steps may name.
#[derive(Debug, Clone, Default)]
pub struct Vars {
    map: BTreeMap<String, Value>,
}

impl Vars {
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.map.insert(name.to_owned(), value.into());
    }

    pub fn extend(&mut self, saved: BTreeMap<String, Value>) {
        self.map.extend(saved);
    }

    /// The value of `name.key.key`. Names may have dots in them.
    pub fn get(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.map.get(path) {
            return Some(value);
        }
        let ends = path.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
        ends.into_iter().rev().find_map(|at| {
            let value = self.map.get(&path[..at])?;
            path[at + 1..].split('.').try_fold(value, step)
        })
    }

    fn known(&self, path: &str) -> Step<&Value> {
        self.get(path)
            .ok_or_else(|| Stop::Failed(format!("there is no ${path}: it was not saved, or is not told")))
    }

    /// Works a value out.
    ///
    /// # Errors
    /// A name that is not there; a token that this run cannot make.
    pub fn evaluate(&self, value: &Value, tokens: &Tokens) -> Step<Value> {
        Ok(match value {
            Value::String(text) => self.text(text)?,
            Value::Array(items) => {
                items.iter().map(|item| self.evaluate(item, tokens)).collect::<Step<Vec<_>>>()?.into()
            }
            Value::Object(map) => {
                if let Some(made) = self.make(map, tokens) {
                    return made;
                }
                let entries = map.iter().map(|(key, value)| Ok((key.clone(), self.evaluate(value, tokens)?)));
                Value::Object(entries.collect::<Step<Map<_, _>>>()?)
            }
            other => other.clone(),
        })
    }

    fn text(&self, text: &str) -> Step<Value> {
        if let Some(path) = text.strip_prefix('$').filter(|path| !path.starts_with('{')) {
            return self.known(path).cloned();
        }
        let mut made = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else {
                return fail(format!("the case is wrong: a brace is missing in {text:?}"));
            };
            made += &rest[..start];
            match self.known(&rest[start + 2..start + length])? {
                Value::String(text) => made += text,
                other => made += &other.to_string(),
            }
            rest = &rest[start + length + 1..];
        }
        Ok((made + rest).into())
    }

    /// A map of one key that makes a value; `None`: it is a map.
    fn make(&self, map: &Map<String, Value>, tokens: &Tokens) -> Option<Step<Value>> {
        let (key, value) = map.iter().next()?;
        let makes = ["$add", "$sub", "$mul", "$div", "$merge", "$repeat", "$prefix", "$count", "$token"];
        if map.len() != 1 || !makes.contains(&key.as_str()) {
            return None;
        }
        Some(self.evaluate(value, tokens).and_then(|value| {
            make(key, &value, tokens).unwrap_or_else(|| fail(format!("the case is wrong: {key} of {value}")))
        }))
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, value: &Value, tokens: &Tokens) -> Step<u64> {
        let value = self.evaluate(value, tokens)?;
        value.as_u64().ok_or_else(|| Stop::Failed(format!("the case is wrong: {value} is no number")))
    }
}

/// The value of a key, or of a place in a list.
fn step<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    }
}

fn make(key: &str, value: &Value, tokens: &Tokens) -> Option<Step<Value>> {
    let number = |i: usize| value.get(i).and_then(Value::as_u64);
    let text = || value.get(0).and_then(Value::as_str);
    let made = match key {
        "$add" => number(0)?.saturating_add(number(1)?).into(),
        "$sub" => number(0)?.saturating_sub(number(1)?).into(),
        "$mul" => number(0)?.saturating_mul(number(1)?).into(),
        "$div" => number(0)?.checked_div(number(1)?)?.into(),
        "$merge" => {
            let mut map = value.get(0)?.as_object()?.clone();
            map.extend(value.get(1)?.as_object()?.clone());
            map.into()
        }
        "$repeat" => {
            let times = usize::try_from(number(1)?).ok()?;
            let length = text()?.len().checked_mul(times).filter(|length| *length <= MAX_TEXT);
            if length.is_none() {
                return Some(Err(Stop::Skipped(format!(
                    "a text of more than {MAX_TEXT} bytes would be needed"
                ))));
            }
            text()?.repeat(times).into()
        }
        "$prefix" => {
            let most = usize::try_from(number(1)?).ok()?;
            text()?.chars().take(most).collect::<String>().into()
        }
        "$count" => (value.as_str()?.chars().count() as u64).into(),
        "$token" => {
            let wish = match serde_json::from_value::<Wish>(value.clone()) {
                Ok(wish) => wish,
                Err(error) => return Some(fail(format!("the case is wrong: $token: {error}"))),
            };
            return Some(tokens.make(&wish).map(Value::String));
        }
        _ => return None,
    };
    Some(Ok(made))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_worked_out() {
        let mut vars = Vars::default();
        vars.set("limits", json!({"max": 3}));
        vars.set("a.session", "s1");
        vars.set("id", 7);
        let value = |value: Value| vars.evaluate(&value, &Tokens::Dev);
        for (written, is) in [
            (json!("$limits.max"), json!(3)),
            (json!("$a.session"), json!("s1")),
            (json!("x-${id}-${a.session}"), json!("x-7-s1")),
            (json!({"$add": ["$limits.max", 1]}), json!(4)),
            (json!({"$sub": [1, "$limits.max"]}), json!(0)),
            (json!({"$mul": [2, {"$add": [1, 1]}]}), json!(4)),
            (json!({"d": {"text": {"$repeat": ["🦇", "$limits.max"]}}}), json!({"d": {"text": "🦇🦇🦇"}})),
            (json!({"$prefix": ["🦇ab", 2]}), json!("🦇a")),
            (json!({"$count": "🦇ab"}), json!(3)),
            (json!({"$token": {"player": "mina"}}), json!("mina")),
            (json!({"$save": "x"}), json!({"$save": "x"})),
        ] {
            assert_eq!(value(written.clone()), Ok(is), "{written}");
        }
        for wrong in
            [json!("$nothing"), json!("${id"), json!({"$add": ["x", 1]}), json!({"$token": {"payer": 1}})]
        {
            assert!(matches!(value(wrong.clone()), Err(Stop::Failed(_))), "{wrong}");
        }
        assert!(matches!(value(json!({"$repeat": ["x", 1u64 << 40]})), Err(Stop::Skipped(_))));
    }
}
