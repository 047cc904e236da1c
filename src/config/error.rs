//! Why the settings could not be loaded.

use std::fmt;
use std::path::PathBuf;

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in `config/default.toml`.
    Default,
    /// The file given with `--config`.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// A flag of the command line, such as `--set` or `--listen`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("config/default.toml"),
            Self::File(path) => write!(f, "config file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting that cannot be used. The message names the setting and where it came from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given with `--config` cannot be read.
    #[error("config file {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    /// The file is no TOML.
    #[error("config file {path}: {reason}")]
    Syntax { path: PathBuf, reason: String },
    /// Not of the form `section.key=value` or `NPC_GATEWAY__SECTION__KEY`.
    #[error("{origin}: {text:?} names no setting; wanted {wanted}")]
    Form { origin: Origin, text: String, wanted: &'static str },
    /// No such section or key.
    #[error("{origin}: unknown setting {name}; did you mean {nearest}?")]
    Unknown { origin: Origin, name: String, nearest: String },
    /// Wrong type, or outside its range.
    #[error("{origin}: {key} is {value}, but must be {wanted}")]
    Bad { origin: Origin, key: String, value: String, wanted: String },
}
