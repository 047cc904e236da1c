use serde::de::DeserializeOwned;

/// What is wrong with a table: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schemas/face/{file}: {}{reason}", self.place())]
pub struct TableError {
    pub file: &'static str,
    /// The key in that file, for example `joy.units.AU6`; empty for the file as a whole.
    pub key: String,
    pub reason: String,
}

impl TableError {
    fn place(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) }
    }
}

/// One table on its way in.
pub struct Source {
    file: &'static str,
}

impl Source {
    /// The contents of a file, of the right types and with no key that is not known.
    pub fn parse<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<(Self, T), TableError> {
        let fail = |key: String, reason: String| TableError { file, key, reason };
        let toml = toml::Deserializer::parse(text).map_err(|e| {
            let before = text.as_bytes().iter().take(e.span().map_or(0, |span| span.start));
            let line = before.filter(|&&byte| byte == b'\n').count() + 1;
            fail(String::new(), format!("line {line}: {}", e.message()))
        })?;
        let contents = serde_path_to_error::deserialize(toml).map_err(|e| {
            let key = e.path().to_string();
            fail(if key == "." { String::new() } else { key }, e.inner().message().to_owned())
        })?;
        Ok((Self { file }, contents))
    }

    pub fn error(&self, key: impl Into<String>, reason: impl Into<String>) -> TableError {
        TableError { file: self.file, key: key.into(), reason: reason.into() }
    }

    /// A number that must lie within bounds.
    pub fn within<T: PartialOrd + std::fmt::Display + Copy>(
        &self,
        key: impl Into<String>,
        value: T,
        least: T,
        most: T,
    ) -> Result<T, TableError> {
        // What is no number fails both.
        if value >= least && value <= most {
            return Ok(value);
        }
        Err(self.error(key, format!("it is {value}, but must be from {least} to {most}")))
    }
}
