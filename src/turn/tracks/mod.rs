//! What a turn does besides speaking, on the line's own clock: the questions go to the engine with the line, and their
//! answers become events as they come.
//!
//! Where an event stands in the text depends on the text alone, not on when its answer came: the first feeling at the
//! beginning, the feeling about a sentence behind it, the action behind the first sentence, so that it can be taken back
//! with what was not heard. The text waits for nothing.

mod ask;
mod sentences;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

pub(super) use self::ask::{Question, names};
pub(super) use self::sentences::Sentences;
use super::run::Runner;
use super::{Say, TurnEvent, prompt};
use crate::archetype::Task;
use crate::config::Track;
use crate::engine::{Choice, EngineError};
use crate::npc::{Feeling, Probs};
use crate::wire::{ActionProposed, Emotion};

/// Sentences of a line after which it is asked what the NPC feels.
const MAX_SENTENCES: usize = 8;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// With its number among the feelings of the line.
    Emotion(usize),
    Action,
}

impl Asked {
    fn task(self) -> Task {
        match self {
            Self::Emotion(_) => Task::EmotionalResponse,
            Self::Action => Task::ActionPolicy,
        }
    }
}

/// The tasks that a line asks besides speaking.
pub(super) fn tasks<'a>(tracks: &'a [Track], say: &'a Say) -> impl Iterator<Item = Task> + 'a {
    tracks.iter().filter_map(|track| match track {
        Track::Emotion => Some(Task::EmotionalResponse),
        Track::Action => (!say.actions.is_empty()).then_some(Task::ActionPolicy),
        Track::Face | Track::Social | Track::Goal => None,
    })
}

/// How many answers of each task turns went on without, since the start.
#[derive(Debug, Default)]
pub struct Missed([AtomicU64; Task::ALL.len()]);

impl Missed {
    pub fn of(&self, task: Task) -> u64 {
        self.0[task as usize].load(Ordering::Relaxed)
    }

    fn add(&self, task: Task) {
        self.0[task as usize].fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) type Answer = (Asked, Result<Choice, EngineError>);

/// A part of the line, in its order, that waits for what comes before it.
#[derive(Debug)]
enum Held {
    Feeling {
        /// From here on.
        offset: u64,
        felt: Felt,
    },
}

/// An answer to what the NPC feels.
#[derive(Debug, Clone, Copy)]
enum Felt {
    Asked(usize),
    Answered(Probs),
}

/// See the module's documentation.
pub(super) struct Tracks<'a> {
    runner: &'a Runner,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// What is not answered yet.
    asked: Vec<Asked>,
    /// Questions about feelings so far.
    feelings: usize,
    sentences: Sentences,
    /// Where the first sentence ends.
    first_end: Option<u64>,
    held: VecDeque<Held>,
    /// The last feeling that was told.
    told: Option<Feeling>,
    /// What the NPC will do, and how likely that is.
    action: Option<(String, f32)>,
    /// Characters of the line so far.
    chars: u64,
    events: Vec<TurnEvent>,
}

impl<'a> Tracks<'a> {
    pub fn new(runner: &'a Runner) -> Self {
        Self {
            runner,
            answers: FuturesUnordered::new(),
            asked: Vec::new(),
            feelings: 0,
            sentences: Sentences::default(),
            first_end: None,
            held: VecDeque::new(),
            told: None,
            action: None,
            chars: 0,
            events: Vec::new(),
        }
    }

    fn wants(&self, track: Track) -> bool {
        self.runner.turns.turn.tracks.contains(&track)
    }

    /// Asks everything that is asked about what was said. The questions are with the engine when this returns.
    pub fn ask(&mut self) {
        if self.wants(Track::Emotion) {
            self.ask_feeling(0, None);
        }
        let (npc, say) = (&self.runner.npc, &self.runner.say);
        if self.wants(Track::Action) && !say.actions.is_empty() {
            let question = Question::action(&npc.pack, &npc.info.name, &self.said(), &say.actions);
            self.put(Asked::Action, &question);
        }
    }

    fn said(&self) -> String {
        prompt::player_message(self.runner.say.context.as_deref(), &self.runner.say.text)
    }

    /// Asks what the NPC feels from `offset` on.
    fn ask_feeling(&mut self, offset: u64, sentence: Option<&str>) {
        let npc = &self.runner.npc;
        let question = Question::emotion(&npc.pack, &npc.info.name, &self.said(), sentence);
        let number = self.feelings;
        self.feelings += 1;
        self.held.push_back(Held::Feeling { offset, felt: Felt::Asked(number) });
        self.put(Asked::Emotion(number), &question);
    }

