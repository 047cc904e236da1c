//! One socket of a player: the handshake, frames in their order, heartbeats.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::fault::Fault;
use crate::target::{Opening, Target, cut};
use crate::wire::{Body, Client, Encoding, Frame, Heartbeat, Hello, Identify, Ready, Resume};

/// Bytes that are read at once; thousands of sockets have such a buffer each.
const READ_BUFFER: usize = 4096;
/// Largest frame that is taken from a gateway.
const MAX_FRAME: usize = 1 << 20;

/// What is known of a session, and outlives its socket.
#[derive(Debug, Clone, Default)]
pub struct Seat {
    pub session: String,
    pub resume_token: String,
    pub epoch: String,
    pub player: String,
    /// The last `s` received.
    pub seq: u64,
    /// How long the server keeps the session without a socket.
    pub window: Duration,
}

/// How players connect.
#[derive(Debug, Clone)]
pub struct Door {
    pub target: Target,
    pub encoding: Encoding,
    /// How long nothing may come where something must.
    pub patience: Duration,
    pub opening: Opening,
}

/// A socket.
#[derive(Debug)]
pub struct Link {
    socket: WebSocketStream<TcpStream>,
    encoding: Encoding,
    patience: Duration,
    pub hello: Hello,
    pub seat: Seat,
    /// What `resume` asked to go on after.
    resumed_after: u64,
    beat: Duration,
    /// When the next heartbeat is due; far away before the session is there.
    next_beat: Pin<Box<Sleep>>,
    cids: u64,
}

impl Door {
    /// Opens a WebSocket.
    pub async fn socket(&self, number: usize) -> Result<WebSocketStream<TcpStream>, Fault> {
        let open = async {
            let stream = self.target.connect(number, self.opening).await.map_err(Fault::Connect)?;
            let mut request = self.target.url.as_str().into_client_request()?;
            let protocol = HeaderValue::from_static(self.encoding.subprotocol());
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(0)
                .max_message_size(Some(MAX_FRAME))
                .max_frame_size(Some(MAX_FRAME));
            let (socket, response) = client_async_with_config(request, stream, Some(config)).await?;
            if response.headers().get(SEC_WEBSOCKET_PROTOCOL) != Some(&protocol) {
                return Err(Fault::Broke("the upgrade did not take the subprotocol that was offered".into()));
            }
            Ok(socket)
        };
        timeout(self.patience, open).await.map_err(|_| Fault::Silence(self.patience.as_secs()))?
    }

    /// Opens a socket and reads `hello`.
    pub async fn knock(&self, number: usize) -> Result<Link, Fault> {
        let mut socket = self.socket(number).await?;
        let first = timeout(self.patience, socket.next()).await;
        let first = first.map_err(|_| Fault::Silence(self.patience.as_secs()))?;
        let frame = match first {
            Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
            Some(message) => self.encoding.read(&message?)?,
            None => return Err(Fault::Broken("it ended before hello".into())),
        };
        let Body::Hello(hello) = frame.body else {
            return Err(Fault::Broke(format!("{} came instead of hello", frame.op)));
        };
        if hello.protocol != 1 || frame.s.is_some() {
            return Err(Fault::Broke(format!("hello speaks protocol {}, s {:?}", hello.protocol, frame.s)));
        }
        Ok(Link {
            socket,
            encoding: self.encoding,
            patience: self.patience,
            beat: Duration::from_millis(hello.heartbeat_ms.max(50)),
            hello,
            seat: Seat::default(),
            resumed_after: 0,
            next_beat: Box::pin(sleep(Duration::from_hours(1))),
            cids: 0,
        })
    }

    /// Opens a session.
    pub async fn enter(&self, number: usize, token: &str) -> Result<Link, Fault> {
        let mut link = self.knock(number).await?;
        let client = Client { name: "npc-bots", version: env!("CARGO_PKG_VERSION") };
        link.send("identify", &Identify { token, client }).await?;
        let frame = link.next().await?;
        match frame.body {
            Body::Ready(ready) if frame.s == Some(1) => link.seated(ready),
            Body::Error(refusal) => return Err(Fault::Refused(refusal)),
            _ => return Err(Fault::Broke(format!("{} came instead of ready, s {:?}", frame.op, frame.s))),
        }
        Ok(link)
    }

