//! A client of the gateway, for the commands that are one: opening the socket, the handshake, frames, heartbeats.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::clean::clean;
use crate::wire::{
    Cid, ClientFrame, ClientInfo, Heartbeat, Identify, ServerFrame, ServerMessage, Subprotocol,
    decode_server, encode_client,
};

/// How long the gateway may take to accept a connection and to finish the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest message that is taken from the gateway, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

/// A socket with an identified session.
pub(super) struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    subprotocol: Subprotocol,
    heartbeat: Duration,
    /// The last `s` that came.
    seq: u64,
    last_ack: Instant,
}

/// The address as the socket wants it: `ws://` and `/ws` may be left out. `http://` is taken for `ws://`.
pub(super) fn url(given: &str) -> anyhow::Result<String> {
    let rest = match given.split_once("://") {
        None => given,
        Some(("ws" | "http", rest)) => rest,
        Some(("wss" | "https", _)) => {
            bail!("{given}: TLS is not spoken here; give the gateway's ws:// address")
        }
        Some((scheme, _)) => bail!("{given}: {scheme}:// is no address of a gateway; give ws://HOST:PORT/ws"),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        bail!("{given:?} names no host; give ws://HOST:PORT/ws");
    }
    let path = if path.is_empty() { "ws" } else { path };
    Ok(format!("ws://{host}/{path}"))
}

impl Link {
    /// Connects and identifies. `command` is what the gateway knows the program by: `npc-gateway-chat`.
    pub(super) async fn open(url: &str, token: &str, json: bool, command: &str) -> anyhow::Result<Self> {
        let open = async {
            let subprotocol = if json { Subprotocol::Json } else { Subprotocol::Msgpack };
            let mut link = Self::connect(url, subprotocol).await?;
            link.identify(token, command).await?;
            Ok(link)
        };
        let seconds = CONNECT_TIMEOUT.as_secs();
        timeout(CONNECT_TIMEOUT, open)
            .await
            .map_err(|_| anyhow!("{url} did not answer within {seconds} s"))?
    }

