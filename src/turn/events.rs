//! The way of a turn's events to those who hear it.

use tokio::sync::mpsc;

use super::TurnEvent;
use crate::npc::Place;

/// Events of one turn that wait for its session; the turn pauses while they are not taken.
const CHANNEL: usize = 64;

/// What a turn sends.
pub(super) enum Item {
    Event(TurnEvent),
    /// Behind the last event: the NPC's next line begins when everything of this one was taken.
    End(Place),
}

/// The events of one turn, in their order. Dropped before its end, it ends the turn as cancelled.
#[derive(Debug)]
pub struct TurnEvents {
    items: mpsc::Receiver<Item>,
    /// Empty between two calls.
    taken: Vec<Item>,
    /// Came with the last events, which may not have been passed on yet.
    end: Option<Place>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::End(place) => place.fmt(f),
        }
    }
}

pub(super) fn channel() -> (mpsc::Sender<Item>, TurnEvents) {
    let (sender, items) = mpsc::channel(CHANNEL);
    (sender, TurnEvents { items, taken: Vec::new(), end: None })
}

impl TurnEvents {
    /// Adds the next events, those that are there but at most `limit`, and returns how many; 0 after the last. Asking
    /// again says that those before were passed on.
    pub async fn recv_many(&mut self, events: &mut Vec<TurnEvent>, limit: usize) -> usize {
        let before = events.len();
        loop {
            self.end = None;
            if self.items.recv_many(&mut self.taken, limit).await == 0 {
                return 0;
            }
            for item in self.taken.drain(..) {
                match item {
                    Item::Event(event) => events.push(event),
                    Item::End(place) => self.end = Some(place),
                }
            }
            if events.len() > before {
                return events.len() - before;
            }
        }
    }
}
