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
    (sender, TurnEvents { items })
}

impl TurnEvents {
    /// The next event; `None` after the last. Asking for another one says that the one before was passed on.
    pub async fn recv(&mut self) -> Option<TurnEvent> {
        loop {
            match self.items.recv().await? {
                Item::Event(event) => return Some(event),
                Item::End(place) => drop(place),
            }
        }
    }
}
