//! Reads the keys of a payload, and says exactly which one is wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::value::{Value, get};
use super::{ErrorCode, ErrorPayload, Limit};

/// Longest part of a client's own key that is repeated in a `field`.
const SHOWN_KEY_CHARS: usize = 64;

/// A value that the server does not take.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    code: ErrorCode,
    field: String,
    /// Follows the name of the field: "must be …".
    problem: String,
    limit: Option<Limit>,
}

impl Invalid {
    /// A `bad_payload` about the key with this path.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { code: ErrorCode::BadPayload, field: field.into(), problem: problem.into(), limit: None }
    }

    /// The same, with the bound that was broken.
    pub fn with_limit(mut self, limit: impl Into<Limit>) -> Self {
        self.limit = Some(limit.into());
        self
    }
}

impl From<Invalid> for Box<ErrorPayload> {
    fn from(invalid: Invalid) -> Self {
        let Invalid { code, field, problem, limit } = invalid;
        let error = ErrorPayload::new(code, format!("`{field}` {problem}"));
        Self::new(ErrorPayload { field: Some(field), limit, ..error })
    }
}

type Result<T> = std::result::Result<T, Invalid>;

/// A map of a payload and the path that leads to it.
#[derive(Debug, Clone)]
pub struct Fields<'v, 'a> {
    map: &'v [(Cow<'a, str>, Value<'a>)],
    /// Empty for `d` itself, else it ends in a dot.
    path: String,
}

impl<'v, 'a> Fields<'v, 'a> {
    /// The payload itself.
    pub fn root(map: &'v [(Cow<'a, str>, Value<'a>)]) -> Self {
        Self { map, path: String::new() }
    }

    /// The value of a key that may be absent.
    pub fn optional(&self, key: &str) -> Option<Field<'v, 'a>> {
        let value = get(self.map, key)?;
        Some(Field { value, path: self.path_of(key) })
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str) -> Result<Field<'v, 'a>> {
        self.optional(key).ok_or_else(|| Invalid::new(self.path_of(key), "is missing"))
    }

    fn path_of(&self, key: &str) -> String {
        if key.chars().nth(SHOWN_KEY_CHARS).is_none() {
            format!("{}{key}", self.path)
        } else {
            let shown: String = key.chars().take(SHOWN_KEY_CHARS).collect();
            format!("{}{shown}…", self.path)
        }
    }
}

/// One value of a payload and its path.
#[derive(Debug, Clone)]
pub struct Field<'v, 'a> {
    value: &'v Value<'a>,
    path: String,
}

impl<'v, 'a> Field<'v, 'a> {
    /// A `bad_payload` about this value.
    pub fn invalid(&self, problem: impl Into<String>) -> Invalid {
        Invalid::new(self.path.clone(), problem)
    }

    fn must_be(&self, what: &str) -> Invalid {
        self.invalid(format!("must be {what}, not {}", self.value.kind()))
    }

