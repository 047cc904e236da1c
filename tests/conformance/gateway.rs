//! Gateways as processes of their own, and the keys of those in `jwt` mode.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The secret of the key `hs`.
const SECRET: &str = "a secret that is in no log line at all";

/// A running gateway; dropped, it is killed.
pub struct Gateway {
    child: Child,
    pub address: String,
    _data: TempDir,
}

impl Gateway {
    /// A gateway that plays a script: what is proven is the protocol.
    pub fn start(sets: &[String]) -> Self {
        let script = ["engine.kind=scripted", "engine.script_tokens_per_second=40"].map(str::to_owned);
        Self::spawn(&[&script, sets].concat(), &[])
    }

    pub fn start_with_model(sets: &[String]) -> Self {
        let model = std::env::var("NPC_GATEWAY_TEST_MODEL").expect("run the tests with `cargo xtask test`");
        Self::spawn(sets, &["--model", &model])
    }

    fn spawn(sets: &[String], words: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        // Where it stands there are no packs beside those that are built in.
        let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()).args(words);
        command.current_dir(data.path());
        for set in sets {
            command.args(["--set", set]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("listening on ")?.to_owned()));
        Self { child, address: address.expect("the gateway starts"), _data: data }
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with the keys `ed` (EdDSA) and `hs` (HS256), and beside it what signs for them.
pub struct Keys {
    folder: TempDir,
}

impl Keys {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join("ed.pem"), private.public_key_pem()).unwrap();
        fs::write(keys.join("hs.secret"), SECRET).unwrap();
        fs::write(folder.path().join("private.pem"), private.serialize_pem()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a gateway that takes these keys is set to.
    pub fn settings(&self) -> Vec<String> {
        let keys = format!("auth.keys={}", self.path("keys").display());
        vec!["auth.mode=jwt".into(), "auth.leeway_s=0".into(), keys]
    }

    pub fn secret(&self) -> String {
        self.path("keys/hs.secret").display().to_string()
    }

    pub fn private_key(&self) -> String {
        self.path("private.pem").display().to_string()
    }
}
