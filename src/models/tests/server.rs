//! A server of chat completions that does as it is told, good or bad.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How one request is answered.
#[derive(Debug, Clone)]
pub enum Does {
    /// A good answer of these pieces.
    Says(&'static [&'static str]),
    /// The same, but the connection ends behind the pieces.
    CutBehind(&'static [&'static str]),
    /// The same, but nothing more comes behind the pieces.
    HangsBehind(&'static [&'static str]),
    /// Behind the pieces an error comes.
    FailsBehind(&'static [&'static str]),
    /// This status, with a complaint.
    Refuses(u16),
    /// The connection ends without an answer.
    Vanishes,
}

/// What a request was.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// The server.
#[derive(Debug, Clone)]
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// What it does next; the last one again and again.
    does: Arc<Mutex<VecDeque<Does>>>,
    /// Connections that the client has closed while an answer hung.
    pub left: Arc<tokio::sync::Semaphore>,
}

impl Server {
    pub async fn start(does: impl IntoIterator<Item = Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            does: Arc::new(Mutex::new(does.into_iter().collect())),
            left: Arc::new(tokio::sync::Semaphore::new(0)),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                // An error is a client that has gone.
                tokio::spawn(async move { drop(serving.connection(stream).await) });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn asked(&self) -> usize {
        self.seen.lock().len()
    }

    pub fn next_does(&self, does: Does) {
        *self.does.lock() = [does].into();
    }

    async fn connection(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut path, mut authorization, mut length) = (String::new(), None, 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                let line = line.trim_end();
                if line.is_empty() {
                    break;
                }
                match line.split_once(": ") {
                    None => path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
                    Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                        authorization = Some(value.to_owned());
                    }
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.parse().unwrap();
                    }
                    Some(_) => {}
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            let body = serde_json::from_slice(&body).unwrap();
            self.seen.lock().push(Seen { path, authorization, body });
            let does = {
                let mut does = self.does.lock();
                if does.len() > 1 { does.pop_front() } else { does.front().cloned() }
            };
            let (pieces, end) = match does.unwrap() {
                Does::Vanishes => return Ok(()),
                Does::Refuses(status) => {
                    let body = r#"{"error":{"message":"not today"}}"#;
                    let head =
                        format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(head.as_bytes()).await?;
                    continue;
                }
                Does::Says(pieces) => (pieces, "end"),
                Does::CutBehind(pieces) => (pieces, "cut"),
                Does::HangsBehind(pieces) => (pieces, "hang"),
                Does::FailsBehind(pieces) => (pieces, "fail"),
            };
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let role =
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
            event(&mut stream, role).await?;
            for piece in pieces {
                let text = serde_json::to_string(piece).unwrap();
                event(&mut stream, &format!(r#"{{"choices":[{{"delta":{{"content":{text}}}}}]}}"#)).await?;
            }
            match end {
                "cut" => return Ok(()),
                "fail" => event(&mut stream, r#"{"error":{"message":"out of memory"}}"#).await?,
                "hang" => {
                    // Until the client has gone.
                    drop(stream.read_u8().await);
                    self.left.add_permits(1);
                    return Ok(());
                }
                _ => {
                    event(&mut stream, r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#).await?;
                    let usage = r#"{"choices":[],"usage":{"prompt_tokens":31,"completion_tokens":7}}"#;
                    event(&mut stream, usage).await?;
                    event(&mut stream, "[DONE]").await?;
                }
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
    }
}

/// One event, cut into two chunks at an odd place.
async fn event(stream: &mut BufReader<TcpStream>, data: &str) -> std::io::Result<()> {
    let text = format!("data: {data}\n\n");
    let (one, two) = text.as_bytes().split_at(7);
    for part in [one, two] {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await?;
        stream.write_all(part).await?;
        stream.write_all(b"\r\n").await?;
        stream.flush().await?;
    }
    Ok(())
}
