//! TLS: the same protocol over `wss`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::server::TestServer;

/// A certificate for `localhost` that nobody has signed, in files.
struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let mut certificate =
            Self { folder: tempfile::tempdir().unwrap(), der: CertificateDer::from(Vec::new()) };
        certificate.replace();
        certificate
    }

    /// Puts another one in its place.
    fn replace(&mut self) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.path("key.pem"), own.signing_key.serialize_pem()).unwrap();
        fs::write(self.path("cert.pem"), own.cert.pem()).unwrap();
        self.der = own.cert.der().clone();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn server(&self, sets: &[&str]) -> TestServer {
        let cert = format!("server.tls_cert={}", self.path("cert.pem").display());
        let key = format!("server.tls_key={}", self.path("key.pem").display());
        TestServer::start(&[&[cert.as_str(), &key], sets].concat()).await
    }
}

/// Who trusts this certificate alone.
async fn shake_hands(
    server: &TestServer,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(server.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

struct Client(WebSocketStream<TlsStream<TcpStream>>);

impl Client {
    async fn open(server: &TestServer, certificate: &Certificate) -> Self {
        let stream = shake_hands(server, &certificate.der).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut request =
            format!("wss://localhost:{}/ws", server.address.port()).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "npc.v1.json".parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut client = Self(socket);
        assert_eq!(client.recv().await["op"], "hello");
        client
    }

    async fn recv(&mut self) -> Value {
        let message = tokio::time::timeout(Duration::from_mins(1), self.0.next()).await.expect("an answer");
        serde_json::from_str(message.unwrap().unwrap().to_text().unwrap()).unwrap()
    }

    async fn ask(&mut self, frame: Value) -> Value {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
        self.recv().await
    }

    async fn identify(&mut self) -> Value {
        let d = json!({"token": "mina", "client": {"name": "test", "version": "1"}});
        self.ask(json!({"op": "identify", "d": d})).await
    }

    async fn is_alive(&mut self) {
        assert_eq!(self.ask(json!({"op": "heartbeat", "d": {"seq": 0}})).await["op"], "heartbeat_ack");
    }
}

#[tokio::test]
async fn a_conversation_over_tls() {
    let certificate = Certificate::new();
    let server = certificate.server(&[]).await;
    let mut client = Client::open(&server, &certificate).await;
    assert_eq!(client.identify().await["op"], "ready");
    let join = json!({"op": "npc.join", "d": {"npc": "n", "archetype": "vampire"}});
    assert_eq!(client.ask(join).await["op"], "npc.joined");
    let d = json!({"npc": "n", "turn": "t", "text": "Good evening.", "generation": {"max_tokens": 8}});
    let mut frame = client.ask(json!({"op": "say", "d": d})).await;
    assert_eq!(frame["op"], "turn.started");
    while frame["op"] != "turn.done" {
        frame = client.recv().await;
    }
    client.is_alive().await;
}

#[tokio::test]
async fn the_last_word_comes_through_with_the_end_behind_it() {
    let certificate = Certificate::new();
    let server = certificate.server(&["session.max_frame_bytes=4096"]).await;
    for size in [5000, 4_000_000] {
        let mut client = Client::open(&server, &certificate).await;
        client.identify().await;
        // So much that it is still being sent when the server has given up on it.
        let _ = client.0.send(Message::text("x".repeat(size))).await;
        match client.0.next().await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 4504),
            other => panic!("{size}: {other:?}"),
        }
        // An end that TLS does not announce would be an error of another kind.
        match client.0.next().await {
            None | Some(Err(Error::ConnectionClosed)) => {}
            other => panic!("{size}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_refused_and_keeps_nobody_waiting() {
    let certificate = Certificate::new();
    let server = certificate.server(&["session.identify_timeout_ms=3000"]).await;
    // Many who say nothing.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let start = Instant::now();
    let mut client = Client::open(&server, &certificate).await;
    client.identify().await;
    // HTTP in the clear gets no HTTP back.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // They are let go when their time is up, not before and not never.
    for stream in &mut silent {
        let read = tokio::time::timeout(Duration::from_mins(1), stream.read(&mut [0; 16])).await;
        assert!(matches!(read.expect("an end"), Ok(0) | Err(_)));
    }
    assert!(start.elapsed() >= Duration::from_millis(2900), "{:?}", start.elapsed());
    client.is_alive().await;
    // Another's certificate is not this one's.
    assert!(shake_hands(&server, &Certificate::new().der).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_while_the_server_runs() {
    let mut certificate = Certificate::new();
    let server = certificate.server(&["server.reread_ms=100"]).await;
    let mut before = Client::open(&server, &certificate).await;
    // Of a pair that does not fit nothing is taken.
    let key = fs::read(certificate.path("key.pem")).unwrap();
    fs::write(certificate.path("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    Client::open(&server, &certificate).await.identify().await;
    fs::write(certificate.path("key.pem"), key).unwrap();
    certificate.replace();
    let start = Instant::now();
    while shake_hands(&server, &certificate.der).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Client::open(&server, &certificate).await.identify().await;
    assert_eq!(before.identify().await["op"], "ready");
}
