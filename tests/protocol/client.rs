//! A client that knows the protocol's page and nothing of the server's code.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The two subprotocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Msgpack,
    Json,
}

pub const BOTH: [Encoding; 2] = [Encoding::Msgpack, Encoding::Json];

/// How long anything may take. Generous: the model runs on slow machines too.
pub const PATIENCE: Duration = Duration::from_mins(1);

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Self::Msgpack => "npc.v1.msgpack",
            Self::Json => "npc.v1.json",
        }
    }

    pub fn message(self, frame: &Value) -> Message {
        match self {
            Self::Json => Message::text(frame.to_string()),
            Self::Msgpack => {
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &rmpv::ext::to_value(frame).unwrap()).unwrap();
                Message::binary(bytes)
            }
        }
    }

    pub fn frame(self, message: Message) -> Value {
        match (self, message) {
            (Self::Json, Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            (Self::Msgpack, Message::Binary(bytes)) => {
                let mut rest = &bytes[..];
                let value = rmpv::decode::read_value(&mut rest).unwrap();
                assert!(rest.is_empty(), "bytes after the frame");
                // Its one blob is an array of integers in JSON.
                serde_json::to_value(value).unwrap()
            }
            (_, message) => panic!("a message of the wrong kind: {message:?}"),
        }
    }
}

/// What a client has to show to get its session back.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub session: String,
    pub token: String,
    pub epoch: String,
    /// The last `s` received.
    pub seq: u64,
}

impl Ticket {
    pub fn frame(&self) -> Value {
        let Self { session, token, epoch, seq } = self;
        json!({"op": "resume", "cid": "back",
               "d": {"session": session, "resume_token": token, "epoch": epoch, "seq": seq}})
    }
}

/// One socket.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    encoding: Encoding,
    /// The first frame.
    pub hello: Value,
    /// The answer to `identify`.
    pub ready: Value,
    /// The last `s` received; every further one must be one more.
    pub last_s: u64,
    /// Every message with an `s`, as it came.
    pub numbered: Vec<Message>,
}

impl Client {
    /// Opens a socket and reads its first frame.
    pub async fn connect(address: SocketAddr, encoding: Encoding) -> (Self, Value) {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Self::over(stream, encoding).await;
        let hello = client.recv().await;
        (client, hello)
    }

