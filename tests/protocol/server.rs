//! Real servers, started by the tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use npc_gateway::chain::{Chains, Setup};
use npc_gateway::config::Config;
use npc_gateway::engine::{Backend, Engine, EngineStats, Script};
use npc_gateway::history::{History, HotLimits};
use npc_gateway::http::{self, Door, Readiness, Tls};
use npc_gateway::npc::Npcs;
use npc_gateway::session::{Authenticator, Gateway};
use npc_gateway::turn::Turns;
use npc_gateway::wire::EngineKind;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Encoding};

/// A busy machine may take longer for a line than a client may be silent, and these clients are, unless a test
/// says otherwise.
fn patient(mut sets: Vec<String>) -> Vec<String> {
    sets.insert(0, "session.heartbeat_ms=600000".into());
    sets
}

fn path(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable);
    value.unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`")).into()
}

/// One engine for all servers of this binary: a model in memory is enough.
static ENGINE: OnceLock<Engine> = OnceLock::new();

fn engine(config: &Config) -> Engine {
    ENGINE.get_or_init(|| own_engine(config)).clone()
}

fn own_engine(config: &Config) -> Engine {
    let (model, library) = (path("NPC_GATEWAY_TEST_MODEL"), path("ORT_DYLIB_PATH"));
    Engine::start(&model, &library, &config.engine).expect("the engine starts")
}

/// What the engine of all servers is doing.
pub fn engine_stats() -> EngineStats {
    ENGINE.get().map(Engine::stats).unwrap_or_default()
}

/// A server with its own sessions, NPCs and turns.
pub struct TestServer {
    pub address: SocketAddr,
    pub chains: Arc<Chains>,
    pub gateway: Arc<Gateway>,
    _data: TempDir,
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    /// Starts a server with the default settings and these (`section.key=value`) over them. `engine.…` has no
    /// effect: the engine is shared.
    pub async fn start(sets: &[&str]) -> Self {
        Self::start_with(sets, |config| engine(config).into()).await
    }

    /// The same with an engine that no other server has; `engine.…` has its effect.
    pub async fn with_own_engine(sets: &[&str]) -> Self {
        Self::start_with(sets, |config| own_engine(config).into()).await
    }

    /// The same with the script in the place of a model.
    pub async fn scripted(sets: &[&str]) -> Self {
        Self::start_with(sets, |config| Script::start(&config.engine).expect("the script starts").into())
            .await
    }

    async fn start_with(sets: &[&str], engine: fn(&Config) -> Backend) -> Self {
        let defaults = [
            "engine.rows=16",
            "engine.context=512",
            "turn.max_tokens=24",
            // The tests' clients send none, and sixteen answers at once take a while.
            "session.heartbeat_ms=600000",
            // They are quicker than people.
            "session.frames_per_second=0",
            "session.turns_per_minute=0",
            // What turns tell besides their lines is looked at in `tracks.rs`.
            "turn.tracks=[]",
            "turn.queue_timeout_ms=600000",
            "engine.overload_wait_ms=600000",
        ]
        .map(str::to_owned);
        let sets: Vec<_> = defaults.into_iter().chain(sets.iter().map(|&set| set.to_owned())).collect();
        let config = Arc::new(Config::load(None, std::iter::empty(), &patient(sets)).unwrap());
        let shared = Arc::clone(&config);
        let engine = tokio::task::spawn_blocking(move || engine(&shared)).await.unwrap();
        let kind = match engine {
            Backend::Model(_) => EngineKind::Model,
            Backend::Scripted(_) => EngineKind::Scripted,
        };
        let data = tempfile::tempdir().unwrap();
        let limits = HotLimits {
            conversations: 1000,
            window_min: config.turn.window_min,
            window_max: config.turn.window_max,
        };
        let history = History::open(data.path(), &config.history, limits).unwrap();
        let folder = &config.packs.path;
        let setup = Setup {
            folder: Some(folder.clone()).filter(|folder| !folder.as_os_str().is_empty()),
            engine: if let Backend::Model(engine) = &engine { Some(engine.clone()) } else { None },
            memory: config.engine.adapter_memory_mb << 20,
            data: Some(data.path().to_owned()),
            server: "test".into(),
        };
        let chains = Chains::open(setup).await.unwrap();
        let npcs = Arc::new(Npcs::new(Arc::clone(&chains), config.npc.clone(), Arc::clone(&history)));
        let turns = Turns::new(engine, Arc::clone(&npcs), history, &config).unwrap();
        let auth = Arc::new(Authenticator::new(&config.auth).unwrap());
        let tls = Tls::load(&config.server).unwrap();
        let gateway = Gateway::new(config, auth, turns, npcs, kind);

        let listener = http::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let door = Door::new(listener, tls);
        let serving = Arc::clone(&gateway);
        let task = tokio::spawn(http::serve(door, serving, Readiness::new(|| true), shutdown.clone()));
        Self { address, chains, gateway, _data: data, shutdown, task }
    }

    /// Begins the shutdown.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Waits until the server has ended.
    pub async fn ended(self) {
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap().unwrap();
    }

    /// A client that has read `hello`.
    pub async fn connect(&self, encoding: Encoding) -> Client {
        let (mut client, hello) = Client::connect(self.address, encoding).await;
        assert_eq!(hello["op"], "hello");
        client.hello = hello;
        client
    }

    /// A client with a session.
    pub async fn identified(&self, encoding: Encoding, player: &str) -> Client {
        let mut client = self.connect(encoding).await;
        let ready = client.identify(player).await;
        assert_eq!((&ready["op"], &ready["s"]), (&"ready".into(), &1.into()), "{ready}");
        client.ready = ready;
        client
    }

    /// A client that has joined a vampire.
    pub async fn joined(&self, encoding: Encoding, player: &str, npc: &str) -> Client {
        let mut client = self.identified(encoding, player).await;
        let joined = client.ask("npc.join", serde_json::json!({"npc": npc, "archetype": "vampire"})).await;
        assert_eq!(joined["op"], "npc.joined", "{joined}");
        client
    }

    /// An HTTP answer: its status and its text, head and body.
    pub async fn http(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        self.request("GET", path, headers, "").await
    }

    /// What the API answers: its status and its JSON. With a body it is a `POST`.
    pub async fn api(&self, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method = if body.is_some() { "POST" } else { "GET" };
        let body = body.map(Value::to_string).unwrap_or_default();
        let (status, answer) = self.request(method, &format!("/api/v1/{path}"), &[], &body).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
    }

    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        if !body.is_empty() {
            request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        let host = self.address.to_string();
        for (name, value) in [("Host", host.as_str()), ("Connection", "close")] {
            if !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
                request.extend([name, ": ", value, "\r\n"]);
            }
        }
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request += "\r\n";
        request += body;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An upgrade that worked keeps the connection open; its head is all that is wanted.
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") || !answer.starts_with(b"HTTP/1.1 101") {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await.unwrap() {
                0 => break,
                bytes => answer.extend(&chunk[..bytes]),
            }
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {answer:?}")), answer)
    }

    /// `readyz`: its status and its body.
    pub async fn readyz(&self) -> (u16, Value) {
        let (status, answer) = self.http("/readyz", &[]).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Waits until `readyz` says this.
    pub async fn until(&self, what: &str, value: impl Into<Value>) {
        let value = value.into();
        let start = Instant::now();
        loop {
            let (_, state) = self.readyz().await;
            if state[what] == value {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{what} is not {value}: {state}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
