//! A gateway in a process of its own, and the load tool in another.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const BOTS: &str = env!("CARGO_BIN_EXE_npc-bots");

/// The gateway's program: the one that the tests are told, or the one that was built beside the load tool.
pub fn program() -> PathBuf {
    let named = std::env::var_os("NPC_GATEWAY_TEST_BINARY").map(PathBuf::from);
    let program = named.unwrap_or_else(|| PathBuf::from(BOTS).with_file_name("npc-gateway"));
    assert!(program.is_file(), "{} is not there: `cargo xtask test` builds it", program.display());
    program
}

/// Killed when it is dropped.
pub struct Gateway {
    process: Child,
    address: String,
    _data: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    /// Starts one with these settings (`section.key=value`), of which the last counts.
    pub fn start(sets: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--set", "log.level=warn"]);
        command.arg("--data").arg(data.path());
        for set in sets {
            command.args(["--set", set]);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("the gateway did not start: {line:?}")).to_owned();
        Self { process, address, _data: data }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// Runs the load tool; returns its exit code, its report as JSON (`Null` if there is none), and all that it wrote.
pub fn bots(words: &[&str]) -> (i32, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output = Command::new(BOTS).args(words).arg("--json").arg(&json).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let report =
        std::fs::read_to_string(&json).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    let code = output.status.code().unwrap_or_else(|| panic!("npc-bots was killed: {text}"));
    (code, report, text)
}
