//! Makes tokens, as a studio's own login server would.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::TestServer;

/// The secret of the key `hs`.
pub const SECRET: &[u8] = b"a secret that is not in any log line";

/// A folder with the keys `ed` (EdDSA) and `hs` (HS256), and what signs for them.
pub struct Issuer {
    folder: TempDir,
    private: rcgen::KeyPair,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Five minutes of a player with these scopes.
pub fn claims(player: &str, scope: &str) -> Value {
    json!({"sub": player, "exp": now() + 300, "scope": scope})
}

pub fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.into()), ..Header::new(algorithm) }
}

/// A token of HS256, by whatever key.
pub fn hs256(kid: &str, secret: &[u8], claims: &Value) -> String {
    encode(&header(Algorithm::HS256, kid), claims, &EncodingKey::from_secret(secret)).unwrap()
}

impl Issuer {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        fs::write(folder.path().join("ed.pem"), private.public_key_pem()).unwrap();
        fs::write(folder.path().join("hs.secret"), SECRET).unwrap();
        Self { folder, private }
    }

    /// The folder of keys.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn public_key_pem(&self) -> String {
        self.private.public_key_pem()
    }

    /// A token of EdDSA, as the key `ed`.
    pub fn sign(&self, claims: &Value) -> String {
        let key = EncodingKey::from_ed_der(&self.private.serialize_der());
        encode(&header(Algorithm::EdDSA, "ed"), claims, &key).unwrap()
    }

    /// Five minutes of a player with these scopes.
    pub fn token(&self, player: &str, scope: &str) -> String {
        self.sign(&claims(player, scope))
    }

    /// A server that takes these tokens.
    pub async fn server(&self, sets: &[&str]) -> TestServer {
        let keys = format!("auth.keys={}", self.folder().display());
        let own = ["auth.mode=jwt", &keys, "auth.leeway_s=0"];
        TestServer::start(&[&own, sets].concat()).await
    }
}
