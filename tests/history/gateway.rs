//! A gateway as a process, and a client of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running gateway; dropped, it is killed.
pub struct Gateway {
    child: Child,
    pub address: String,
}

/// A gateway's command line, with a script in the place of the model.
pub fn scripted(data: &Path, sets: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    // Where there are no packs beside those that are built in.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--set", "engine.kind=scripted"]);
    command.arg("--data").arg(data);
    let unhurried = [
        "session.frames_per_second=0",
        "session.turns_per_minute=0",
        "session.heartbeat_ms=600000",
        // The disk may be everybody's.
        "history.write_timeout_ms=600000",
    ];
    for set in unhurried.iter().chain(sets) {
        command.args(["--set", set]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Gateway {
    pub fn start(data: &Path, sets: &[&str]) -> Self {
        Self::spawn(scripted(data, sets))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("listening on ")?.to_owned()));
        Self { child, address: address.expect("the gateway starts") }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its end.
    pub fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: the process is our child and has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        assert!(self.child.wait().unwrap().success());
    }

    /// The status and the JSON body of a GET.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path)
    }

    /// The status and the JSON body of the answer.
    pub fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}")))
    }

    /// The status of a page of an NPC's history.
    pub fn history_status(&self, npc: &str) -> u16 {
        self.get(&format!("/api/v1/npcs/{npc}/history")).0
    }

    /// Everything of an NPC's history, newest first, page by page.
    pub fn history(&self, npc: &str) -> Vec<Value> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let (status, mut page) = self.get(&format!("/api/v1/npcs/{npc}/history?limit=100{next}"));
            assert_eq!(status, 200, "{page}");
            items.append(page["items"].as_array_mut().unwrap());
            let Some(before) = page["next"].as_str() else { return items };
            next = format!("&before={before}");
        }
    }

    /// Waits until a question has this answer.
    pub fn until<T>(&self, what: impl Fn(&Self) -> Result<T, Value>) -> T {
        let start = Instant::now();
        loop {
            match what(self) {
                Ok(found) => return found,
                Err(state) => assert!(start.elapsed() < PATIENCE, "not in a minute: {state}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that must end by itself.
pub fn output(command: &mut Command) -> Output {
    command.stderr(Stdio::piped()).output().unwrap()
}

/// A client in JSON.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
}

/// The gateway is gone.
#[derive(Debug)]
pub struct Gone;

impl Client {
    /// A client with a session.
    pub async fn identified(address: &str, player: &str) -> Result<Self, Gone> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "npc.v1.json".parse().unwrap());
        let (socket, _) = connect_async(request).await.map_err(|_| Gone)?;
        let mut client = Self { socket };
        let identify = json!({"token": player, "client": {"name": "test", "version": "1"}});
        client.send("identify", identify).await?;
        client.until("ready").await?;
        Ok(client)
    }

    /// A client with a session that has joined a vampire.
    pub async fn joined(address: &str, player: &str, npc: &str) -> Result<Self, Gone> {
        let mut client = Self::identified(address, player).await?;
        client.send("npc.join", json!({"npc": npc, "archetype": "vampire"})).await?;
        client.until("npc.joined").await?;
        Ok(client)
    }

    pub async fn send(&mut self, op: &str, payload: Value) -> Result<(), Gone> {
        let frame = json!({"op": op, "d": payload}).to_string();
        self.socket.send(Message::text(frame)).await.map_err(|_| Gone)
    }

    /// The next frame: its `op` and its payload.
    pub async fn next(&mut self) -> Result<(String, Value), Gone> {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("no frame for a minute");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let mut frame: Value = serde_json::from_str(&text).unwrap();
                    return Ok((frame["op"].as_str().unwrap().to_owned(), frame["d"].take()));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
                Some(Ok(_)) => {}
            }
        }
    }

    /// The payload of the next frame of this kind.
    pub async fn until(&mut self, op: &str) -> Result<Value, Gone> {
        loop {
            let (next, payload) = self.next().await?;
            if next == op {
                return Ok(payload);
            }
            assert!(next != "error", "{payload}");
        }
    }

    /// Says a line; returns how often each kind of frame came, and the `turn.done`.
    pub async fn say(
        &mut self,
        npc: &str,
        turn: &str,
        text: &str,
    ) -> Result<(BTreeMap<String, usize>, Value), Gone> {
        self.send("say", json!({"npc": npc, "turn": turn, "text": text})).await?;
        let mut seen = BTreeMap::new();
        loop {
            let (op, payload) = self.next().await?;
            *seen.entry(op.clone()).or_default() += 1;
            if op == "turn.done" {
                return Ok((seen, payload));
            }
            assert!(op != "error" || seen.contains_key("turn.started"), "{payload}");
        }
    }
}
