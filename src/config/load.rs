//! Lays the sources of settings over one another and checks every value where it comes in.

use std::collections::HashMap;
use std::path::Path;

use toml::{Table, Value};

use super::error::{ConfigError, Origin};
use super::{Config, range};

/// Every setting with its default, built in.
pub(super) const DEFAULT: &str = include_str!("../../config/default.toml");

/// Longest value that an error message repeats, in characters.
const SHOWN_CHARS: usize = 80;

/// Settings on their way to a [`Config`]. Later calls win over earlier ones.
///
/// The built-in file is the schema: a section or a key that it lacks does not exist, and its value's type is
/// the type wanted.
#[derive(Debug)]
pub struct Loader {
    values: Table,
    /// Settings that were changed, by full name.
    origins: HashMap<String, Origin>,
}

impl Loader {
    /// Starts from the built-in defaults.
    ///
    /// # Errors
    /// If the built-in file is no TOML, which a test rules out.
    pub fn new() -> Result<Self, ConfigError> {
        let values = parse_file(Path::new("config/default.toml"), DEFAULT)?;
        Ok(Self { values, origins: HashMap::new() })
    }

    /// Lays the file `path` over what is there.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let origin = Origin::File(path.to_owned());
        for (section, value) in parse_file(path, &text)? {
            let Value::Table(keys) = value else {
                self.known_section(&section, &origin)?;
                return Err(ConfigError::Bad {
                    origin,
                    wanted: format!("a table, written [{section}]"),
                    key: section,
                    value: shown(&value),
                });
            };
            self.known_section(&section, &origin)?;
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let value = fit(&name, self.known(&name, &origin)?, value, &origin)?;
                self.put(name, value, origin.clone());
            }
        }
        Ok(self)
    }

    /// Takes every variable that starts with `NPC_GATEWAY__`; the others are not looked at.
    pub fn env(mut self, vars: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        for (variable, text) in vars {
            let Some(rest) = variable.strip_prefix("NPC_GATEWAY__") else { continue };
            let origin = Origin::Env(variable.clone());
            let Some((section, key)) = rest.split_once("__") else {
                return Err(ConfigError::Form {
                    origin,
                    text: variable,
                    wanted: "NPC_GATEWAY__SECTION__KEY",
                });
            };
            let name = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
            self.text(name, &text, origin)?;
        }
        Ok(self)
    }

    /// Takes one `section.key=value`.
    pub fn assignment(mut self, flag: &str, text: &str) -> Result<Self, ConfigError> {
        let origin = Origin::Flag(flag.to_owned());
        let Some((name, value)) = text.split_once('=') else {
            return Err(ConfigError::Form { origin, text: clip(text), wanted: "section.key=value" });
        };
        self.text(name.trim().to_owned(), value.trim(), origin)?;
        Ok(self)
    }

    /// Takes one value that a flag of its own gives, such as `--listen`.
    pub fn value(mut self, flag: &str, name: &str, text: &str) -> Result<Self, ConfigError> {
        self.text(name.to_owned(), text, Origin::Flag(flag.to_owned()))?;
        Ok(self)
    }

    /// The settings, checked.
    pub fn finish(self) -> Result<Config, ConfigError> {
        let config = match serde_path_to_error::deserialize(Value::Table(self.values.clone())) {
            Ok(config) => config,
            Err(error) => {
                // A bad element of a list is reported under the list's name, which is the setting's.
                let path = error.path().to_string();
                let name = path.split('[').next().unwrap_or(&path).to_owned();
                return Err(self.bad(&name, wanted(&name, error.inner().message())));
            }
        };
        Config::validate(&config).map_err(|(name, wanted)| self.bad(name, wanted))?;
        Ok(config)
    }

    fn bad(&self, name: &str, wanted: String) -> ConfigError {
        ConfigError::Bad {
            origin: self.origins.get(name).cloned().unwrap_or(Origin::Default),
            key: name.to_owned(),
            value: match lookup(&self.values, name) {
                // There may be a password in it.
                Some(_) if name.ends_with("_url") => "something else".into(),
                Some(value) => shown(value),
                None => "absent".into(),
            },
            wanted,
        }
    }

    fn text(&mut self, name: String, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = from_text(self.known(&name, &origin)?, text);
        let value = fit(&name, self.known(&name, &origin)?, value, &origin)?;
        self.put(name, value, origin);
        Ok(())
    }

    fn put(&mut self, name: String, value: Value, origin: Origin) {
        let slot = name
            .split_once('.')
            .and_then(|(section, key)| self.values.get_mut(section)?.as_table_mut()?.get_mut(key));
        if let Some(slot) = slot {
            *slot = value;
            self.origins.insert(name, origin);
        }
    }

    fn known_section(&self, section: &str, origin: &Origin) -> Result<(), ConfigError> {
        if self.values.contains_key(section) {
            return Ok(());
        }
        let nearest = nearest(section, self.values.keys().map(String::as_str));
        Err(ConfigError::Unknown { origin: origin.clone(), name: clip(section), nearest })
    }

    /// The value that `name` has so far; its type is the one wanted.
    fn known(&self, name: &str, origin: &Origin) -> Result<&Value, ConfigError> {
        lookup(&self.values, name).ok_or_else(|| {
            let names = self.values.iter().flat_map(|(section, keys)| {
                keys.as_table().into_iter().flatten().map(move |(key, _)| format!("{section}.{key}"))
            });
            ConfigError::Unknown { origin: origin.clone(), name: clip(name), nearest: nearest(name, names) }
        })
    }
}

