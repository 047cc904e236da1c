use serde::{Deserialize, Serialize};

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A filter of `tracing-subscriber`, known to be one.
    pub level: String,
    pub format: LogFormat,
    /// Milliseconds from which on a turn is told of as slow; 0: none is.
    pub slow_turn_ms: u64,
    /// Where spans are sent, with OTLP over HTTP; empty: nowhere.
    pub otlp_url: String,
    /// Of the frames of clients, those whose spans are sent, 0 to 1.
    pub otlp_share: f64,
    /// Whether the steps of the engine are sent too.
    pub otlp_steps: bool,
}

impl Log {
    /// For commands without settings, whose logs are for people.
    pub fn plain(level: &str) -> Self {
        Self {
            level: level.to_owned(),
            format: LogFormat::Pretty,
            slow_turn_ms: 0,
            otlp_url: String::new(),
            otlp_share: 0.0,
            otlp_steps: false,
        }
    }

    /// What is wanted of `otlp_url`, if it is not that.
    pub(super) fn bad_otlp_url(&self) -> Option<String> {
        let url = &self.otlp_url;
        if url.is_empty() {
            return None;
        }
        if !cfg!(feature = "otel") {
            return Some("empty: this program was built without the feature \"otel\"".to_owned());
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let good = rest.is_some_and(|rest| {
            !rest.is_empty()
                && !rest.starts_with('/')
                && !rest.contains(|c: char| c.is_whitespace() || c == '#')
        });
        (!good).then(|| "a URL such as http://127.0.0.1:4318/v1/traces".to_owned())
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One object a line.
    Json,
}
