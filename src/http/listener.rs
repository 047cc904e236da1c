//! TCP: sockets that are set up for short messages and that close without losing the last one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Bytes that the kernel holds for a client that does not read. Left alone it would take megabytes before
/// `session.send_queue_bytes` noticed anything.
const KERNEL_SEND_BUFFER: u32 = 128 * 1024;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// How long nothing is accepted after that failed for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long, and for how many bytes, a closed connection is still read.
const LINGER_TIME: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER_BUFFER: usize = 8 * 1024;

/// Listens on an address.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old connections' time-wait.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(KERNEL_SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection. Errors that pass are waited out.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                return stream;
            }
            // The client's trouble, not ours.
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                // Too many open files, most likely.
                tracing::error!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A connection that goes on reading for a while after it was dropped.
///
/// A kernel that closes a connection with unread bytes resets it, and the reset destroys what the client has
/// not read yet: the close frame that says what it did wrong, such as sending a message that is too large and
/// therefore was not read.
#[derive(Debug)]
pub struct LingeringStream<S: Stream> {
    /// `None` only while it is dropped.
    stream: Option<S>,
    /// The client has sent everything: nothing can be unread.
    at_end: bool,
}

/// What a connection may be: TCP, with or without TLS on it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

impl<S: Stream> LingeringStream<S> {
    pub fn new(stream: S) -> Self {
        Self { stream: Some(stream), at_end: false }
    }

    fn stream(&mut self) -> Pin<&mut S> {
        // Only `drop` takes the stream, and nothing is called after it.
        Pin::new(self.stream.as_mut().expect("the stream is there until it is dropped"))
    }
}

impl<S: Stream> Drop for LingeringStream<S> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        // Without a runtime the process is ending.
        if let (false, Ok(runtime)) = (self.at_end, tokio::runtime::Handle::try_current()) {
            runtime.spawn(timeout(LINGER_TIME, linger(stream)));
        }
    }
}

async fn linger(mut stream: impl Stream) {
    // With TLS this also says that nothing follows. An error means that the connection is gone already.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut buffer = vec![0; LINGER_BUFFER];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => left = left.saturating_sub(bytes),
        }
    }
}

impl<S: Stream> AsyncRead for LingeringStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let result = self.stream().poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) if room && buf.filled().len() == before => self.at_end = true,
            Poll::Ready(Err(_)) => self.at_end = true,
            _ => {}
        }
        result
    }
}

impl<S: Stream> AsyncWrite for LingeringStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
