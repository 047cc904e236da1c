//! A TCP proxy that cuts the connections through it at random bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// For one client, which has one connection at a time.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The connection is open and silent; a client on a phone would notice after a while.
    silent: Notify,
    cuts: AtomicUsize,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// In order.
    Closed,
    /// With a reset, which takes with it what was not read yet.
    Reset,
    /// Both sides stay open, and nothing comes through any more.
    Silent,
}

/// When and how a connection ends.
#[derive(Debug)]
struct Fate {
    /// Bytes from the server until then.
    down: usize,
    /// Bytes from the client until then.
    up: usize,
    cut: Cut,
}

impl Fate {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        // Some end in the handshake, most in the middle of a turn, and a few live on for a while.
        let down = match rng.random_range(0..10) {
            0 => rng.random_range(1..500),
            1..=7 => rng.random_range(500..2500),
            _ => rng.random_range(2500..10_000),
        };
        let up = if rng.random_bool(0.25) { rng.random_range(1..1500) } else { usize::MAX };
        let cut = match rng.random_range(0..4) {
            0 => Cut::Closed,
            1 => Cut::Silent,
            _ => Cut::Reset,
        };
        Self { down, up, cut }
    }
}

impl Proxy {
    /// Starts a proxy in front of `server`. The same seed cuts after the same numbers of bytes.
    pub async fn start(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let passes = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // What went silent stays open until the end.
            let mut silent = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                let fate = Fate::draw(&mut rng);
                silent.extend(pass(client, server, &fate, &passes).await);
            }
        });
        Self { address, shared }
    }

    /// Waits until the client's connection has gone silent.
    pub async fn silent(&self) {
        self.shared.silent.notified().await;
    }

    /// Connections that were cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

/// Passes bytes on until one side ends or the fate is met. Returns what stays open.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    fate: &Fate,
    shared: &Shared,
) -> Option<(TcpStream, TcpStream)> {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let cut = tokio::select! {
        cut = copy(&mut from_server, &mut to_client, fate.down) => cut,
        cut = copy(&mut from_client, &mut to_server, fate.up) => cut,
    };
    let client = from_client.reunite(to_client).unwrap();
    let server = from_server.reunite(to_server).unwrap();
    if !cut {
        return None;
    }
    shared.cuts.fetch_add(1, Ordering::Relaxed);
    match fate.cut {
        Cut::Closed => None,
        Cut::Reset => {
            for stream in [client, server] {
                stream.set_zero_linger().unwrap();
            }
            None
        }
        Cut::Silent => {
            shared.silent.notify_one();
            Some((client, server))
        }
    }
}

/// Copies so many bytes; false if one side ended before.
async fn copy(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, mut bytes: usize) -> bool {
    let mut buffer = [0; 4096];
    while bytes > 0 {
        let room = bytes.min(buffer.len());
        match from.read(&mut buffer[..room]).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => {
                bytes -= read;
                if to.write_all(&buffer[..read]).await.is_err() {
                    return false;
                }
            }
        }
    }
    true
}
