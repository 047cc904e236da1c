//! HTTP/1.1 by hand: a request, and all of its answer.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::Target;
use crate::stop::{Step, Stop, fail};

/// Largest answer that is read.
const MAX_ANSWER: usize = 8 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Step<Value> {
        serde_json::from_str(&self.body)
            .map_err(|error| Stop::Failed(format!("the body is no JSON: {error}")))
    }
}

/// Asks, and reads until the answer is whole. An upgrade that works ends with its head.
pub async fn ask(
    target: &Target,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    patience: Duration,
) -> Step<Answer> {
    let what = format!("{method} {path}");
    let asked = async {
        let mut stream = TcpStream::connect(&target.authority).await?;
        stream.write_all(request(target, method, path, headers).as_bytes()).await?;
        let mut bytes = Vec::new();
        loop {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if (head.is_some() && bytes.starts_with(b"HTTP/1.1 101")) || bytes.len() > MAX_ANSWER {
                return Ok::<_, std::io::Error>(bytes);
            }
            let mut chunk = [0; 2048];
            match stream.read(&mut chunk).await? {
                0 => return Ok(bytes),
                read => bytes.extend_from_slice(&chunk[..read]),
            }
        }
    };
    match timeout(patience, asked).await {
        Err(_) => fail(format!("{what} was not answered")),
        Ok(Err(error)) => fail(format!("{what}: {error}")),
        Ok(Ok(bytes)) => {
            parse(&bytes).ok_or_else(|| Stop::Failed(format!("{what} was answered with what is no HTTP")))
        }
    }
}

fn request(target: &Target, method: &str, path: &str, headers: &[(String, String)]) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in
        [("Host", target.authority.as_str()), ("Connection", "close"), ("Content-Length", "0")]
    {
        if !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
            && (method != "GET" || name != "Content-Length")
        {
            text.extend([name, ": ", value, "\r\n"]);
        }
    }
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text + "\r\n"
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked =
        headers.iter().any(|(name, value)| name == "transfer-encoding" && value.contains("chunked"));
    let body = if chunked { unchunked(&bytes[end + 4..])? } else { bytes[end + 4..].to_vec() };
    Some(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_plain_and_in_chunks() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nA-B:  c\r\n\r\n{\"x\":1}").unwrap();
        assert_eq!(
            (answer.status, answer.header("a-b"), answer.body.as_str()),
            (200, Some("c"), "{\"x\":1}")
        );
        assert_eq!(answer.json().unwrap()["x"], 1);
        let chunks =
            b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunks).unwrap().body, "abcde");
        for broken in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na",
        ] {
            assert!(parse(broken).is_none());
        }
    }
}
