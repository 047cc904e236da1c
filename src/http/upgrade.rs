//! `GET /ws`: from HTTP to a socket.

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use crate::metrics::Upgrade;
use crate::session;
use crate::wire::Subprotocol;

/// Bytes of a socket's read buffer, which is held as long as the socket. Frames of clients are far smaller.
const READ_BUFFER: usize = 4096;
/// Bytes that are gathered before they are handed to the connection; a flush does not wait for them.
const WRITE_BUFFER: usize = 8192;
/// Bytes beyond the largest message that may be gathered for a client that does not read: pongs, of which only the last
/// is kept when there is no more room, and the close frame.
const CONTROL_BUFFER: usize = 4096;

/// The WebSocket.
///
/// What goes over it is in `schemas/`. `Sec-WebSocket-Protocol` is `npc.v1.msgpack`, as it is without one, or `npc.v1.json`.
#[utoipa::path(
    get,
    path = "/ws",
    operation_id = "open_socket",
    tag = "players",
    security(()),
    responses(
        (status = SWITCHING_PROTOCOLS, description = "It is open; the first frame is `hello`."),
        (status = BAD_REQUEST, description = "This is no upgrade to a WebSocket, or to none that is known here.", body = str, content_type = "text/plain"),
        (status = FORBIDDEN, description = "Pages of this `Origin` may not connect.", body = str, content_type = "text/plain"),
        (status = SERVICE_UNAVAILABLE, description = "As many sockets are open as may be; `Retry-After` says when to try again.", body = str, content_type = "text/plain"),
    )
)]
pub(super) async fn upgrade(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let gateway = state.gateway;
    let mut upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            gateway.metrics().upgrades_refused.of(Upgrade::NoUpgrade).inc();
            return rejection.into_response();
        }
    };
    let Ok(chosen) = choose(&headers) else {
        gateway.metrics().upgrades_refused.of(Upgrade::BadSubprotocol).inc();
        let message = "none of the offered subprotocols is known; there are npc.v1.msgpack and npc.v1.json\n";
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    if !gateway.has_room() {
        gateway.metrics().upgrades_refused.of(Upgrade::Full).inc();
        let retry = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "as many sockets are open as may be\n")
            .into_response();
    }
    if let Some(offered) = chosen {
        upgrade.set_selected_protocol(HeaderValue::from_static(offered.name()));
    }
    let session = &gateway.config().session;
    let max_frame_bytes = session.max_frame_bytes;
    // No message is larger than the queue that it comes from.
    let max_write_buffer = WRITE_BUFFER + session.send_queue_bytes + CONTROL_BUFFER;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(max_write_buffer)
        .max_message_size(max_frame_bytes)
        .max_frame_size(max_frame_bytes)
        .on_failed_upgrade(|error| tracing::debug!(%error, "an upgrade failed"))
        .on_upgrade(move |socket| session::run(socket, gateway, chosen.unwrap_or(Subprotocol::Msgpack)))
}

/// Only subprotocols that this server does not know were offered.
#[derive(Debug, PartialEq, Eq)]
struct AllUnknown;

/// The first subprotocol of the client's list that is known; `None` if the client offers none, and then the
/// answer must not name one.
fn choose(headers: &HeaderMap) -> Result<Option<Subprotocol>, AllUnknown> {
    let mut offered = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    offered
        .find_map(|name| std::str::from_utf8(name).ok().and_then(Subprotocol::from_name))
        .map(Some)
        .ok_or(AllUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_offer_is_taken() {
        let chosen = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, line.parse().unwrap());
            }
            choose(&headers)
        };
        let (json, msgpack) = (Ok(Some(Subprotocol::Json)), Ok(Some(Subprotocol::Msgpack)));
        assert_eq!(chosen(&[]), Ok(None));
        assert_eq!(chosen(&["npc.v1.json"]), json);
        assert_eq!(chosen(&["npc.v1.msgpack"]), msgpack);
        assert_eq!(chosen(&["npc.v1.json, npc.v1.msgpack"]), json);
        assert_eq!(chosen(&["npc.v1.msgpack,npc.v1.json"]), msgpack);
        assert_eq!(chosen(&["npc.v9.json, ,npc.v1.json"]), json);
        assert_eq!(chosen(&["chat", "npc.v1.msgpack"]), msgpack);
        assert_eq!(chosen(&["chat"]), Err(AllUnknown));
        assert_eq!(chosen(&["NPC.V1.JSON", "chat"]), Err(AllUnknown));
    }
}