    fn put(&mut self, asked: Asked, question: &Question) {
        let choice = self.runner.choose(asked.task(), question);
        let mut answer = choice.map(move |answer| (asked, answer)).boxed();
        self.asked.push(asked);
        // Polled at once, so that it is with the engine before anything else is done.
        match (&mut answer).now_or_never() {
            Some(answer) => self.answered(answer),
            None => self.answers.push(answer),
        }
    }

    /// The next answer; `None`: nothing is asked any more.
    pub async fn next(&mut self) -> Option<Answer> {
        self.answers.next().await
    }

    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// An answer has come.
    pub fn answered(&mut self, (asked, answer): Answer) {
        self.asked.retain(|other| *other != asked);
        let probs = match answer {
            Ok(choice) => Some(choice.probs),
            Err(error) => {
                self.runner.turns.missed.add(asked.task());
                let (npc, task) = (&self.runner.say.npc, asked.task());
                tracing::warn!(npc, %task, %error, "a turn goes on without an answer");
                None
            }
        };
        match asked {
            Asked::Emotion(number) => self.felt(number, probs.and_then(|probs| Probs::try_from(probs).ok())),
            Asked::Action => self.action = probs.and_then(|probs| self.chosen(&probs)),
        }
        self.advance();
    }

    /// The feeling of this number is known, or left out.
    fn felt(&mut self, number: usize, probs: Option<Probs>) {
        let is_it =
            |held: &Held| matches!(held, Held::Feeling { felt: Felt::Asked(asked), .. } if *asked == number);
        let Some(at) = self.held.iter().position(is_it) else { return };
        match (&mut self.held[at], probs) {
            (Held::Feeling { felt, .. }, Some(probs)) => *felt = Felt::Answered(probs),
            (_, None) => drop(self.held.remove(at)),
        }
    }

    /// The likeliest action, if it is one and likely enough.
    fn chosen(&self, probs: &[f32]) -> Option<(String, f32)> {
        // The first of those that are as likely.
        let likelier = |best: (usize, f32), (at, p): (usize, &f32)| if *p > best.1 { (at, *p) } else { best };
        let (at, p) = probs.iter().enumerate().fold((0, 0.0), likelier);
        let names = names(&self.runner.say.actions);
        let name = names.get(at).filter(|_| p >= self.runner.turns.turn.action_floor)?;
        Some(((*name).to_owned(), p))
    }

    /// More of the line was sent.
    pub fn spoken(&mut self, text: &str) {
        self.chars += text.chars().count() as u64;
        for sentence in self.sentences.push(text) {
            self.first_end.get_or_insert(sentence.end);
            if self.wants(Track::Emotion) && self.feelings <= MAX_SENTENCES {
                self.ask_feeling(sentence.end, Some(&sentence.text));
            }
        }
        self.advance();
    }

    /// The line is over: what has not been answered by now is left out.
    pub fn finish(&mut self) {
        self.answers = FuturesUnordered::new();
        for asked in std::mem::take(&mut self.asked) {
            self.runner.turns.missed.add(asked.task());
            if let Asked::Emotion(number) = asked {
                self.felt(number, None);
            }
        }
        self.first_end.get_or_insert(self.chars);
        self.advance();
    }

    /// What is to be sent.
    pub fn take_events(&mut self) -> Vec<TurnEvent> {
        std::mem::take(&mut self.events)
    }

    /// The last feeling that was told.
    pub fn feeling(&self) -> Option<&Feeling> {
        self.told.as_ref()
    }

    /// Makes events of everything that is settled.
    fn advance(&mut self) {
        while let Some(Held::Feeling { offset, felt: Felt::Answered(probs) }) = self.held.front() {
            let (offset, probs) = (*offset, *probs);
            self.held.pop_front();
            self.feel(probs, offset);
        }
        if let Some(end) = self.first_end
            && let Some((name, p)) = self.action.take()
        {
            self.act(name, p, end);
        }
    }

    fn feel(&mut self, probs: Probs, offset: u64) {
        let say = &self.runner.say;
        let feeling = self.runner.npc.feel(probs, say.at_ms);
        if self.told.as_ref().is_some_and(|before| !feeling.is_shift_from(before)) {
            return;
        }
        let Some(t_ms) = self.runner.state.time_of(offset) else { return };
        self.events.push(TurnEvent::Emotion(Box::new(Emotion {
            turn: say.turn.clone(),
            player: say.player.clone(),
            label: feeling.label,
            intensity: feeling.intensity,
            probs: feeling.by_label(),
            text_offset: offset,
            t_ms,
        })));
        self.told = Some(feeling);
    }

    fn act(&mut self, name: String, p: f32, offset: u64) {
        let say = &self.runner.say;
        let Some((action, t_ms)) = self.runner.state.propose(offset) else { return };
        self.events.push(TurnEvent::Action(Box::new(ActionProposed {
            turn: say.turn.clone(),
            player: say.player.clone(),
            action,
            name,
            p,
            text_offset: offset,
            t_ms,
        })));
    }
}
