//! A gateway in a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::{cargo, root, step};

/// The gateway that was named, or a release build of this tree.
pub(crate) fn gateway(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(std::path::absolute(named)?);
    }
    step(cargo().args(["build", "--release", "--package", "npc-gateway"]))?;
    Ok(root().join("target/release/npc-gateway"))
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From the start of the process until `readyz` answered 200.
    pub ready_after: Duration,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it on a free port of this machine, with these words behind `serve`, and waits until it is ready.
    pub fn start(gateway: &Path, words: &[&str]) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(gateway)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(words)
            .current_dir(root().join("target"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the server")?;
        let stdout = child.stdout.take().context("the server's output")?;
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into(), ready_after: Duration::ZERO };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address =
            line.trim().strip_prefix("listening on ").with_context(|| format!("no address in {line:?}"))?;
        server.address = address.parse()?;
        while !server.is_ready()? {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.ready_after = began.elapsed();
        Ok(server)
    }

    /// Whether `readyz` says that it takes players.
    pub fn is_ready(&self) -> anyhow::Result<bool> {
        let address = self.address;
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the server has ended")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}
