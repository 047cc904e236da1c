//! A socket that frames go through as they are.

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::wire::Subprotocol;

pub(super) struct Socket {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub ready: Value,
}

impl Socket {
    /// Connects as a player.
    pub async fn open(url: &str, player: &str) -> anyhow::Result<Self> {
        let mut request = url.into_client_request()?;
        let name = HeaderValue::from_static(Subprotocol::Json.name());
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        let (socket, _) = connect_async(request).await.context("the server does not answer")?;
        let mut link = Self { socket, ready: Value::Null };
        link.next().await?;
        let client = json!({"name": "npc-gateway-replay", "version": env!("CARGO_PKG_VERSION")});
        link.send(&json!({"op": "identify", "d": {"token": player, "client": client}})).await?;
        link.ready = link.next().await?;
        if link.ready["op"] != "ready" {
            bail!("the server did not answer identify with ready: {}", link.ready);
        }
        Ok(link)
    }

    pub async fn send(&mut self, frame: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Text(frame.to_string().into())).await?)
    }

    /// The next frame. May be dropped and called again without losing one.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => bail!("the server has gone: {other:?}"),
            }
        }
    }
}
