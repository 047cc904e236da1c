//! Runs one WebSocket from `hello` to its end.

use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::connection::{Beat, Connection};
use super::gateway::Gateway;
use super::outbox::{KEPT_PLACES, LastWord, Outbox, Step};
use crate::metrics::SocketClose;
use crate::wire::{CloseCode, Subprotocol};

/// How long the last frames and the close frame may take to leave.
pub const CLOSE_TIME: Duration = Duration::from_secs(10);
/// How long a client may take to answer the close frame.
pub const REPLY_TIME: Duration = Duration::from_secs(2);
/// The code with which a client says that it is done.
const NORMAL_CLOSURE: u16 = 1000;
/// Heartbeat intervals without a heartbeat before the socket is closed.
const MISSED_HEARTBEATS: u32 = 2;

/// How often the reader steps back for the writer. The two are polled in any order: after one time the writer may still
/// come second, after two it has had its turn.
const WRITER_TURNS: u32 = 2;

/// Why a socket ended.
#[derive(Debug)]
enum End {
    /// The server closes it.
    Server(LastWord),
    /// The client closed it.
    Client(Option<u16>),
    /// The client is gone without a word.
    Vanished(String),
}

impl End {
    fn close(code: CloseCode) -> Self {
        Self::Server(LastWord::Close(code))
    }

    fn last_word(&self) -> LastWord {
        match self {
            Self::Server(last) => *last,
            Self::Client(_) | Self::Vanished(_) => LastWord::Silence,
        }
    }

    /// What it is counted as.
    fn counted(&self) -> SocketClose {
        match self {
            Self::Server(LastWord::Close(code)) => (*code).into(),
            Self::Server(LastWord::Refuse { code, .. }) => SocketClose::of(Some(*code)),
            Self::Client(code) => SocketClose::of(*code),
            Self::Server(LastWord::Silence) | Self::Vanished(_) => SocketClose::None,
        }
    }

    /// Whether the session ends with the socket. It waits for its client where that is told to come back, or is
    /// gone without a word, or with any word but that of a deliberate end.
    fn is_the_sessions(&self) -> bool {
        match self {
            Self::Server(LastWord::Close(code)) => !code.may_resume(),
            Self::Server(LastWord::Refuse { .. }) => true,
            Self::Client(code) => *code == Some(NORMAL_CLOSURE),
            Self::Server(LastWord::Silence) | Self::Vanished(_) => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(LastWord::Close(code)) => f.write_str(code.name()),
            Self::Server(LastWord::Refuse { reason, .. }) => f.write_str(reason),
            Self::Server(LastWord::Silence) => f.write_str("ended"),
            Self::Client(_) => f.write_str("closed by the client"),
            Self::Vanished(how) => write!(f, "vanished: {how}"),
        }
    }
}

/// Runs a socket until it is closed. One task; the reader and the writer take turns in it.
pub async fn run(socket: WebSocket, gateway: Arc<Gateway>, subprotocol: Subprotocol) {
    let _open = gateway.sockets.token();
    let outbox = Arc::new(Outbox::new(gateway.config.session.send_queue_bytes));
    let (sink, mut stream) = socket.split();
    let mut connection = Connection::new(Arc::clone(&gateway), subprotocol, Arc::clone(&outbox));
    connection.greet();

    let mut writer = pin!(write(sink, &outbox, subprotocol));
    let mut broken = false;
    let end = tokio::select! {
        end = read(&mut stream, &mut connection, &gateway, &outbox, subprotocol) => end,
        error = &mut writer => {
            broken = true;
            End::Vanished(error.map_or_else(|| "the writer ended".to_owned(), |error| error.to_string()))
        }
    };
    log_end(&connection, &end);
    gateway.metrics.closes.of(end.counted()).inc();
    // Settled before the close handshake, which may take a while.
    connection.leave(end.is_the_sessions());
    if !broken {
        outbox.end(end.last_word());
        close(writer, stream).await;
    }
}

/// The one place where the end of a socket is logged.
fn log_end(connection: &Connection, end: &End) {
    let session = connection.session().map(|session| session.name());
    let code = match end {
        End::Server(LastWord::Close(code)) => Some(code.number()),
        End::Server(LastWord::Refuse { code, .. }) => Some(*code),
        End::Client(code) => *code,
        End::Server(LastWord::Silence) | End::Vanished(_) => None,
    };
    tracing::info!(session, code, reason = %end, "socket ended");
}

