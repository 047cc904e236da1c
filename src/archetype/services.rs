//! `[services.*]` of a pack: what runs elsewhere for its characters, and what their voices are like.

use std::collections::BTreeMap;

use hyper::Uri;
use serde::Deserialize;

use crate::wire::{ChainServices, ServiceInfo};

/// Characters of a service's address.
const URL_CHARS: usize = 512;
/// Parameters of one service, and characters of a name and of a text among them.
const PARAMETERS: usize = 32;
const NAME_CHARS: usize = 64;
const TEXT_CHARS: usize = 256;
/// What a number may be if nothing else is known of it.
const LARGEST: f64 = 1e9;

/// The parameters that every voice has, with their units, and what they may be.
const VOICE: [(&str, f64, f64, &str); 4] = [
    ("vocal_tract_length", 5.0, 60.0, "centimetres, from 5 to 60"),
    ("pitch", 20.0, 1000.0, "hertz, from 20 to 1000"),
    ("roughness", 0.0, 1.0, "a share, from 0 to 1"),
    ("breath", 0.0, 1.0, "a share, from 0 to 1"),
];

/// `[services]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    voice: Option<ServiceFile>,
    facial: Option<ServiceFile>,
    body: Option<ServiceFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    url: String,
    #[serde(default)]
    parameters: BTreeMap<String, toml::Value>,
}

/// The key that is wrong, and why.
type Mistake = (String, String);

impl File {
    /// As clients are told; `None`: nothing runs elsewhere.
    pub fn read(self) -> Result<Option<ChainServices>, Mistake> {
        let service = |name: &str, file: Option<ServiceFile>| file.map(|file| file.read(name)).transpose();
        let services = ChainServices {
            voice: service("voice", self.voice)?,
            facial: service("facial", self.facial)?,
            body: service("body", self.body)?,
        };
        Ok((services != ChainServices::default()).then_some(services))
    }
}

impl ServiceFile {
    fn read(self, name: &str) -> Result<ServiceInfo, Mistake> {
        let at = |key: &str| format!("services.{name}.{key}");
        check_url(&self.url).map_err(|reason| (at("url"), reason))?;
        if self.parameters.len() > PARAMETERS {
            let count = self.parameters.len();
            return Err((
                at("parameters"),
                format!("it has {count} entries, at most {PARAMETERS} are allowed"),
            ));
        }
        let mut parameters = BTreeMap::new();
        for (key, value) in self.parameters {
            let known = VOICE.iter().find(|(of, ..)| name == "voice" && *of == key);
            let value = parameter(&key, &value, known)
                .map_err(|reason| (at(&format!("parameters.{key}")), reason))?;
            parameters.insert(key, value);
        }
        if let Some((missing, _, _, wanted)) = VOICE.iter().find(|(of, ..)| !parameters.contains_key(*of))
            && name == "voice"
        {
            return Err((
                at(&format!("parameters.{missing}")),
                format!("it is missing; it must be {wanted}"),
            ));
        }
        Ok(ServiceInfo { url: self.url, parameters })
    }
}

/// Clients are told the address as it stands here, so nothing secret may be in it.
fn check_url(url: &str) -> Result<(), String> {
    const WANTED: &str = "http://, https://, ws:// or wss://, a host, and a path if need be";
    let chars = url.chars().count();
    if chars > URL_CHARS {
        return Err(format!("it has {chars} characters, at most {URL_CHARS} are allowed"));
    }
    let uri: Uri = url.parse().map_err(|_| format!("it is no address; wanted: {WANTED}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https" | "ws" | "wss"))
        || uri.host().is_none_or(str::is_empty)
    {
        return Err(format!("wanted: {WANTED}"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("it holds a user or a password, and every client is told it".to_owned());
    }
    Ok(())
}

fn parameter(
    key: &str,
    value: &toml::Value,
    known: Option<&(&str, f64, f64, &str)>,
) -> Result<serde_json::Value, String> {
    if !(1..=NAME_CHARS).contains(&key.chars().count()) || key.chars().any(char::is_control) {
        return Err(format!(
            "its name must be 1 to {NAME_CHARS} characters, none of them a control character"
        ));
    }
    let number = match value {
        toml::Value::Integer(whole) => Some(*whole as f64),
        toml::Value::Float(number) => Some(*number),
        _ => None,
    };
    match (known, value, number) {
        (Some((_, least, most, wanted)), _, number) => {
            match number.filter(|n| (*least..=*most).contains(n)) {
                Some(number) => Ok(number.into()),
                None => Err(format!("it is {value}, but must be {wanted}")),
            }
        }
        (None, toml::Value::Integer(whole), Some(number)) if number.abs() <= LARGEST => Ok((*whole).into()),
        (None, toml::Value::Float(_), Some(number)) if number.abs() <= LARGEST => Ok(number.into()),
        (None, toml::Value::Boolean(yes), _) => Ok((*yes).into()),
        (None, toml::Value::String(text), _) if text.chars().count() <= TEXT_CHARS => {
            Ok(text.as_str().into())
        }
        (None, ..) => Err(format!(
            "it must be a number up to {LARGEST:e}, true, false, or a text of at most {TEXT_CHARS} characters"
        )),
    }
}
