//! Where the gateway is, and how sockets to it are opened.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, bail};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Sockets from one address of this machine; the kernel has about 28,000 ports for each.
const PER_ADDRESS: usize = 8000;
/// Bytes that the kernel keeps for a player that does not read, where a scenario wants little.
const SMALL_RECEIVE_BUFFER: u32 = 4096;

/// A gateway's address.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: String,
    address: SocketAddr,
}

/// How a socket is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opening {
    /// The kernel buffers little of what is not read.
    pub small_buffer: bool,
}

impl Target {
    /// Takes `ws://HOST:PORT/ws`; the scheme and the path may be left out.
    pub async fn find(url: &str) -> anyhow::Result<Self> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("ws", rest)) => rest,
            Some((scheme, _)) => bail!("--url {url}: {scheme}:// is not spoken here, only ws://"),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, "ws"));
        let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let address = lookup_host(&with_port)
            .await
            .with_context(|| format!("--url {url}: {host} has no address"))?
            .next()
            .with_context(|| format!("--url {url}: {host} has no address"))?;
        Ok(Self { url: format!("ws://{host}/{path}"), address })
    }

    /// Opens the TCP connection of the player with this number.
    pub async fn connect(&self, number: usize, opening: Opening) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if opening.small_buffer {
            socket.set_recv_buffer_size(SMALL_RECEIVE_BUFFER)?;
        }
        if let Some(source) = self.source(number) {
            socket.set_reuseaddr(true)?;
            socket.bind(source)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// On loopback there are more addresses to come from than one, and so more ports.
    fn source(&self, number: usize) -> Option<SocketAddr> {
        let SocketAddr::V4(target) = self.address else { return None };
        if !target.ip().is_loopback() {
            return None;
        }
        let host = 1 + (number / PER_ADDRESS) % 250;
        Some(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host as u8), 0).into())
    }
}

/// Drops a connection as a lost network does: without a word, and nothing more is delivered.
pub fn cut(stream: TcpStream) {
    // Where it cannot be set the connection is closed, which is a cut too.
    let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    drop(stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_taken_with_and_without_scheme_and_path() {
        for url in ["127.0.0.1:7777", "ws://127.0.0.1:7777", "ws://127.0.0.1:7777/ws"] {
            let target = Target::find(url).await.unwrap();
            assert_eq!(target.url, "ws://127.0.0.1:7777/ws", "{url}");
            assert_eq!(target.source(0).map(|a| a.to_string()).as_deref(), Some("127.0.0.1:0"));
            assert_eq!(target.source(20_000).map(|a| a.to_string()).as_deref(), Some("127.0.0.3:0"));
        }
        assert!(Target::find("wss://127.0.0.1").await.is_err());
    }
}