fn parse_file(path: &Path, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn lookup<'a>(values: &'a Table, name: &str) -> Option<&'a Value> {
    let (section, key) = name.split_once('.')?;
    values.get(section)?.as_table()?.get(key)
}

/// Reads `text` as a value of `like`'s type. Text that is none stays a string, and [`fit`] refuses it.
fn from_text(like: &Value, text: &str) -> Value {
    // A document of one key is the only way to have any kind of value parsed; text that brings more keys with
    // it is no value.
    let parsed = format!("v = {text}").parse::<Table>().ok();
    let parsed = parsed.and_then(|mut table| table.remove("v").filter(|_| table.is_empty()));
    match (like, parsed) {
        (Value::String(_), Some(parsed @ Value::String(_)))
        | (Value::Array(_), Some(parsed @ Value::Array(_))) => parsed,
        (Value::String(_), _) => Value::String(text.to_owned()),
        (Value::Array(_), _) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        (_, Some(parsed)) => parsed,
        (_, None) => Value::String(text.to_owned()),
    }
}

/// Checks type and range; a whole number becomes a float where one is wanted.
fn fit(name: &str, like: &Value, value: Value, origin: &Origin) -> Result<Value, ConfigError> {
    let bad = |value: &Value, kind: &str| ConfigError::Bad {
        origin: origin.clone(),
        key: name.to_owned(),
        value: shown(value),
        wanted: wanted(name, kind),
    };
    let value = match (like, value) {
        (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
        (Value::Array(_), Value::Array(items)) if !items.iter().all(Value::is_str) => {
            return Err(bad(&Value::Array(items), "a list of texts"));
        }
        (like, value) if like.same_type(&value) => value,
        (like, value) => {
            let kind = match like {
                Value::Integer(_) => "a whole number",
                Value::Float(_) => "a number",
                Value::Boolean(_) => "true or false",
                Value::Array(_) => "a list",
                _ => "a text",
            };
            return Err(bad(&value, kind));
        }
    };
    let number = match &value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        _ => return Ok(value),
    };
    match range::of(name) {
        Some(range) if !range.contains(number) => Err(bad(&value, "a number")),
        _ => Ok(value),
    }
}

/// What is wanted of a setting, in words.
fn wanted(name: &str, kind: &str) -> String {
    match (name, range::of(name)) {
        (_, Some(range)) => format!("{kind}, {range}"),
        ("server.listen", None) => "an address and a port, such as 127.0.0.1:7777".into(),
        // serde's message for an enum; only its list of the names is news.
        _ => kind.rsplit_once(", expected ").map_or(kind, |(_, names)| names).to_owned(),
    }
}

fn shown(value: &Value) -> String {
    clip(&value.to_string())
}

/// Text from outside is cut before it goes into a message.
fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The name that takes the fewest edits.
fn nearest<S: AsRef<str>>(name: &str, names: impl Iterator<Item = S>) -> String {
    let name = clip(name);
    let closest = names.min_by_key(|known| strsim::damerau_levenshtein(&name, known.as_ref()));
    closest.map_or_else(String::new, |known| known.as_ref().to_owned())
}
