//! Messages on their way to one socket.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::wire::CloseCode;

/// Encoded messages that wait for the socket's writer, bounded in bytes.
///
/// Putting a message in never waits: a turn must not stall because one of its listeners reads slowly. A
/// client that lets the queue run full loses the socket (`slow_consumer`), and the queue at once its memory. What a
/// resume replays is not counted: it has a bound of its own, and a queue that is shorter must not refuse it.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    state: Mutex<State>,
    /// Something for the writer: a message, or the end.
    work: Notify,
    /// Something for the reader: the end.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Waiting>,
    /// Counted bytes of `messages` and of the message that the writer has in hand.
    bytes: usize,
    /// Counted bytes of the message that the writer has in hand.
    in_hand: usize,
    end: Option<LastWord>,
}

#[derive(Debug)]
struct Waiting {
    message: Bytes,
    /// Whether its bytes count.
    counted: bool,
}

/// Places for messages that an empty queue keeps.
const KEPT_PLACES: usize = 16;

/// How the server's side of a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWord {
    /// With a close frame of the protocol.
    Close(CloseCode),
    /// With a close frame of RFC 6455.
    Refuse { code: u16, reason: &'static str },
    /// With nothing: the client has closed, or is gone.
    Silence,
}

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Send(Bytes),
    /// Nothing waits: hand the socket what it has buffered.
    Flush,
    End(LastWord),
}

impl Outbox {
    /// An empty queue that takes `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), work: Notify::new(), ended: Notify::new() }
    }

    /// Adds a message; after the end it is dropped.
    pub fn push(&self, message: Bytes) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        if state.bytes + message.len() > self.limit {
            state.messages = VecDeque::new();
            state.end = Some(LastWord::Close(CloseCode::SlowConsumer));
            drop(state);
            self.ended.notify_one();
        } else {
            state.bytes += message.len();
            state.messages.push_back(Waiting { message, counted: true });
            drop(state);
        }
        self.work.notify_one();
    }

    /// Adds messages that do not count; after the end they are dropped.
    pub fn replay(&self, messages: impl Iterator<Item = Bytes>) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.messages.extend(messages.map(|message| Waiting { message, counted: false }));
            drop(state);
            self.work.notify_one();
        }
    }

    /// Ends the socket after the messages that wait already; they are dropped if nobody reads them, or if another
    /// socket of the session gets them. The first end counts.
    pub fn end(&self, last: LastWord) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(last);
            if matches!(last, LastWord::Silence | LastWord::Close(CloseCode::SessionReplaced)) {
                state.messages = VecDeque::new();
            }
            drop(state);
            self.ended.notify_one();
            self.work.notify_one();
        }
    }

    /// Waits until the socket is to end. For one task.
    pub async fn ended(&self) -> LastWord {
        loop {
            if let Some(last) = self.state.lock().end {
                return last;
            }
            self.ended.notified().await;
        }
    }

    /// Waits for the writer's next step. For one task. `unflushed`: the writer has sent since it last flushed.
    pub async fn next(&self, unflushed: bool) -> Step {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(Waiting { message, counted }) = state.messages.pop_front() {
                    state.in_hand = if counted { message.len() } else { 0 };
                    return Step::Send(message);
                }
                if let Some(last) = state.end {
                    return Step::End(last);
                }
                if state.messages.capacity() > KEPT_PLACES {
                    state.messages = VecDeque::new();
                }
            }
            if unflushed {
                return Step::Flush;
            }
            self.work.notified().await;
        }
    }

    /// The writer has handed over the message that it was given last.
    pub fn sent(&self) {
        let mut state = self.state.lock();
        state.bytes -= std::mem::take(&mut state.in_hand);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    #[tokio::test]
    async fn messages_leave_in_order_and_then_the_end() {
        let outbox = Outbox::new(100);
        outbox.push(Bytes::from_static(b"a"));
        outbox.push(Bytes::from_static(b"b"));
        outbox.end(LastWord::Close(CloseCode::Draining));
        outbox.end(LastWord::Silence);
        outbox.push(Bytes::from_static(b"too late"));
        assert_eq!(outbox.next(false).await, Step::Send(Bytes::from_static(b"a")));
        assert_eq!(outbox.next(true).await, Step::Send(Bytes::from_static(b"b")));
        assert_eq!(outbox.next(true).await, Step::End(LastWord::Close(CloseCode::Draining)));
        assert_eq!(outbox.ended().await, LastWord::Close(CloseCode::Draining));
    }

    #[tokio::test]
    async fn a_full_queue_ends_the_socket_and_frees_its_memory() {
        let outbox = Outbox::new(10);
        outbox.push(message(6));
        // In the writer's hand it still counts.
        assert_eq!(outbox.next(false).await, Step::Send(message(6)));
        outbox.push(message(4));
        outbox.push(message(1));
        assert_eq!(outbox.ended().await, LastWord::Close(CloseCode::SlowConsumer));
        assert_eq!(outbox.next(false).await, Step::End(LastWord::Close(CloseCode::SlowConsumer)));
    }

    #[tokio::test]
    async fn what_was_sent_makes_room() {
        let outbox = Outbox::new(10);
        for _ in 0..100 {
            outbox.push(message(10));
            assert_eq!(outbox.next(false).await, Step::Send(message(10)));
            assert_eq!(outbox.state.lock().end, None);
            outbox.sent();
        }
        assert_eq!(outbox.next(true).await, Step::Flush);
    }

    #[tokio::test]
    async fn a_replay_may_be_larger_than_the_queue() {
        let outbox = Outbox::new(10);
        outbox.push(message(4));
        outbox.replay([8, 9].map(message).into_iter());
        outbox.push(message(6));
        for bytes in [4, 8, 9] {
            assert_eq!(outbox.next(false).await, Step::Send(message(bytes)));
            outbox.sent();
        }
        // Only what is counted makes room, and only that counts.
        outbox.push(message(4));
        assert_eq!(outbox.state.lock().end, None);
        outbox.push(message(1));
        assert_eq!(outbox.ended().await, LastWord::Close(CloseCode::SlowConsumer));
    }

    #[tokio::test]
    async fn a_socket_that_was_replaced_gets_nothing_more() {
        let outbox = Outbox::new(10);
        outbox.push(message(1));
        outbox.end(LastWord::Close(CloseCode::SessionReplaced));
        assert_eq!(outbox.next(false).await, Step::End(LastWord::Close(CloseCode::SessionReplaced)));
    }
}