/// Reads until the socket is to end.
async fn read(
    stream: &mut SplitStream<WebSocket>,
    connection: &mut Connection,
    gateway: &Gateway,
    outbox: &Outbox,
    subprotocol: Subprotocol,
) -> End {
    let heartbeats = Duration::from_millis(gateway.config.session.heartbeat_ms) * MISSED_HEARTBEATS;
    let handshake = Duration::from_millis(gateway.config.session.identify_timeout_ms);
    let mut deadline = pin!(sleep_until(Instant::now() + handshake));
    let idle_time = Duration::from_millis(gateway.config.session.idle_timeout_ms);
    let mut idle = pin!(sleep(idle_time));
    let mut leaving = false;
    loop {
        let session = connection.session();
        let may_idle = session.is_some() && !idle_time.is_zero();
        let expires = session.and_then(|session| session.pass.expires());
        let message = tokio::select! {
            biased;
            last = outbox.ended() => return End::Server(last),
            () = gateway.closing.cancelled(), if !leaving => {
                leaving = true;
                deadline.as_mut().reset(Instant::now() + gateway.time_to_leave());
                continue;
            }
            () = &mut deadline => {
                if leaving {
                    return End::close(CloseCode::Draining);
                }
                return End::close(match connection.session() {
                    Some(_) => CloseCode::HeartbeatTimeout,
                    None => CloseCode::IdentifyTimeout,
                });
            }
            () = sleep_until(expires.unwrap_or_else(Instant::now)), if expires.is_some() => {
                return End::close(CloseCode::Unauthenticated);
            }
            () = &mut idle, if may_idle => return End::close(CloseCode::Idle),
            message = stream.next() => message,
        };
        let frame: Bytes = match message {
            None => return End::Vanished("the connection ended".into()),
            Some(Err(error)) => return failed(error),
            Some(Ok(Message::Close(frame))) => return End::Client(frame.map(|frame| frame.code)),
            // Pings are answered below this layer.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(frame))) if subprotocol.is_binary() => frame,
            Some(Ok(Message::Text(frame))) if !subprotocol.is_binary() => frame.into(),
            Some(Ok(Message::Binary(_) | Message::Text(_))) => return End::close(CloseCode::BadFrame),
        };
        // A fault in one frame's handling costs its socket, not the server. What it may leave behind belongs
        // to this connection, which is dropped.
        match AssertUnwindSafe(connection.take(&frame)).catch_unwind().await {
            Ok(Ok(Beat::Alive)) if !leaving => deadline.as_mut().reset(Instant::now() + heartbeats),
            Ok(Ok(Beat::Alive)) => {}
            Ok(Ok(Beat::Still)) => idle.as_mut().reset(Instant::now() + idle_time),
            Ok(Err(code)) => return End::close(code),
            Err(_) => return End::close(CloseCode::Internal),
        }
        // What was answered leaves before more is read: a client that sends many frames at once must not fill its own
        // queue, and after a close frame nothing may be sent any more.
        for _ in 0..WRITER_TURNS {
            if outbox.is_waiting() {
                yield_now().await;
            }
        }
    }
}

/// What an error of the WebSocket layer means for the socket.
fn failed(error: axum::Error) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => End::close(CloseCode::FrameTooLarge),
        Some(tungstenite::Error::Utf8(_)) => {
            End::Server(LastWord::Refuse { code: 1007, reason: "text that is not UTF-8" })
        }
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => End::Vanished("the connection ended".into()),
        Some(tungstenite::Error::Protocol(_)) => {
            End::Server(LastWord::Refuse { code: 1002, reason: "not a WebSocket message" })
        }
        _ => End::Vanished(error.to_string()),
    }
}

/// Writes what the outbox gives, until its end. Returns what broke the socket, if something did.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    outbox: &Outbox,
    subprotocol: Subprotocol,
) -> Option<axum::Error> {
    let mut unflushed = false;
    let mut hand = VecDeque::new();
    loop {
        let written = match outbox.next(&mut hand, unflushed).await {
            Step::Send => {
                unflushed = true;
                let fed = feed(&mut sink, &mut hand, subprotocol).await;
                outbox.sent();
                fed
            }
            Step::Flush => {
                unflushed = false;
                if hand.capacity() > KEPT_PLACES {
                    hand = VecDeque::new();
                }
                sink.flush().await
            }
            Step::End(last) => {
                let (code, reason) = match last {
                    LastWord::Close(code) => (code.number(), code.name()),
                    LastWord::Refuse { code, reason } => (code, reason),
                    LastWord::Silence => return None,
                };
                let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
                return sink.send(Message::Close(Some(frame))).await.err();
            }
        };
        if let Err(error) = written {
            return Some(error);
        }
    }
}

/// Hands the socket these messages.
async fn feed(
    sink: &mut SplitSink<WebSocket, Message>,
    hand: &mut VecDeque<Bytes>,
    subprotocol: Subprotocol,
) -> Result<(), axum::Error> {
    while let Some(frame) = hand.pop_front() {
        let message = if subprotocol.is_binary() {
            Message::Binary(frame)
        } else {
            Message::Text(Utf8Bytes::try_from(frame).map_err(axum::Error::new)?)
        };
        sink.feed(message).await?;
    }
    Ok(())
}

/// Lets the last frames out and waits for the client's answer. What the client sends meanwhile is read and
/// dropped: unread bytes would reset the connection and could take the close frame with them.
async fn close(writer: impl Future<Output = Option<axum::Error>>, mut stream: SplitStream<WebSocket>) {
    let (sent, wait_sent) = oneshot::channel::<()>();
    let finish = async {
        // Whether it worked or not, there is nothing left to do for this socket.
        let _ = timeout(CLOSE_TIME, writer).await;
        drop(sent);
    };
    let discard = async {
        let until_closed = async { while let Some(Ok(_)) = stream.next().await {} };
        let until_late = async {
            let _ = wait_sent.await;
            sleep(REPLY_TIME).await;
        };
        tokio::select! {
            () = until_closed => {}
            () = until_late => {}
        }
    };
    tokio::join!(finish, discard);
}
