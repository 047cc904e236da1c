//! Takes what is sent over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::protobuf::{Span, read};

/// Listens until the test is over.
pub struct Collector {
    port: u16,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let body = take(&stream.unwrap());
                into.lock().unwrap().push(body);
            }
        });
        Self { port, bodies }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    /// Everything so far, and the name of the service that sent it.
    pub fn spans(&self) -> (Vec<Span>, Option<String>) {
        let (mut spans, mut service) = (Vec::new(), None);
        for body in self.bodies.lock().unwrap().iter() {
            service = read(body, &mut spans).or(service);
        }
        (spans, service)
    }

    /// Whether this text was in anything that was sent.
    pub fn has_seen(&self, text: &str) -> bool {
        let found = |body: &Vec<u8>| body.windows(text.len()).any(|window| window == text.as_bytes());
        self.bodies.lock().unwrap().iter().any(found)
    }
}

/// One request, and its body.
fn take(stream: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut lines) = (0, Vec::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        lines.push(line.to_ascii_lowercase());
    }
    assert!(lines[0].starts_with("post /v1/traces http/1.1"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("application/x-protobuf")), "{lines:?}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).unwrap();
    body
}