    /// Asks for a session again. What was missed comes before `resumed`.
    pub async fn resume(&self, number: usize, seat: Seat) -> Result<Link, Fault> {
        let mut link = self.knock(number).await?;
        let Seat { session, resume_token, epoch, seq, .. } = &seat;
        link.send("resume", &Resume { session, resume_token, epoch, seq: *seq }).await?;
        link.resumed_after = *seq;
        link.seat = seat;
        link.start_beating();
        Ok(link)
    }
}

impl Link {
    fn seated(&mut self, ready: Ready) {
        self.seat = Seat {
            session: ready.session,
            resume_token: ready.resume_token,
            epoch: ready.epoch,
            player: ready.player,
            seq: 1,
            window: Duration::from_millis(ready.resume_window_ms),
        };
        self.start_beating();
    }

    /// The first heartbeat comes at a random point of the interval, so that players that came together do not beat
    /// together.
    fn start_beating(&mut self) {
        let first = self.beat.mul_f64(rand::random::<f64>());
        self.next_beat.as_mut().reset(Instant::now() + first);
    }

    /// Sends a frame; returns its `cid`.
    pub async fn send<D: Serialize>(&mut self, op: &str, payload: &D) -> Result<u64, Fault> {
        self.cids += 1;
        let message = self.encoding.write(op, Some(self.cids), payload)?;
        self.socket.send(message).await?;
        Ok(self.cids)
    }

    /// Hands a frame over without waiting until it leaves.
    pub async fn feed<D: Serialize>(&mut self, op: &str, payload: &D) -> Result<u64, Fault> {
        self.cids += 1;
        let message = self.encoding.write(op, Some(self.cids), payload)?;
        self.socket.feed(message).await?;
        Ok(self.cids)
    }

    /// Sends what was handed over.
    pub async fn flush(&mut self) -> Result<(), Fault> {
        Ok(self.socket.flush().await?)
    }

    /// The next frame of the server; heartbeats are sent meanwhile. Something must come within the time of patience.
    pub async fn next(&mut self) -> Result<Frame, Fault> {
        let patience = self.patience;
        timeout(patience, self.next_or_wait()).await.map_err(|_| Fault::Silence(patience.as_secs()))?
    }

    /// The same, however long it takes.
    pub async fn next_or_wait(&mut self) -> Result<Frame, Fault> {
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = &mut self.next_beat => {
                    self.next_beat.as_mut().reset(Instant::now() + self.beat);
                    self.send("heartbeat", &Heartbeat { seq: self.seat.seq }).await?;
                    continue;
                }
            };
            match message {
                None => return Err(Fault::Broken("it ended without a close frame".into())),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(message)) => {
                    let frame = self.encoding.read(&message)?;
                    self.number(&frame)?;
                    return Ok(frame);
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// `s` has no holes and no repeats.
    fn number(&mut self, frame: &Frame) -> Result<(), Fault> {
        if let Body::Resumed(resumed) = &frame.body {
            if frame.s.is_some() {
                return Err(Fault::Broke("resumed has an s".into()));
            }
            let came = self.seat.seq - self.resumed_after;
            if came != resumed.replayed {
                return Err(Fault::Broke(format!(
                    "{came} frames came, but resumed says {}",
                    resumed.replayed
                )));
            }
            self.seat.resume_token.clone_from(&resumed.resume_token);
            return Ok(());
        }
        let Some(s) = frame.s else { return Ok(()) };
        let expected = self.seat.seq + 1;
        // `ready` is 1, and begins the count.
        if !self.seat.session.is_empty() && s != expected {
            return Err(Fault::Broke(format!("{} has s {s} after {}", frame.op, self.seat.seq)));
        }
        self.seat.seq = s;
        Ok(())
    }

    /// Takes the network away.
    pub fn cut(self) -> Seat {
        let Self { socket, seat, .. } = self;
        cut(socket.into_inner());
        seat
    }

    /// Closes as a player does who leaves.
    pub async fn leave(mut self) {
        // Who leaves does not care how it went.
        let wait = self.patience;
        let _ = timeout(wait, async {
            if self.socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        })
        .await;
    }
}

fn closed(frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Fault {
    match frame {
        Some(frame) => Fault::Closed { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        None => Fault::Closed { code: None, reason: String::new() },
    }
}
