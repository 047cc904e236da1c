//! One socket of a case.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::cli::Target;
use crate::ledger::Ledger;
use crate::schema::Schemas;
use crate::stop::{Step, Stop, fail, short};
use crate::wire::Encoding;

/// The `cid` of the heartbeats that no case asked for.
const HEART: &str = "heart";
/// What the kernel keeps of what a narrow socket does not read.
const NARROW: u32 = 4096;
/// Frames that a report shows of a case that failed.
const SHOWN: usize = 40;

/// Longest token that a report shows; a signed one is longer, and still good.
const SHOWN_TOKEN: usize = 80;

type Socket = WebSocketStream<TcpStream>;

/// What went over the sockets of a case, newest last.
#[derive(Debug, Default)]
pub struct Trace {
    lines: std::collections::VecDeque<String>,
}

impl Trace {
    pub fn note(&mut self, line: String) {
        if self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Came {
    Frame(Value),
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection ended without a close frame.
    Ended,
}

/// A socket.
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
pub struct Link {
    name: String,
    sink: Arc<Mutex<SplitSink<Socket, Message>>>,
    stream: SplitStream<Socket>,
    pub encoding: Encoding,
    pub ledger: Ledger,
    heart: Option<AbortHandle>,
    /// Nothing comes any more.
    pub over: bool,
    /// Nothing is to be sent by itself.
    pub silent: bool,
    pub narrow: bool,
    pub in_session: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(heart) = &self.heart {
            heart.abort();
        }
    }
}

/// How a link is opened.
pub struct Opening<'a> {
    pub target: &'a Target,
    pub encoding: Encoding,
    pub offers: bool,
    pub narrow: bool,
    pub silent: bool,
    pub patience: Duration,
}

async fn connect(opening: &Opening<'_>) -> Result<TcpStream, Error> {
    let address = lookup_host(&opening.target.authority).await?.next();
    let address = address.ok_or_else(|| std::io::Error::other("the host has no address"))?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if opening.narrow {
        socket.set_recv_buffer_size(NARROW)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Link {
    /// Opens a socket.
    pub async fn open(name: &str, opening: &Opening<'_>) -> Step<Self> {
        let broken = |error: &dyn std::fmt::Display| {
            Stop::Failed(format!("socket {name} could not be opened: {error}"))
        };
        let open = async {
            let stream = connect(opening).await?;
            let mut request = opening.target.url().into_client_request()?;
            let subprotocol = HeaderValue::from_static(opening.encoding.subprotocol());
            if opening.offers {
                request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
            }
            client_async(request, stream).await
        };
        let (socket, response) = match timeout(opening.patience, open).await {
            Ok(opened) => opened.map_err(|error| broken(&error))?,
            Err(_) => return Err(broken(&"nothing was answered")),
        };
        let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
        let expected = opening.offers.then(|| opening.encoding.subprotocol());
        if chosen != expected {
            return fail(format!(
                "socket {name}: the upgrade chose {chosen:?}, and {expected:?} was offered"
            ));
        }
        let (sink, stream) = socket.split();
        Ok(Self {
            name: name.to_owned(),
            sink: Arc::new(Mutex::new(sink)),
            stream,
            encoding: opening.encoding,
            ledger: Ledger::default(),
            heart: None,
            over: false,
            silent: opening.silent,
            narrow: opening.narrow,
            in_session: false,
        })
    }

    /// Sends heartbeats from now on, as clients must. They acknowledge nothing, so that the server forgets nothing.
    pub fn start_heart(&mut self, every: Duration) {
        self.in_session = true;
        if self.silent || self.heart.is_some() {
            return;
        }
        let Ok(message) = self.encoding.write(&json!({"op": "heartbeat", "cid": HEART, "d": {"seq": 0}}))
        else {
            return;
        };
        self.ledger.sent(&HEART.into());
        let sink = Arc::clone(&self.sink);
        let beat = async move {
            loop {
                sleep(every).await;
                if sink.lock().await.send(message.clone()).await.is_err() {
                    return;
                }
            }
        };
        self.heart = Some(tokio::spawn(beat).abort_handle());
    }

    /// Sends a frame.
    pub async fn send(
        &mut self,
        frame: &Value,
        encoding: Encoding,
        patience: Duration,
        trace: &mut Trace,
    ) -> Step {
        if let Some(cid) = frame.get("cid") {
            self.ledger.sent(cid);
        }
        let message = encoding.write(frame).map_err(Stop::Failed)?;
        trace.note(format!("{} → {}", self.name, short(&shown(frame).to_string())));
        self.send_message(message, patience).await
    }

    /// Sends a message. A server that has closed does not read it, which the next step will see.
    pub async fn send_message(&mut self, message: Message, patience: Duration) -> Step {
        let sent = async { self.sink.lock().await.send(message).await };
        match timeout(patience, sent).await {
            Err(_) => fail(format!("socket {}: the server reads no more", self.name)),
            Ok(_) => Ok(()),
        }
    }

    /// The next frame or end, judged by the schemas and the ledger.
    pub async fn next(&mut self, schemas: &Schemas, patience: Duration, trace: &mut Trace) -> Step<Came> {
        if self.over {
            return fail(format!("socket {}: something is expected after its end", self.name));
        }
        loop {
            let message = match timeout(patience, self.stream.next()).await {
                Err(_) => {
                    return fail(format!("socket {}: nothing came in {} s", self.name, patience.as_secs()));
                }
                Ok(None) => return Ok(self.ended(Came::Ended, trace)),
                Ok(Some(Err(error))) => {
                    trace.note(format!("{} ← {error}", self.name));
                    return Ok(self.ended(Came::Ended, trace));
                }
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(frame) => {
                    let came = match frame {
                        Some(CloseFrame { code, reason }) => {
                            Came::Closed { code: code.into(), reason: reason.to_string() }
                        }
                        None => Came::Closed { code: 1005, reason: String::new() },
                    };
                    return Ok(self.ended(came, trace));
                }
                message => {
                    let frame = self.judge(&message, schemas, trace)?;
                    if frame["op"] != "heartbeat_ack" || frame["cid"] != HEART {
                        return Ok(Came::Frame(frame));
                    }
                }
            }
        }
    }

    fn judge(&mut self, message: &Message, schemas: &Schemas, trace: &mut Trace) -> Step<Value> {
        let broken = |name: &str, problem: String| Stop::Failed(format!("socket {name}: {problem}"));
        let frame = self
            .encoding
            .read(message)
            .map_err(|problem| broken(&self.name, format!("what came is no frame: {problem}")))?;
        trace.note(format!("{} ← {}", self.name, short(&frame.to_string())));
        schemas.check(&frame).map_err(|problem| broken(&self.name, problem))?;
        let bytes: &[u8] = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            _ => &[],
        };
        self.ledger.take(&frame, bytes).map_err(|problem| broken(&self.name, problem))?;
        Ok(frame)
    }

    fn ended(&mut self, came: Came, trace: &mut Trace) -> Came {
        trace.note(format!("{} ← {came:?}", self.name));
        self.over = true;
        came
    }

    /// Sends a close frame.
    pub async fn close(&mut self, code: u16, patience: Duration) -> Step {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.send_message(Message::Close(Some(frame)), patience).await
    }
}

/// A frame without its signed token: reports are passed on.
fn shown(frame: &Value) -> Value {
    let mut frame = frame.clone();
    if let Some(token) = frame.get_mut("d").and_then(|d| d.get_mut("token"))
        && token.as_str().is_some_and(|token| token.len() > SHOWN_TOKEN)
    {
        *token = "(a signed token)".into();
    }
    frame
}
