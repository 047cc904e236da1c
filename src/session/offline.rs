//! A socket's protocol without a socket, for tests and fuzzers.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::connection::Connection;
use super::gateway::Gateway;
use super::outbox::{LastWord, Outbox, Step};
use crate::wire::{CloseCode, Subprotocol};

/// What would run on a socket: messages go in, messages come out. Dropping it is what the end of a
/// connection is to a socket.
#[derive(Debug)]
pub struct Offline {
    connection: Connection,
    outbox: Arc<Outbox>,
    closed: Option<CloseCode>,
}

impl Offline {
    /// Opens it; `hello` is sent. To be called inside a tokio runtime, as all of this: turns are tasks.
    pub fn open(gateway: &Arc<Gateway>, subprotocol: Subprotocol) -> Self {
        let outbox = Arc::new(Outbox::new(gateway.config.session.send_queue_bytes));
        let connection = Connection::new(Arc::clone(gateway), subprotocol, Arc::clone(&outbox));
        connection.greet();
        Self { connection, outbox, closed: None }
    }

    /// Takes one message of the client.
    ///
    /// # Errors
    /// The code that a socket would be closed with.
    pub async fn take(&mut self, message: &[u8]) -> Result<(), CloseCode> {
        self.connection.take(message).await.map(drop)
    }

    /// The messages that were sent since the last call.
    pub fn sent(&mut self) -> Vec<Bytes> {
        let (mut sent, mut hand) = (Vec::new(), VecDeque::new());
        loop {
            match self.outbox.next(&mut hand, false).now_or_never() {
                Some(Step::Send) => {
                    self.outbox.sent();
                    sent.extend(hand.drain(..));
                }
                Some(Step::End(LastWord::Close(code))) => {
                    self.closed = Some(code);
                    return sent;
                }
                Some(Step::End(_) | Step::Flush) | None => return sent,
            }
        }
    }

    /// The code that the server ended with by itself, as far as [`Self::sent`] has come.
    pub fn closed(&self) -> Option<CloseCode> {
        self.closed
    }
}