    /// The same over a connection whose kernel buffer is small.
    pub async fn connect_narrow(address: SocketAddr, encoding: Encoding) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(address).await.unwrap(), encoding).await
    }

    async fn over(stream: TcpStream, encoding: Encoding) -> Self {
        let url = format!("ws://{}/ws", stream.peer_addr().unwrap());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", encoding.name().parse().unwrap());
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], encoding.name());
        Self { socket, encoding, hello: Value::Null, ready: Value::Null, last_s: 0, numbered: Vec::new() }
    }

    pub async fn send(&mut self, frame: &Value) {
        self.send_message(self.encoding.message(frame)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        timeout(PATIENCE, self.socket.send(message)).await.unwrap().unwrap();
    }

    /// Sends without minding whether the server still reads.
    pub async fn send_anyway(&mut self, message: Message) {
        let _ = timeout(PATIENCE, self.socket.send(message)).await.expect("the server reads");
    }

    async fn next(&mut self) -> Result<Message, Error> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("the server answers") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(message) => return message,
                None => return Err(Error::ConnectionClosed),
            }
        }
    }

    /// The next frame. Checks that `s` has no gap.
    pub async fn recv(&mut self) -> Value {
        let message = self.next().await.unwrap();
        self.take(message)
    }

    /// The next frame, or the code that the socket is closed with instead.
    pub async fn recv_or_close(&mut self) -> Result<Value, u16> {
        match self.next().await.unwrap() {
            Message::Close(frame) => Err(frame.expect("a close code").code.into()),
            message => Ok(self.take(message)),
        }
    }

    fn take(&mut self, message: Message) -> Value {
        let frame = self.encoding.frame(message.clone());
        let unnumbered = ["hello", "heartbeat_ack", "resumed", "resume_failed"];
        let op = frame["op"].as_str().unwrap();
        match frame.get("s") {
            Some(s) => {
                assert!(!unnumbered.contains(&op), "{frame}");
                assert_eq!(s.as_u64(), Some(self.last_s + 1), "{frame}");
                self.last_s += 1;
                self.numbered.push(message);
            }
            None => assert!(unnumbered.contains(&op) || (op == "error" && self.last_s == 0), "{frame}"),
        }
        frame
    }

    /// Sends a frame and returns the next one that comes.
    pub async fn ask(&mut self, op: &str, d: Value) -> Value {
        self.send(&json!({"op": op, "d": d})).await;
        self.recv().await
    }

    /// Sends a frame and expects an `error` with this code, with the frame's `cid`.
    pub async fn refused(&mut self, op: &str, d: Value, code: &str) -> Value {
        self.send(&json!({"op": op, "cid": "mark", "d": d})).await;
        let error = self.recv().await;
        assert_eq!((&error["op"], &error["cid"]), (&"error".into(), &"mark".into()), "{error}");
        assert_eq!(error["d"]["code"], code, "{error}");
        assert!(error["d"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        assert!(error["d"]["temporary"].is_boolean(), "{error}");
        error["d"].clone()
    }

    pub async fn identify(&mut self, token: &str) -> Value {
        self.ask("identify", json!({"token": token, "client": {"name": "test", "version": "1"}})).await
    }

    /// What it takes to get this client's session back on another socket, if its token was never changed.
    pub fn ticket(&self) -> Ticket {
        let text = |key: &str| self.ready["d"][key].as_str().expect("the session began here").to_owned();
        Ticket {
            session: text("session"),
            token: text("resume_token"),
            epoch: text("epoch"),
            seq: self.last_s,
        }
    }

    /// Asks for a session, and expects it. Returns the frames that were missed, and what it takes to get it again.
    pub async fn resume(&mut self, ticket: &Ticket) -> (Vec<Value>, Ticket) {
        assert_eq!(self.last_s, 0, "this socket has a session");
        self.send(&ticket.frame()).await;
        self.last_s = ticket.seq;
        let mut missed = self.until("resumed").await;
        let resumed = missed.pop().unwrap();
        assert_eq!(resumed["cid"], "back", "{resumed}");
        let d = &resumed["d"];
        assert_eq!(
            (d["seq"].as_u64(), d["replayed"].as_u64()),
            (Some(self.last_s), Some(missed.len() as u64))
        );
        let token = d["resume_token"].as_str().unwrap().to_owned();
        assert_ne!(token, ticket.token);
        (missed, Ticket { token, seq: self.last_s, ..ticket.clone() })
    }

    /// Asks for a session, and expects to be refused it.
    pub async fn not_resumed(&mut self, ticket: &Ticket, reason: &str) {
        self.send(&ticket.frame()).await;
        let expected =
            json!({"op": "resume_failed", "cid": "back", "d": {"reason": reason, "recovered": false}});
        assert_eq!(self.recv().await, expected);
    }

    /// Checks that the session works.
    pub async fn is_alive(&mut self) {
        assert_eq!(self.ask("heartbeat", json!({"seq": 0})).await["op"], "heartbeat_ack");
    }

    /// Reads frames until one is `op`, and returns them all.
    pub async fn until(&mut self, op: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            frames.push(self.recv().await);
            if frames.last().unwrap()["op"] == op {
                return frames;
            }
        }
    }

    /// Reads to the close frame, and to the end behind it. Returns the frames before it.
    pub async fn closed(&mut self, code: u16, reason: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            match self.next().await.unwrap_or_else(|error| panic!("no close frame {code}: {error}")) {
                Message::Close(frame) => {
                    let frame = frame.expect("a close code");
                    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
                    break;
                }
                message => frames.push(self.take(message)),
            }
        }
        match self.next().await {
            Err(Error::ConnectionClosed) => frames,
            other => panic!("after the close frame: {other:?}"),
        }
    }

    /// Closes the socket from this side; returns the code of the server's answer.
    pub async fn close(mut self, code: u16) -> u16 {
        use tokio_tungstenite::tungstenite::protocol::CloseFrame;
        self.send_message(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await;
        loop {
            if let Message::Close(frame) = self.next().await.unwrap() {
                return frame.map_or(1005, |frame| frame.code.into());
            }
        }
    }
}