    /// Any string.
    pub fn str(&self) -> Result<&'v str> {
        match self.value {
            Value::Str(text) => Ok(text),
            _ => Err(self.must_be("a string")),
        }
    }

    /// A string of 1 to `max` characters.
    pub fn short(&self, max: usize) -> Result<&'v str> {
        let text = self.str()?;
        if text.is_empty() {
            return Err(self.invalid("must not be empty").with_limit(1_u64));
        }
        self.at_most(max)
    }

    /// A string of at most `max` characters.
    pub fn at_most(&self, max: usize) -> Result<&'v str> {
        let text = self.str()?;
        if longer_than(text, max) {
            return Err(self.invalid(format!("must have at most {max} characters")).with_limit(max));
        }
        Ok(text)
    }

    /// A string of at most `max` characters; a longer one is `text_too_long`.
    pub fn text(&self, max: usize) -> Result<&'v str> {
        let text = self.str()?;
        if longer_than(text, max) {
            let invalid = self.invalid(format!("has more than {max} characters")).with_limit(max);
            return Err(Invalid { code: ErrorCode::TextTooLong, ..invalid });
        }
        Ok(text)
    }

    /// A string of 1 to `max` characters, none of them a control character.
    pub fn plain(&self, max: usize) -> Result<&'v str> {
        let text = self.short(max)?;
        if text.chars().any(char::is_control) {
            return Err(self.invalid("must not contain control characters"));
        }
        Ok(text)
    }

    /// A string of 1 to `max` of the characters that `allowed` takes; `alphabet` describes them.
    pub fn id(&self, max: usize, alphabet: &str, allowed: fn(u8) -> bool) -> Result<&'v str> {
        let text = self.short(max)?;
        if !text.bytes().all(allowed) {
            return Err(self.invalid(format!("must consist of {alphabet}")));
        }
        Ok(text)
    }

    /// An unsigned integer. A float is none, whatever its value.
    pub fn uint(&self) -> Result<u64> {
        match self.value {
            Value::Uint(value) => Ok(*value),
            _ => Err(self.must_be("an unsigned integer")),
        }
    }

    /// An unsigned integer in a range.
    pub fn uint_in(&self, range: RangeInclusive<u32>) -> Result<u32> {
        let (low, high) = (*range.start(), *range.end());
        let value = self.uint()?;
        match u32::try_from(value) {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => {
                let broken = if value < u64::from(low) { low } else { high };
                Err(self.invalid(format!("must be between {low} and {high}")).with_limit(u64::from(broken)))
            }
        }
    }

    /// A finite number in a range; an integer is taken as well.
    pub fn number(&self, range: &Range) -> Result<f32> {
        let value = match self.value {
            Value::Uint(value) => *value as f64,
            Value::Int(value) => *value as f64,
            Value::Float(value) => *value,
            _ => return Err(self.must_be("a number")),
        };
        if !value.is_finite() {
            return Err(self.invalid("must be a finite number"));
        }
        // Checked again after rounding to f32, which may step onto a bound that is left out.
        let rounded = value as f32;
        for number in [value, f64::from(rounded)] {
            if let Some(limit) = range.broken_by(number) {
                return Err(self.invalid(format!("must be {}", range.words)).with_limit(limit));
            }
        }
        Ok(rounded)
    }

    /// A boolean.
    pub fn bool(&self) -> Result<bool> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.must_be("a boolean")),
        }
    }

    /// A map with keys of its own.
    pub fn fields(&self) -> Result<Fields<'v, 'a>> {
        match self.value {
            Value::Map(map) => Ok(Fields { map, path: format!("{}.", self.path) }),
            _ => Err(self.must_be("a map")),
        }
    }

    /// The elements of an array of at most `max`.
    pub fn items(&self, max: usize) -> Result<impl Iterator<Item = Field<'v, 'a>>> {
        let Value::Array(items) = self.value else { return Err(self.must_be("an array")) };
        if items.len() > max {
            return Err(self.invalid(format!("must have at most {max} elements")).with_limit(max));
        }
        let path = self.path.clone();
        Ok(items.iter().enumerate().map(move |(i, value)| Field { value, path: format!("{path}[{i}]") }))
    }

    /// A map from names to numbers, with at most `max` entries. `known` tells why a name is not one.
    pub fn weights(
        &self,
        max: usize,
        range: &Range,
        known: impl Fn(&str) -> std::result::Result<(), String>,
    ) -> Result<BTreeMap<String, f32>> {
        let fields = self.fields()?;
        if fields.map.len() > max {
            return Err(self.invalid(format!("must have at most {max} entries")).with_limit(max));
        }
        let mut weights = BTreeMap::new();
        for (key, value) in fields.map {
            let field = Field { value, path: fields.path_of(key) };
            known(key).map_err(|problem| field.invalid(problem))?;
            // In the order of the message, so that the last of several equal keys counts.
            weights.insert(key.to_string(), field.number(range)?);
        }
        Ok(weights)
    }
}

fn longer_than(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().nth(max).is_some()
}

/// Bounds of a number.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    low: f64,
    high: f64,
    low_included: bool,
    high_included: bool,
    /// "between 0 and 2".
    words: &'static str,
}

impl Range {
    /// Both bounds are allowed.
    pub const fn closed(low: f64, high: f64, words: &'static str) -> Self {
        Self { low, high, low_included: true, high_included: true, words }
    }

    /// The lower bound is not allowed.
    pub const fn above(low: f64, high: f64, words: &'static str) -> Self {
        Self { low, high, low_included: false, high_included: true, words }
    }

    /// The upper bound is not allowed.
    pub const fn below(low: f64, high: f64, words: &'static str) -> Self {
        Self { low, high, low_included: true, high_included: false, words }
    }

    /// The bounds in the words of JSON Schema.
    #[cfg(test)]
    pub fn bounds(&self) -> [(&'static str, f64); 2] {
        let low = if self.low_included { "minimum" } else { "exclusiveMinimum" };
        let high = if self.high_included { "maximum" } else { "exclusiveMaximum" };
        [(low, self.low), (high, self.high)]
    }

    /// The bound that a number lies beyond.
    fn broken_by(&self, number: f64) -> Option<f64> {
        if number < self.low || (number <= self.low && !self.low_included) {
            Some(self.low)
        } else if number > self.high || (number >= self.high && !self.high_included) {
            Some(self.high)
        } else {
            None
        }
    }
}
