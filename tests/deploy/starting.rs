//! The sample starts: with the files that it names put elsewhere, and with stores that nobody reaches.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::path;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_sample_serves_over_tls_while_its_stores_are_away() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = file("tls/fullchain.pem", &own.cert.pem());
    let key = file("tls/privkey.pem", &own.signing_key.serialize_pem());
    let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    file("keys/game-1.pem", &signer.public_key_pem());
    let sets = [
        "server.listen=127.0.0.1:0".to_owned(),
        format!("server.data={}", place.path().join("data").display()),
        format!("server.tls_cert={cert}"),
        format!("server.tls_key={key}"),
        format!("auth.keys={}", place.path().join("keys").display()),
        format!("packs.path={}", path("adapters").display()),
        // The model has tests of its own.
        "engine.kind=scripted".to_owned(),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    command.arg("serve").arg("--config").arg(path("deploy/npc-gateway.toml"));
    command.args(sets.iter().flat_map(|set| ["--set", set]));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut server = Server(child);
    let mut line = String::new();
    BufReader::new(server.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("listening on ").expect("it starts").trim().to_owned();

    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(&address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: game.example\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, state) = answer.split_once("\r\n\r\n").unwrap();
    let state: serde_json::Value = serde_json::from_str(state).unwrap();
    assert_eq!((&state["ready"], &state["journal"]), (&true.into(), &true.into()));
    assert!(state["redis"]["state"] != "embedded" && state["postgres"]["state"] != "off", "{state}");
}
