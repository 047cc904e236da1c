//! From HTTP to the socket, and the HTTP beside it.

use crate::server::TestServer;

const UPGRADE: [(&str, &str); 4] = [
    // `close`: an answer that is no upgrade ends the connection, and so shows where it ends.
    ("Connection", "Upgrade, close"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

async fn upgrade(server: &TestServer, headers: &[(&str, &str)]) -> (u16, String) {
    let all: Vec<_> = UPGRADE.iter().chain(headers).copied().collect();
    let (status, answer) = server.http("/ws", &all).await;
    (status, answer.to_ascii_lowercase())
}

#[tokio::test]
async fn the_first_known_subprotocol_of_the_client_is_chosen() {
    let server = TestServer::start(&[]).await;
    for (offer, chosen) in [
        ("npc.v1.msgpack", "npc.v1.msgpack"),
        ("npc.v1.json", "npc.v1.json"),
        ("npc.v1.json, npc.v1.msgpack", "npc.v1.json"),
        ("npc.v1.msgpack, npc.v1.json", "npc.v1.msgpack"),
        ("npc.v2.json,npc.v1.json", "npc.v1.json"),
    ] {
        let (status, answer) = upgrade(&server, &[("Sec-WebSocket-Protocol", offer)]).await;
        assert_eq!(status, 101, "{offer}: {answer}");
        assert!(answer.contains(&format!("sec-websocket-protocol: {chosen}\r\n")), "{offer}: {answer}");
    }
    for offer in ["npc.v2.msgpack", "chat, soap", "NPC.V1.JSON"] {
        let (status, answer) = upgrade(&server, &[("Sec-WebSocket-Protocol", offer)]).await;
        assert_eq!(status, 400, "{offer}: {answer}");
        assert!(answer.contains("npc.v1.msgpack"), "{answer}");
    }
}

#[tokio::test]
async fn without_an_offer_frames_are_messagepack() {
    let server = TestServer::start(&[]).await;
    let (status, answer) = upgrade(&server, &[]).await;
    assert_eq!(status, 101);
    assert!(!answer.contains("sec-websocket-protocol"), "{answer}");

    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws", server.address)).await.unwrap();
    let hello = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap().into_data();
    assert!(hello.starts_with(b"\x82\xa2op\xa5hello"), "{hello:?}");
}

#[tokio::test]
async fn only_loopback_hosts_are_served() {
    let server = TestServer::start(&[]).await;
    for path in ["/healthz", "/readyz", "/", "/ws"] {
        for host in ["evil.example", "evil.example:7777", "localhost.evil.example", "0.0.0.0", ""] {
            let mut headers = UPGRADE.to_vec();
            headers.push(("Host", host));
            assert_eq!(server.http(path, &headers).await.0, 403, "{path} {host}");
        }
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:7777", "[::1]", "[::1]:7777"] {
        assert_eq!(upgrade(&server, &[("Host", host)]).await.0, 101, "{host}");
    }
    // The host in the request line counts before the header.
    let (status, _) = server.http("http://evil.example/healthz", &[("Host", "localhost")]).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn only_own_and_configured_pages_may_open_a_socket() {
    let server = TestServer::start(&["server.allowed_origins=[\"https://studio.example\"]"]).await;
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "https://studio.example"] {
        assert_eq!(upgrade(&server, &[("Origin", origin)]).await.0, 101, "{origin}");
    }
    for origin in ["null", "http://evil.example", "http://localhost", "https://studio.example.evil.example"] {
        assert_eq!(upgrade(&server, &[("Origin", origin)]).await.0, 403, "{origin}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_refused() {
    let server = TestServer::start(&[]).await;
    assert_eq!(server.http("/ws", &[]).await.0, 400);
    assert_eq!(server.http("/elsewhere", &[]).await.0, 404);
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let server = TestServer::start(&["shutdown.grace_ms=2000"]).await;
    assert_eq!(server.http("/healthz", &[]).await.0, 200);
    let (status, state) = server.readyz().await;
    assert_eq!(status, 200);
    assert_eq!(
        (&state["ready"], &state["model"], &state["draining"]),
        (&true.into(), &true.into(), &false.into())
    );
}

#[tokio::test]
async fn sockets_are_bounded_also_without_a_session() {
    let server = TestServer::start(&["session.max_sessions=1"]).await;
    let first = server.connect(crate::client::Encoding::Json).await;
    let second = server.connect(crate::client::Encoding::Json).await;
    let (status, answer) = upgrade(&server, &[]).await;
    assert_eq!(status, 503);
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    drop((first, second));
    server.until("sockets", 0).await;
    assert_eq!(upgrade(&server, &[]).await.0, 101);
}
