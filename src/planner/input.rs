//! What the planner's inputs may be, and what is said of one that cannot be used.

use std::fmt::Display;

use serde::de::DeserializeOwned;

/// Longest name and longest source, in characters.
const MAX_TEXT: usize = 500;

/// An input of the planner that cannot be used. The message names it and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No TOML, an unknown key, or a value of the wrong type.
    #[error("{file}: {key}{reason}")]
    Syntax {
        file: String,
        /// The key's path with ": " behind it; empty where there is none.
        key: String,
        reason: String,
    },
    /// A value outside its range.
    #[error("{key} is {value}, but must be {wanted}")]
    Bad { key: String, value: String, wanted: String },
    /// A name that nothing has.
    #[error("there is no {kind} {name:?}; there are {known}")]
    Unknown { kind: &'static str, name: String, known: String },
}

impl InputError {
    pub(super) fn bad(key: impl Into<String>, value: impl Display, wanted: impl Into<String>) -> Self {
        Self::Bad { key: key.into(), value: value.to_string(), wanted: wanted.into() }
    }

    pub(super) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Self::Unknown { kind, name: name.to_owned(), known }
    }
}

/// Reads TOML. `file` is its name in messages.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, InputError> {
    let wrong = |key: String, reason: &str| InputError::Syntax {
        file: file.to_owned(),
        key: if key.is_empty() || key == "." { String::new() } else { format!("{key}: ") },
        reason: reason.to_owned(),
    };
    let table = toml::Deserializer::parse(text).map_err(|error| wrong(String::new(), error.message()))?;
    serde_path_to_error::deserialize(table)
        .map_err(|error| wrong(error.path().to_string(), error.inner().message()))
}

/// Checks that a number lies between two others, both included. What is no number never does.
pub(super) fn number(key: &str, value: f64, low: f64, high: f64) -> Result<(), InputError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(InputError::bad(key, value, format!("{low} to {high}")))
}

/// Checks that a whole number lies between two others, both included.
pub(super) fn whole(key: &str, value: u64, low: u64, high: u64) -> Result<(), InputError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(InputError::bad(key, value, format!("{low} to {high}")))
}

/// Checks that a text says something, and not too much.
pub(super) fn text(key: &str, value: &str) -> Result<(), InputError> {
    let long = value.chars().count() > MAX_TEXT;
    if !value.trim().is_empty() && !long {
        return Ok(());
    }
    Err(InputError::bad(key, if long { "too long" } else { "empty" }, format!("1 to {MAX_TEXT} characters")))
}

/// Checks that a text is a day, such as 2026-01-31.
pub(super) fn date(key: &str, value: &str) -> Result<(), InputError> {
    let digits = |part: &str, length: usize| {
        (part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u32>().ok())
            .flatten()
    };
    let day = match value.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] => (digits(year, 4), digits(month, 2), digits(day, 2)),
        _ => (None, None, None),
    };
    match day {
        (Some(_), Some(1..=12), Some(1..=31)) => Ok(()),
        _ => Err(InputError::bad(key, format!("{value:?}"), "a day, such as \"2026-01-31\"")),
    }
}

/// Checks that no name is there twice.
pub(super) fn unique<'a>(key: &str, names: impl IntoIterator<Item = &'a str>) -> Result<(), InputError> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(InputError::bad(key, format!("{name:?}"), "unlike that of any other"));
        }
        seen.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bad_value_is_named_with_its_limits() {
        let said = |result: Result<(), InputError>| result.unwrap_err().to_string();
        assert_eq!(said(number("load.rate", -1.0, 0.0, 100.0)), "load.rate is -1, but must be 0 to 100");
        assert_eq!(said(number("load.rate", f64::NAN, 0.0, 100.0)), "load.rate is NaN, but must be 0 to 100");
        assert_eq!(said(whole("layers", 0, 1, 1024)), "layers is 0, but must be 1 to 1024");
        assert_eq!(said(text("source", " ")), "source is empty, but must be 1 to 500 characters");
        assert!(said(date("date", "2026-13-01")).starts_with("date is \"2026-13-01\", but must be a day"));
        assert_eq!(
            said(unique("name", ["a", "b", "a"])),
            "name is \"a\", but must be unlike that of any other"
        );
        assert_eq!(
            InputError::unknown("model", "x", ["a", "b"]).to_string(),
            "there is no model \"x\"; there are a, b"
        );
    }

    #[test]
    fn days_are_days() {
        assert!(date("date", "2026-01-19").is_ok());
        for bad in ["", "2026-1-19", "2026-01", "19-01-2026", "2026-01-32", "2026-01-19x", "２０２６-01-19"]
        {
            assert!(date("date", bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn numbers_within_their_range_are_taken_and_no_others(value: f64, low in -1e6..0.0, width in 0.0..1e6) {
            let high = low + width;
            prop_assert_eq!(number("x", value, low, high).is_ok(), (low..=high).contains(&value));
        }

        #[test]
        fn nothing_makes_a_day_check_panic(text: String) {
            let _ = date("date", &text);
        }
    }
}
