//! Postgres.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::process::{self, PATIENCE, Server};

/// Names the folder with `initdb` and `postgres`.
pub const VARIABLE: &str = "NPC_GATEWAY_TEST_POSTGRES";

const USER: &str = "npc";
const PASSWORD: &str = "silver bullet";
const ENCODED_PASSWORD: &str = "silver%20bullet";

/// A Postgres server with a superuser who has a password.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    /// Whether a commit waits for the disk.
    durable: bool,
    /// Lines of its configuration.
    settings: Vec<String>,
    server: Option<Server>,
    databases: AtomicU32,
}

impl Postgres {
    /// One that forgets when the machine dies, and is quick.
    ///
    /// # Panics
    /// If there is no Postgres, or it does not start.
    pub fn start() -> Self {
        Self::with(false, &[])
    }

    /// One whose commits wait for the disk, for measurements.
    ///
    /// # Panics
    /// If there is no Postgres, or it does not start.
    pub fn durable() -> Self {
        Self::with(true, &[])
    }

    /// One with further lines of configuration.
    ///
    /// # Panics
    /// If there is no Postgres, or it does not start.
    pub fn with(durable: bool, settings: &[&str]) -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("npc-postgres-").tempdir().expect("a temporary folder");
        let secret = folder.path().join("password");
        fs::write(&secret, PASSWORD).expect("a file in the temporary folder");
        fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("its mode");
        let mut initdb = process::command(&programs.join("initdb"), folder.path(), true);
        initdb.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        ]);
        initdb.args([&format!("--username={USER}"), "--pwfile=password", "--pgdata=data"]);
        let output = initdb.stdin(Stdio::null()).output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let settings = settings.iter().map(|&line| line.to_owned()).collect();
        let databases = AtomicU32::new(0);
        let mut postgres = Self { programs, folder, port: 0, durable, settings, server: None, databases };
        postgres.restart();
        postgres
    }

    /// Starts it again after [`Self::stop`], on the port that it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let start = Instant::now();
        loop {
            if self.port == 0 {
                self.port = process::free_port();
            }
            let mut server = self.launch();
            if process::until(|| self.is_ready(server.pid), || !process::is_alive(server.pid)) {
                self.server = Some(server);
                return;
            }
            server.stop();
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "Postgres does not start: {log}");
            // Somebody else took the port. A server that was started before keeps its own: it is waited for.
            if log.contains("could not bind") && self.databases.load(Ordering::Relaxed) == 0 {
                self.port = 0;
            }
        }
    }

    /// Whether it takes connections, by the file with which it tells.
    fn is_ready(&self, pid: i32) -> bool {
        let said = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        let mut lines = said.lines().map(str::trim);
        lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
    }

    fn launch(&self) -> Server {
        let (port, data) = (self.port.to_string(), self.folder.path().join("data"));
        let mut words: Vec<&OsStr> = vec!["-D".as_ref(), data.as_os_str(), "-p".as_ref(), port.as_ref()];
        let mut settings =
            vec!["listen_addresses=127.0.0.1", "unix_socket_directories=", "log_line_prefix=%m [%p] %a "];
        if !self.durable {
            settings.extend(["fsync=off", "full_page_writes=off"]);
        }
        settings.extend(self.settings.iter().map(String::as_str));
        for setting in &settings {
            words.extend([OsStr::new("-c"), setting.as_ref()]);
        }
        // Without waiting for clients that are still there.
        Server::start(&self.programs.join("postgres"), &words, "QUIT", self.folder.path(), true)
    }

    /// Stops it at once; its clients lose their connections.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    /// Keeps every process of it from running until [`Self::thaw`]: connections stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal_all(libc::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal_all(libc::SIGCONT);
    }

    fn signal_all(&self, signal: i32) {
        let Some(server) = &self.server else { return };
        server.signal(signal);
        let children = format!("/proc/{0}/task/{0}/children", server.pid);
        for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            if let Ok(pid) = pid.parse() {
                // SAFETY: sends a signal to a process that Postgres started.
                unsafe { libc::kill(pid, signal) };
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The folder that it writes to, and its log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a new, empty database and says its name.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let client = self.client("postgres").await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        name
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        Self::url_at(self.address(), database)
    }

    /// The URL of a database behind another address, such as a proxy's.
    pub fn url_at(address: SocketAddr, database: &str) -> String {
        format!("postgres://{USER}:{ENCODED_PASSWORD}@{address}/{database}")
    }

    /// A connection to a database.
    ///
    /// # Panics
    /// If there is none in two minutes.
    pub async fn client(&self, database: &str) -> Client {
        let start = Instant::now();
        loop {
            match tokio_postgres::connect(&self.url(database), NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                // It may be starting up.
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Before its folder goes.
        self.stop();
    }
}

/// The folder with `initdb` and `postgres`.
fn programs() -> PathBuf {
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    // The newest first.
    debian.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name).and_then(OsStr::to_str);
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let initdb = process::find("initdb", VARIABLE, debian);
    initdb.parent().expect("a program lies in a folder").to_owned()
}
