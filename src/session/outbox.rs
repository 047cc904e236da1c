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
    /// Counted bytes of `messages` and of those that the writer has in hand.
    bytes: usize,
    /// Counted bytes of those that the writer has in hand.
    in_hand: usize,
    end: Option<LastWord>,
}

impl State {
    /// Adds a message, or ends the socket because it has no room; tells which.
    fn add(&mut self, message: Bytes, limit: usize) -> bool {
        let fits = self.bytes + message.len() <= limit;
        if fits {
            self.bytes += message.len();
            self.messages.push_back(Waiting { message, counted: true });
        } else {
            self.messages = VecDeque::new();
            self.end = Some(LastWord::Close(CloseCode::SlowConsumer));
        }
        fits
    }

    /// Gives the writer the next messages.
    fn give(&mut self, hand: &mut VecDeque<Bytes>) {
        let mut bytes = 0;
        while bytes < HAND
            && let Some(Waiting { message, counted }) = self.messages.pop_front()
        {
            bytes += message.len();
            self.in_hand += if counted { message.len() } else { 0 };
            hand.push_back(message);
        }
    }
}

#[derive(Debug)]
struct Waiting {
    message: Bytes,
    /// Whether its bytes count.
    counted: bool,
}

/// Places for messages that an empty queue keeps, and the writer's empty hand.
pub const KEPT_PLACES: usize = 16;
/// Bytes that the writer is given at once; the last message may go beyond.
const HAND: usize = 8192;

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
    /// Send the messages that it has in hand.
    Send,
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
        self.push_all(&[message]);
    }

    /// Adds messages as [`Self::push`] would one after another.
    pub fn push_all(&self, messages: &[Bytes]) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        let mut full = false;
        for message in messages {
            full = !state.add(message.clone(), self.limit);
            if full {
                break;
            }
        }
        drop(state);
        if full {
            self.ended.notify_one();
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

    /// Messages that wait, and the bytes that count against the limit.
    pub fn held(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.messages.len(), state.bytes)
    }

    /// Whether messages wait.
    pub fn is_waiting(&self) -> bool {
        !self.state.lock().messages.is_empty()
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

    /// Waits for the writer's next step. For one task. `hand`: the messages that the writer is given, empty before;
    /// `unflushed`: it has sent since it last flushed.
    pub async fn next(&self, hand: &mut VecDeque<Bytes>, unflushed: bool) -> Step {
        loop {
            {
                let mut state = self.state.lock();
                if !state.messages.is_empty() {
                    state.give(hand);
                    return Step::Send;
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

    /// The writer has handed over the messages that it was given last.
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

    /// What the writer does next: the messages that it is given, or the step.
    async fn next(outbox: &Outbox, unflushed: bool) -> Result<Vec<Bytes>, Step> {
        let mut hand = VecDeque::new();
        match outbox.next(&mut hand, unflushed).await {
            Step::Send => Ok(hand.into()),
            step => Err(step),
        }
    }

    #[tokio::test]
    async fn messages_leave_in_order_and_then_the_end() {
        let outbox = Outbox::new(100);
        outbox.push(Bytes::from_static(b"a"));
        outbox.push_all(&[b"b", b"c"].map(|bytes| Bytes::from_static(bytes)));
        outbox.end(LastWord::Close(CloseCode::Draining));
        outbox.end(LastWord::Silence);
        outbox.push(Bytes::from_static(b"too late"));
        assert_eq!(next(&outbox, false).await.unwrap(), ["a", "b", "c"]);
        assert_eq!(next(&outbox, true).await, Err(Step::End(LastWord::Close(CloseCode::Draining))));
        assert_eq!(outbox.ended().await, LastWord::Close(CloseCode::Draining));
    }

    #[tokio::test]
    async fn the_writer_is_given_a_bounded_handful() {
        let outbox = Outbox::new(10 * HAND);
        outbox.push_all(&[HAND - 1, 2, 3, HAND, 1].map(message));
        for expected in [vec![HAND - 1, 2], vec![3, HAND], vec![1]] {
            let lengths: Vec<_> = next(&outbox, true).await.unwrap().iter().map(Bytes::len).collect();
            assert_eq!(lengths, expected);
            outbox.sent();
        }
        assert_eq!(next(&outbox, true).await, Err(Step::Flush));
    }

    #[tokio::test]
    async fn a_full_queue_ends_the_socket_and_frees_its_memory() {
        let outbox = Outbox::new(10);
        outbox.push(message(6));
        // In the writer's hand it still counts.
        assert_eq!(next(&outbox, false).await.unwrap(), [message(6)]);
        outbox.push_all(&[message(4), message(1)]);
        assert_eq!(outbox.ended().await, LastWord::Close(CloseCode::SlowConsumer));
        assert_eq!(next(&outbox, false).await, Err(Step::End(LastWord::Close(CloseCode::SlowConsumer))));
    }

    #[tokio::test]
    async fn what_was_sent_makes_room() {
        let outbox = Outbox::new(10);
        for _ in 0..100 {
            outbox.push_all(&[message(7), message(3)]);
            assert_eq!(next(&outbox, false).await.unwrap(), [message(7), message(3)]);
            assert_eq!(outbox.state.lock().end, None);
            outbox.sent();
        }
        assert_eq!(next(&outbox, true).await, Err(Step::Flush));
    }

    #[tokio::test]
    async fn a_replay_may_be_larger_than_the_queue() {
        let outbox = Outbox::new(10);
        outbox.push(message(4));
        outbox.replay([8, 9].map(message).into_iter());
        outbox.push(message(6));
        assert_eq!(next(&outbox, false).await.unwrap(), [4, 8, 9, 6].map(message));
        outbox.sent();
        // Only what is counted makes room, and only that counts.
        outbox.push(message(10));
        assert_eq!(outbox.state.lock().end, None);
        outbox.push(message(1));
        assert_eq!(outbox.ended().await, LastWord::Close(CloseCode::SlowConsumer));
    }

    #[tokio::test]
    async fn a_socket_that_was_replaced_gets_nothing_more() {
        let outbox = Outbox::new(10);
        outbox.push(message(1));
        outbox.end(LastWord::Close(CloseCode::SessionReplaced));
        assert_eq!(next(&outbox, false).await, Err(Step::End(LastWord::Close(CloseCode::SessionReplaced))));
    }
}
