//! The least that a WebSocket server can do: it answers every message with the same frames, encoded long ago.
//!
//! What a gateway costs is measured against it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes that the kernel holds for a client: as much as the gateway lets it.
const KERNEL_SEND_BUFFER: u32 = 128 * 1024;
const BACKLOG: u32 = 4096;
/// The gateway's buffers.
const READ_BUFFER: usize = 4096;

#[derive(Debug, Args)]
pub struct BareArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The frames: for each its length as four bytes, little-endian, then its bytes.
    #[arg(long)]
    pub frames: PathBuf,
    /// Frames a second; 0: as fast as it can.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// When frames are handed to the kernel.
    #[arg(long, value_enum, default_value = "end")]
    pub flush: Flush,
    /// Bytes that are gathered before they are handed over all the same.
    #[arg(long, default_value_t = 128 * 1024)]
    pub write_buffer: usize,
}

/// When frames are handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flush {
    /// Each by itself.
    Each,
    /// When all have been written, and whenever the buffer is full.
    End,
}

/// Writes frames as [`BareArgs::frames`] wants them.
pub fn save(file: &Path, frames: &[Bytes]) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend(u32::try_from(frame.len())?.to_le_bytes());
        bytes.extend(frame);
    }
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

fn load(file: &Path) -> anyhow::Result<Vec<Bytes>> {
    let mut rest =
        Bytes::from(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        ensure!(rest.len() >= 4, "{} ends in the middle of a length", file.display());
        let head = rest.split_to(4);
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        ensure!(rest.len() >= length, "{} ends in the middle of a frame", file.display());
        frames.push(rest.split_to(length));
    }
    ensure!(!frames.is_empty(), "{} has no frame", file.display());
    Ok(frames)
}

/// Serves until the process is killed.
pub async fn run(args: BareArgs) -> anyhow::Result<()> {
    let frames: Arc<[Bytes]> = load(&args.frames)?.into();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(KERNEL_SEND_BUFFER)?;
    socket.bind(args.listen)?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    let args = Arc::new(args);
    loop {
        let (stream, _) = listener.accept().await?;
        let (frames, args) = (Arc::clone(&frames), Arc::clone(&args));
        tokio::spawn(async move {
            // A client that is gone is the end of its socket and no more.
            let _ = serve(stream, &frames, &args).await;
        });
    }
}

async fn serve(stream: TcpStream, frames: &[Bytes], args: &BareArgs) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let config =
        WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(args.write_buffer);
    #[allow(clippy::result_large_err)] // The type of the callback is the library's.
    let echo = |request: &Request, mut response: Response| {
        if let Some(protocol) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async_with_config(stream, echo, Some(config)).await?;
    while let Some(message) = socket.next().await {
        if !message?.is_binary() {
            continue;
        }
        let start = Instant::now();
        for (nth, frame) in frames.iter().enumerate() {
            if args.rate > 0.0 {
                // The first frame of a turn tells that it begins, and the last that it has ended.
                let tokens = nth.min(frames.len().saturating_sub(2));
                sleep_until(start + Duration::from_secs_f64(tokens as f64 / args.rate)).await;
            }
            let message = Message::Binary(frame.clone());
            if args.flush == Flush::Each || args.rate > 0.0 {
                socket.send(message).await?;
            } else {
                socket.feed(message).await?;
            }
        }
        socket.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_from_a_file_and_a_broken_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let frames = [Bytes::from_static(b"one"), Bytes::from_static(b""), Bytes::from_static(b"three")];
        save(file.path(), &frames).unwrap();
        assert_eq!(load(file.path()).unwrap(), frames);
        for broken in [&b"\x02\0\0\0a"[..], b"\x02\0", b""] {
            std::fs::write(file.path(), broken).unwrap();
            assert!(load(file.path()).is_err(), "{broken:?}");
        }
    }
}
