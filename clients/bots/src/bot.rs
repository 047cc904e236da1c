//! A player: a session, what it says and what it hears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::book::{Book, Ended, Entry};
use crate::fault::Fault;
use crate::link::{Door, Link, Seat};
use crate::report::Report;
use crate::wire::{Body, Frame, Generation, Join, Refusal, Say, Which};

/// Longest time that a refused player waits before it tries again.
const MAX_RETRY: Duration = Duration::from_secs(5);

/// A player with a session.
#[derive(Debug)]
pub struct Bot {
    pub link: Link,
    pub book: Book,
    pub report: Arc<Report>,
    pub name: String,
    turns: u64,
}

/// A player without a socket.
#[derive(Debug)]
pub struct Lost {
    book: Book,
    report: Arc<Report>,
    name: String,
    turns: u64,
}

impl Lost {
    /// Goes on with a new socket.
    pub fn reseated(self, link: Link) -> Bot {
        let Self { book, report, name, turns } = self;
        Bot { link, book, report, name, turns }
    }
}

/// A line to say.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    pub npc: &'a str,
    pub text: &'a str,
    pub generation: Option<Generation>,
    pub audience: &'a [String],
}

/// How a line went.
#[derive(Debug)]
pub enum Told {
    Answered(Box<Ended>),
    Refused(Refusal),
}

impl Bot {
    /// Opens a session.
    pub async fn enter(door: &Door, number: usize, token: &str, report: &Arc<Report>) -> Result<Self, Fault> {
        let start = Instant::now();
        let link = door.enter(number, token).await?;
        report.time("connect to ready", start.elapsed());
        Ok(Self::seated(link, report))
    }

    fn seated(link: Link, report: &Arc<Report>) -> Self {
        let name = link.seat.player.clone();
        Self { link, book: Book::default(), report: Arc::clone(report), name, turns: 0 }
    }

    /// Takes the network away; what is left waits for another socket.
    pub fn cut(self) -> (Lost, Seat) {
        let Self { link, book, report, name, turns } = self;
        (Lost { book, report, name, turns }, link.cut())
    }

    /// Joins an NPC.
    pub async fn join(&mut self, npc: &str, archetype: &str) -> Result<(), Fault> {
        self.ask("npc.join", &Join { npc, archetype }, "npc.joined").await
    }

    /// Walks up to an NPC.
    pub async fn focus(&mut self, npc: &str) -> Result<(), Fault> {
        self.ask("npc.focus", &Which { npc }, "npc.warm").await
    }

    /// Walks away from an NPC.
    pub async fn leave_npc(&mut self, npc: &str) -> Result<(), Fault> {
        self.ask("npc.leave", &Which { npc }, "npc.left").await
    }

    /// Sends a frame and waits for its direct reply; what else comes is taken into the book.
    async fn ask<D: serde::Serialize>(&mut self, op: &str, payload: &D, reply: &str) -> Result<(), Fault> {
        let start = Instant::now();
        let cid = self.link.send(op, payload).await?;
        loop {
            let frame = self.link.next().await?;
            if frame.cid != Some(cid) {
                self.hear(&frame)?;
                continue;
            }
            return match frame.body {
                Body::Error(refusal) => Err(Fault::Refused(refusal)),
                _ if frame.op == reply => {
                    self.report.time("answer to npc.join, focus, leave", start.elapsed());
                    Ok(())
                }
                _ => Err(Fault::Broke(format!("{op} was answered with {}", frame.op))),
            };
        }
    }

    /// The id that the next line's turn will have. No two runs have the same: a gateway remembers turns.
    pub fn next_turn(&self) -> String {
        format!("{}-{}", self.link.seat.session, self.turns)
    }

    /// Sends a line; returns the id of its turn and the `cid` of the frame.
    pub async fn begin(&mut self, words: Words<'_>) -> Result<(String, u64), Fault> {
        let turn = self.next_turn();
        self.turns += 1;
        let Words { npc, text, generation, audience } = words;
        let say = Say { npc, turn: &turn, text, generation, audience };
        let cid = self.link.send("say", &say).await?;
        self.report.count("lines said");
        Ok((turn, cid))
    }

    /// Says a line and waits for its end.
    pub async fn say(&mut self, words: Words<'_>) -> Result<Told, Fault> {
        let said = Instant::now();
        let (turn, cid) = self.begin(words).await?;
        self.listen(&turn, cid, said).await
    }

    /// Waits for the end of a turn of one's own.
    pub async fn listen(&mut self, turn: &str, cid: u64, said: Instant) -> Result<Told, Fault> {
        loop {
            let frame = self.link.next().await?;
            if let Body::Error(refusal) = &frame.body
                && frame.cid == Some(cid)
            {
                self.report.count("lines refused");
                return Ok(Told::Refused(refusal.clone()));
            }
            if let Some(ended) = self.hear(&frame)?
                && ended.turn == turn
                && ended.player == self.name
            {
                if let Some(first) = ended.first {
                    self.report.time("say to first words", first - said);
                }
                self.report.time("say to turn.done", said.elapsed());
                self.report.count("lines answered");
                if ended.fallback {
                    self.report.count("lines answered by a scripted line");
                }
                if ended.reason == "error" {
                    self.report.broke(format!("turn {turn} of {} ended with reason error", self.name));
                }
                return Ok(Told::Answered(ended));
            }
        }
    }

    /// Takes a frame into the book; returns the turn that it ended.
    pub fn hear(&mut self, frame: &Frame) -> Result<Option<Box<Ended>>, Fault> {
        match self.book.take(frame).map_err(|what| Fault::Broke(format!("{}: {what}", self.name)))? {
            Entry::Ended(ended) => {
                self.report.add("deltas", ended.deltas.into());
                Ok(Some(ended))
            }
            Entry::Grew { since } => {
                if let Some(since) = since {
                    self.report.time("between deltas", since.elapsed());
                }
                Ok(None)
            }
            Entry::Began | Entry::Other => Ok(None),
        }
    }
}

/// How long a refused player waits.
pub fn retry(refusal: &Refusal) -> Duration {
    refusal.retry_after_ms.map_or(Duration::from_millis(500), Duration::from_millis).min(MAX_RETRY)
}
