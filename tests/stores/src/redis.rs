//! Redis.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, PATIENCE, Server};

/// Names `redis-server`.
pub const VARIABLE: &str = "NPC_GATEWAY_TEST_REDIS";

/// A Redis server that writes nothing to the disk.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    /// Of TLS.
    tls_port: Option<u16>,
    /// Further words of its command line.
    settings: Vec<String>,
    server: Option<Server>,
    /// It was there already: its port stays.
    settled: bool,
}

impl Redis {
    /// # Panics
    /// If there is no Redis, or it does not start.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One with further words on its command line, such as `--maxmemory 10mb` in two.
    ///
    /// # Panics
    /// If there is no Redis, or it does not start.
    pub fn with(settings: &[&str]) -> Self {
        Self::launch(settings.iter().map(|&word| word.to_owned()).collect(), None)
    }

    /// One that speaks TLS too, with this certificate and key.
    ///
    /// # Panics
    /// If there is no Redis, or it does not start.
    pub fn with_tls(certificate: &Path, key: &Path) -> Self {
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let mut settings = vec!["--tls-cert-file".to_owned(), path(certificate)];
        settings.extend(["--tls-key-file".to_owned(), path(key)]);
        settings.extend(["--tls-auth-clients", "no"].map(str::to_owned));
        Self::launch(settings, Some(0))
    }

    fn launch(settings: Vec<String>, tls_port: Option<u16>) -> Self {
        let program = process::find("redis-server", VARIABLE, Vec::new());
        let folder = tempfile::Builder::new().prefix("npc-redis-").tempdir().expect("a temporary folder");
        let mut redis = Self { program, folder, port: 0, tls_port, settings, server: None, settled: false };
        redis.restart();
        redis
    }

    /// Starts it again after [`Self::stop`], on the port that it had, empty.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let start = Instant::now();
        loop {
            if !self.settled {
                self.port = process::free_port();
                self.tls_port = self.tls_port.map(|_| process::free_port());
            }
            let mut server = self.serve();
            if process::until(|| self.is_ready(), || !process::is_alive(server.pid)) {
                self.server = Some(server);
                self.settled = true;
                return;
            }
            server.stop();
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            // Somebody else may have taken the port.
            assert!(start.elapsed() < PATIENCE, "Redis does not start: {log}");
        }
    }

    fn serve(&self) -> Server {
        let port = self.port.to_string();
        let tls_port = self.tls_port.unwrap_or(0).to_string();
        let mut words = vec!["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        if self.tls_port.is_some() {
            words.extend(["--tls-port", &tls_port]);
        }
        words.extend(self.settings.iter().map(String::as_str));
        let words: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
        Server::start(&self.program, &words, "KILL", self.folder.path(), false)
    }

    fn is_ready(&self) -> bool {
        // Also one that wants a password answers.
        TcpStream::connect(self.address()).is_ok_and(|mut stream| {
            let mut answer = [0; 1];
            let patience = Some(Duration::from_secs(1));
            stream.set_read_timeout(patience).is_ok()
                && stream.write_all(b"PING\r\n").is_ok()
                && stream.read_exact(&mut answer).is_ok()
        })
    }

    /// Kills it; its clients lose their connections, and it forgets everything.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
    }

    /// Keeps it from running until [`Self::thaw`]: connections stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        if let Some(server) = &self.server {
            server.signal(signal);
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// Its URL with TLS.
    ///
    /// # Panics
    /// If it was not started [`Self::with_tls`].
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}/0", self.tls_port.expect("a server with TLS"))
    }

    /// Runs a command and gives the answer as Redis sent it, a bulk string without its frame.
    ///
    /// # Panics
    /// If Redis is not there.
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("Redis is there");
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.extend(["$", &word.len().to_string(), "\r\n", word, "\r\n"]);
        }
        // With it Redis closes the connection, so that the answer has an end.
        request.push_str("*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(request.as_bytes()).expect("Redis takes a command");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("Redis answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let answer = answer.strip_suffix("+OK\r\n").unwrap_or(&answer);
        let plain =
            answer.split_once("\r\n").filter(|_| answer.starts_with('$')).map_or(answer, |(_, rest)| rest);
        plain.trim_end_matches("\r\n").to_owned()
    }

    /// Keys that it has.
    ///
    /// # Panics
    /// If Redis is not there.
    pub fn keys(&self) -> usize {
        let answer = self.command(&["DBSIZE"]);
        answer.trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{answer}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Before its folder goes.
        self.stop();
    }
}