    async fn connect(url: &str, subprotocol: Subprotocol) -> anyhow::Result<Self> {
        let mut request = url.into_client_request().with_context(|| format!("{url} is no address"))?;
        let name = HeaderValue::from_static(subprotocol.name());
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name.clone());
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
        let connected = connect_async_with_config(request, Some(config), true).await;
        let (socket, response) = connected.map_err(|e| refused(url, e))?;
        if response.headers().get(SEC_WEBSOCKET_PROTOCOL) != Some(&name) {
            bail!("{url} is no npc-gateway: it does not speak {}", subprotocol.name());
        }
        let last_ack = Instant::now();
        Ok(Self { socket, subprotocol, heartbeat: Duration::MAX, seq: 0, last_ack })
    }

    async fn identify(&mut self, token: &str, command: &str) -> anyhow::Result<()> {
        let first = self.next().await?.and_then(|message| message.frame);
        let Some(ServerFrame::Hello(hello)) = first else { bail!("the gateway did not begin with hello") };
        let client = ClientInfo {
            name: format!("{}-{command}", env!("CARGO_PKG_NAME")),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let identify = Identify { token: token.to_owned(), client, protocol: None };
        self.send(&ClientFrame::Identify(identify), None).await?;
        // A gateway that asks for a beat every few milliseconds gets ten a second.
        self.heartbeat = Duration::from_millis(hello.heartbeat_ms.max(100));
        match self.next().await?.and_then(|message| message.frame) {
            Some(ServerFrame::Ready(_)) => {
                self.last_ack = Instant::now();
                Ok(())
            }
            Some(ServerFrame::Error(error)) => {
                bail!("the gateway refused: {}", clean(&error.message))
            }
            _ => bail!("the gateway did not answer identify with ready"),
        }
    }

    /// How often [`Link::beat`] is due.
    pub(super) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Sends a heartbeat. An error: the last ones were not answered.
    pub(super) async fn beat(&mut self) -> anyhow::Result<()> {
        if self.last_ack.elapsed() > self.heartbeat * 3 {
            bail!("the gateway no longer answers");
        }
        self.send(&ClientFrame::Heartbeat(Heartbeat { seq: self.seq }), None).await
    }

    pub(super) async fn send(&mut self, frame: &ClientFrame, cid: Option<Cid>) -> anyhow::Result<()> {
        let bytes = encode_client(self.subprotocol, frame, cid.as_ref())?;
        let message = match self.subprotocol {
            Subprotocol::Msgpack => Message::Binary(bytes),
            Subprotocol::Json => Message::Text(bytes.try_into()?),
        };
        match self.socket.send(message).await {
            // Of a closed socket the close frame, which is still to be read, says why.
            Ok(()) | Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => Ok(()),
            Err(e) => Err(e).context("the connection is lost"),
        }
    }

    /// The next frame; `None`: the socket was closed without a word. An error names the close code, or what
    /// was wrong with the frame. May be dropped and called again without losing a frame.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<ServerMessage>> {
        loop {
            let bytes: Bytes = match self.socket.next().await {
                None => return Ok(None),
                Some(Ok(Message::Binary(bytes))) if self.subprotocol.is_binary() => bytes,
                Some(Ok(Message::Text(text))) if !self.subprotocol.is_binary() => text.into(),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => bail!(closed(frame.as_ref())),
                Some(Ok(Message::Binary(_) | Message::Text(_))) => {
                    bail!("the gateway sent the wrong kind of message")
                }
                Some(Err(e)) => return Err(e).context("the connection is lost"),
            };
            let message =
                decode_server(self.subprotocol, &bytes).context("the gateway sent a frame that is wrong")?;
            self.seq = message.s.unwrap_or(self.seq);
            if let Some(ServerFrame::HeartbeatAck(_)) = message.frame {
                self.last_ack = Instant::now();
                continue;
            }
            return Ok(Some(message));
        }
    }

    /// Says goodbye for good: the session ends too. The gateway need not hear it.
    pub(super) async fn close(&mut self) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };
        let _ = timeout(Duration::from_secs(1), self.socket.close(Some(goodbye))).await;
    }
}

/// Why a connection was not made.
fn refused(url: &str, error: tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            anyhow!("nothing listens at {url}; is `npc-gateway serve` running?")
        }
        tungstenite::Error::Http(response) => {
            anyhow!("{url} refused the connection: HTTP {}", response.status())
        }
        error => anyhow::Error::new(error).context(format!("cannot connect to {url}")),
    }
}

/// What a close frame says.
fn closed(frame: Option<&CloseFrame>) -> String {
    match frame {
        None => "the gateway closed the connection".to_owned(),
        Some(frame) => {
            let reason = clean(&frame.reason);
            format!("the gateway closed the connection: {} {reason}", u16::from(frame.code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_short() {
        for given in ["ws://h:1/ws", "h:1", "h:1/", "http://h:1", "ws://h:1"] {
            assert_eq!(url(given).unwrap(), "ws://h:1/ws");
        }
        assert_eq!(url("[::1]:7777/game/ws?x=1").unwrap(), "ws://[::1]:7777/game/ws?x=1");
        for (given, expected) in
            [("wss://h", "TLS"), ("ftp://h", "ftp://"), ("", "names no host"), ("ws:///ws", "names no host")]
        {
            assert!(url(given).unwrap_err().to_string().contains(expected), "{given}");
        }
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_says_so() {
        // Bound and dropped: nobody listens there now.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error =
            Link::open(&format!("ws://{address}/ws"), "p", false, "test").await.err().unwrap().to_string();
        assert!(error.contains("nothing listens") && error.contains("npc-gateway serve"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_no_gateway_is_told_apart() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        let error =
            Link::open(&format!("ws://{address}/ws"), "p", true, "test").await.err().unwrap().to_string();
        assert!(error.contains("HTTP 404"), "{error}");
    }
}
