//! A TCP proxy in front of a server: it can be cut, can let nothing through, can be slow, and counts.
//!
//! It runs on threads of its own, so that a test whose runtime is busy does not hold it up.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What passes through at the moment.
#[derive(Debug, Default)]
struct State {
    /// Connections are closed, and new ones too.
    cut: bool,
    /// Connections stay open, and nothing comes through.
    held: bool,
    /// Of everything that a client sends.
    delay: Duration,
    streams: Vec<TcpStream>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicU64,
    /// What clients sent, held or not.
    bytes: AtomicU64,
    /// How often clients sent something: a query is sent at once.
    sends: AtomicU64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// See the module's documentation. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy in front of `server`.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let accepts = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepts.state().ended {
                    return;
                }
                if let Ok(client) = client {
                    accepts.connections.fetch_add(1, Ordering::SeqCst);
                    join(&accepts, &client, server);
                }
            }
        });
        Self { address, shared }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.shared.change(|state| {
            state.cut = true;
            close(state);
        });
    }

    /// Closes the connections that are there; new ones are served.
    pub fn cut_once(&self) {
        self.shared.change(close);
    }

    /// Lets nothing that clients send through, and keeps it.
    pub fn hold(&self) {
        self.shared.change(|state| state.held = true);
    }

    /// Ends [`Self::cut`] and [`Self::hold`].
    pub fn restore(&self) {
        self.shared.change(|state| (state.cut, state.held) = (false, false));
    }

    /// Passes on everything that clients send only so much later.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|state| state.delay = delay);
    }

    /// Connections that clients have opened.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes that clients have sent.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// How often they have sent something.
    pub fn sends(&self) -> u64 {
        self.shared.sends.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.ended = true;
            close(state);
        });
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn close(state: &mut State) {
    for stream in state.streams.drain(..) {
        // Fails if it is closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Connects a client with the server, unless the proxy is cut.
fn join(shared: &Arc<Shared>, client: &TcpStream, server: SocketAddr) {
    if shared.state().cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server) else { return };
    let copies = [client, &server].map(|stream| {
        // A message is passed on as it comes.
        let _ = stream.set_nodelay(true);
        [stream.try_clone(), stream.try_clone(), stream.try_clone()]
    });
    let [[Ok(from_client), Ok(to_client), Ok(client)], [Ok(from_server), Ok(to_server), Ok(server)]] = copies
    else {
        return;
    };
    shared.change(|state| {
        // Those that are closed have no address any more.
        state.streams.retain(|stream| stream.peer_addr().is_ok());
        state.streams.extend([client, server]);
    });
    let up = Arc::clone(shared);
    std::thread::spawn(move || pass(from_client, to_server, |bytes| up_stream(&up, bytes)));
    std::thread::spawn(move || pass(from_server, to_client, |_| true));
}

/// Counts what a client sent and waits as long as it has to; false if the proxy is at its end.
fn up_stream(shared: &Shared, bytes: usize) -> bool {
    shared.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
    shared.sends.fetch_add(1, Ordering::SeqCst);
    let mut state = shared.state();
    while state.held && !state.cut && !state.ended {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let (delay, ended) = (state.delay, state.ended || state.cut);
    drop(state);
    std::thread::sleep(delay);
    !ended
}

/// Passes bytes on, each time after `before`, until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, before: impl Fn(usize) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !before(read) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Both, so that the other direction ends as well.
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
