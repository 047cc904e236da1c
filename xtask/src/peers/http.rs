//! As much HTTP as a server on this machine needs: one request a connection, answers in one piece or in chunks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// The last in a queue waits for everyone.
const PATIENCE: Duration = Duration::from_mins(15);

/// Longest chunk that is taken, in bytes.
const MAX_CHUNK: usize = 1 << 24;

/// An answer whose head was read.
pub struct Answer<R = BufReader<TcpStream>> {
    pub status: u16,
    body: R,
    chunked: bool,
    done: bool,
}

/// Sends a request; `json` makes it a POST.
pub fn request(address: SocketAddr, path: &str, json: Option<&str>) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let method = if json.is_some() { "POST" } else { "GET" };
    let body = json.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    Answer::read(BufReader::new(stream))
}

impl<R: BufRead> Answer<R> {
    fn read(mut body: R) -> anyhow::Result<Self> {
        let mut line = String::new();
        body.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no HTTP answer: {line:?}"))?;
        let mut chunked = false;
        loop {
            line.clear();
            body.read_line(&mut line)?;
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                return Ok(Self { status, body, chunked, done: false });
            }
            chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
        }
    }

    /// Adds what came next to `into`; false: there is no more.
    pub fn more(&mut self, into: &mut Vec<u8>) -> anyhow::Result<bool> {
        if self.done {
            return Ok(false);
        }
        if !self.chunked {
            self.done = true;
            return Ok(self.body.read_to_end(into)? > 0);
        }
        let mut line = String::new();
        self.body.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).with_context(|| format!("no chunk: {line:?}"))?;
        if size > MAX_CHUNK {
            bail!("a chunk of {size} bytes");
        }
        self.done = size == 0;
        let start = into.len();
        into.resize(start + size, 0);
        self.body.read_exact(&mut into[start..])?;
        line.clear();
        self.body.read_line(&mut line)?;
        Ok(!self.done)
    }

    /// The whole answer.
    pub fn text(mut self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        while self.more(&mut bytes)? {}
        Ok(String::from_utf8(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_one_by_one() {
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let mut answer = Answer::read(answer.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        assert!(answer.more(&mut bytes).unwrap());
        assert_eq!((answer.status, bytes.as_slice()), (200, &b"abc"[..]));
        assert!(answer.more(&mut bytes).unwrap());
        assert!(!answer.more(&mut bytes).unwrap());
        assert_eq!(bytes, b"abcde");
    }

    #[test]
    fn an_answer_in_one_piece_is_read_to_its_end() {
        let answer = "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno";
        let answer = Answer::read(answer.as_bytes()).unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.text().unwrap(), "no");
        assert!(Answer::read("nonsense\r\n\r\n".as_bytes()).is_err());
    }
}
