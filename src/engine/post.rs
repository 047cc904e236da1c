//! How events leave the engine's thread.
//!
//! Whoever gets one must be woken, and from a thread that is none of the runtime's that is mostly a call into the system:
//! with 32 rows it took 3 % of a step. So what a step has to say is collected, and one task of the runtime, woken once, says
//! it all.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Event;

/// An event and where it goes.
type Letter = (mpsc::Sender<Event>, Event);

/// What is collected, and the task that delivers it.
#[derive(Clone)]
pub struct Post(Arc<Inner>);

struct Inner {
    /// Since the last [`Post::flush`]. Not more than the requests' own channels have room for.
    collected: Mutex<Vec<Letter>>,
    /// Without a bound of its own, so that the engine never waits for the runtime: what may be in it at most is what the
    /// requests' channels have room for. `None`: there is no runtime.
    office: Option<mpsc::UnboundedSender<Vec<Letter>>>,
    /// Held while something is sent, and by the task while it ends: what is sent is either delivered by the task or refused,
    /// and nothing overtakes what the task delivers last.
    closing: Arc<Mutex<()>>,
}

impl fmt::Debug for Post {
    /// Without what it holds, which is what players are told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl Post {
    /// Starts the task in the runtime that this is called in, which must be one that goes on polling for as long as it lives:
    /// nothing is heard meanwhile. Without a runtime, or when it has ended, everything is delivered by [`Self::flush`].
    pub fn start() -> Self {
        let closing = Arc::new(Mutex::new(()));
        let office = Handle::try_current().ok().map(|runtime| {
            let (sender, letters) = mpsc::unbounded_channel();
            runtime.spawn(Office { letters, closing: Arc::clone(&closing) }.run());
            sender
        });
        Self(Arc::new(Inner { collected: Mutex::default(), office, closing }))
    }

    /// Events that go this way.
    pub fn events(&self, to: mpsc::Sender<Event>) -> Events {
        Events { to, post: Some(self.clone()) }
    }

    /// Sends what was collected on its way.
    pub fn flush(&self) {
        let _closing = lock(&self.0.closing);
        let letters = std::mem::take(&mut *lock(&self.0.collected));
        if letters.is_empty() {
            return;
        }
        let left = match &self.0.office {
            Some(office) => office.send(letters).err().map(|refused| refused.0),
            None => Some(letters),
        };
        if let Some(letters) = left {
            deliver(letters);
        }
    }
}

/// Where the events of a request go.
#[derive(Debug)]
pub struct Events {
    /// Has room for every event of the request: sending never waits.
    to: mpsc::Sender<Event>,
    post: Option<Post>,
}

impl Events {
    /// Events that are there at once.
    pub fn direct(to: mpsc::Sender<Event>) -> Self {
        Self { to, post: None }
    }

    /// Nobody waits for them any more.
    pub fn is_closed(&self) -> bool {
        self.to.is_closed()
    }

    pub fn send(&self, event: Event) {
        match &self.post {
            Some(post) => lock(&post.0.collected).push((self.to.clone(), event)),
            None => deliver([(self.to.clone(), event)]),
        }
    }
}

/// The task.
struct Office {
    letters: mpsc::UnboundedReceiver<Vec<Letter>>,
    closing: Arc<Mutex<()>>,
}

impl Office {
    async fn run(mut self) {
        while let Some(letters) = self.letters.recv().await {
            deliver(letters);
        }
    }
}

impl Drop for Office {
    /// The runtime may end before the engine, and another one have requests in it.
    fn drop(&mut self) {
        let _closing = lock(&self.closing);
        self.letters.close();
        while let Ok(letters) = self.letters.try_recv() {
            deliver(letters);
        }
    }
}

fn deliver(letters: impl IntoIterator<Item = Letter>) {
    for (to, event) in letters {
        // Fails only if the caller is gone; the next step notices.
        drop(to.try_send(event));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u32) -> Event {
        Event::Text { text: number.to_string(), tokens: number }
    }

    #[tokio::test]
    async fn events_come_in_their_order_when_they_are_flushed() {
        let post = Post::start();
        let (to, mut first) = mpsc::channel(4);
        let (other, mut second) = mpsc::channel(4);
        let (to, other) = (post.events(to), post.events(other));
        to.send(text(1));
        other.send(text(2));
        to.send(text(3));
        tokio::task::yield_now().await;
        assert!(first.try_recv().is_err(), "nothing was flushed");
        post.flush();
        assert_eq!((first.recv().await, first.recv().await), (Some(text(1)), Some(text(3))));
        assert_eq!(second.recv().await, Some(text(2)));
        to.send(text(4));
        drop((to, second));
        other.send(text(5));
        post.flush();
        assert_eq!((first.recv().await, first.recv().await), (Some(text(4)), None));
        assert!(other.is_closed());
    }

    #[test]
    fn a_runtime_that_ends_takes_nothing_with_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let post = runtime.block_on(async { Post::start() });
        let (to, mut events) = mpsc::channel(100);
        let to = post.events(to);
        let mut next = 0..100;
        let mut say = |count| {
            next.by_ref().take(count).for_each(|number| to.send(text(number)));
            post.flush();
        };
        // On its way, since nobody runs the task; then beside the runtime's end; then without one.
        (0..3).for_each(|_| say(10));
        std::thread::scope(|scope| {
            scope.spawn(|| drop(runtime));
            (0..6).for_each(|_| say(10));
        });
        say(10);
        drop(to);
        let all: Vec<Event> = std::iter::from_fn(|| events.blocking_recv()).collect();
        assert_eq!(all, (0..100).map(text).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_runtime_they_are_there_when_they_are_flushed() {
        let post = Post::start();
        let (to, mut events) = mpsc::channel(1);
        post.events(to).send(text(1));
        assert!(events.try_recv().is_err());
        post.flush();
        assert_eq!(events.try_recv(), Ok(text(1)));
    }
}
