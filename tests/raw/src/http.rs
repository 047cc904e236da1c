//! The way from HTTP to a socket, right and wrong.

use std::io::{self, BufRead};

/// The key and its answer of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A correct request for `/ws`.
pub fn request(host: &str, subprotocol: &str) -> String {
    request_with(host, &[("Sec-WebSocket-Protocol", subprotocol)])
}

/// A correct request whose headers these replace or, with an empty value, remove.
pub fn request_with(host: &str, changes: &[(&str, &str)]) -> String {
    let usual = [
        ("Host", host),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let kept = usual.iter().filter(|(name, _)| !changed(name)).chain(changes);
    let mut text = "GET /ws HTTP/1.1\r\n".to_owned();
    for (name, value) in kept.filter(|(_, value)| !value.is_empty()) {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text + "\r\n"
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// Reads to the empty line; `None` if the connection ends instead.
    ///
    /// # Errors
    /// The connection's, or `InvalidData` for what is no HTTP.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(stream)? else { return Ok(None) };
        let no_http = || io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {first:?}"));
        let status =
            first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse().ok());
        let mut answer = Self { status: status.ok_or_else(no_http)?, headers: Vec::new() };
        while let Some(line) = line(stream)? {
            if line.is_empty() {
                return Ok(Some(answer));
            }
            let (name, value) = line.split_once(':').ok_or_else(no_http)?;
            answer.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(None)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    // An answer's head is short; what is longer is none.
    if io::Read::take(&mut *stream, 16 * 1024).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}
