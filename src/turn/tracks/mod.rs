//! What a turn does besides speaking, on the line's own clock: the questions go to the engine with the line, and their
//! answers become events as they come.
//!
//! Where an event stands in the text depends on the text alone, not on when its answer came: what is felt, thought and
//! wanted about what was said at the beginning, the feeling about a sentence behind it, the action behind the first
//! sentence, so that it can be taken back with what was not heard. The face waits for a feeling that is asked for; the text
//! waits for nothing.

mod ask;
mod face;
mod missed;
mod prior;
mod sentences;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tracing::{Instrument, debug_span};

pub(crate) use self::ask::{Question, shifts};
pub(super) use self::ask::{names, shift};
use self::face::Face;
pub use self::missed::Missed;
use self::missed::missing;
pub(super) use self::prior::Priors;
pub(crate) use self::prior::calibrated;
pub(super) use self::sentences::Sentences;
use super::run::Runner;
use super::{Say, TurnEvent, prompt};
use crate::archetype::Task;
use crate::config::Track;
use crate::engine::{Choice, EngineError};
use crate::metrics::Missing;
use crate::npc::{Feeling, Npc, Probs};
use crate::wire::{ActionProposed, Emotion, Goal, GoalInfo, RankedGoal, Relationship, Social};

/// Sentences of a line after which it is asked what the NPC feels.
const MAX_SENTENCES: usize = 8;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// With its number among the feelings of the line.
    Emotion(usize),
    Action,
    Social,
    Goal,
}

impl Asked {
    fn task(self) -> Task {
        match self {
            Self::Emotion(_) => Task::EmotionalResponse,
            Self::Action => Task::ActionPolicy,
            Self::Social => Task::SocialDynamics,
            Self::Goal => Task::GoalPrioritization,
        }
    }
}

/// The tasks that a line asks besides speaking.
pub(super) fn tasks<'a>(tracks: &'a [Track], npc: &'a Npc, say: &'a Say) -> impl Iterator<Item = Task> + 'a {
    tracks.iter().filter_map(|track| match track {
        Track::Emotion => Some(Task::EmotionalResponse),
        Track::Action => (!say.actions.is_empty()).then_some(Task::ActionPolicy),
        Track::Social => Some(Task::SocialDynamics),
        Track::Goal => (!goals(npc, say.at_ms).is_empty()).then_some(Task::GoalPrioritization),
        Track::Face => None,
    })
}

/// What an NPC wants, each text once.
pub(super) fn goals(npc: &Npc, at_ms: u64) -> Vec<GoalInfo> {
    let mut goals: Vec<GoalInfo> = Vec::new();
    for goal in npc.read(|mind| mind.goals(at_ms)) {
        if !goals.iter().any(|known| known.text == goal.text) {
            goals.push(goal);
        }
    }
    goals
}

pub(super) type Answer = (Asked, Result<Choice, EngineError>);

/// A part of the line, in its order, that waits for what comes before it.
#[derive(Debug)]
enum Held {
    /// From this character on.
    Feeling { offset: u64, felt: Felt },
    /// For the face.
    Text { text: String, offset: u64 },
}

/// An answer to what the NPC feels.
#[derive(Debug, Clone, Copy)]
enum Felt {
    Asked(usize),
    Answered(Probs),
}

/// What became of an NPC in a line, for the record.
#[derive(Debug, Clone, Default)]
pub(super) struct Became {
    /// What it felt at the end.
    pub feeling: Option<Feeling>,
    /// What it thought of the player before, and thinks now.
    pub relationship: Option<(Relationship, Relationship)>,
    pub goals: Vec<RankedGoal>,
}

/// See the module's documentation.
pub(super) struct Tracks<'a> {
    runner: &'a Runner,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// What is not answered yet.
    asked: Vec<Asked>,
    /// Questions about feelings so far.
    feelings: usize,
    goals: Vec<GoalInfo>,
    sentences: Sentences,
    /// Where the first sentence ends.
    first_end: Option<u64>,
    held: VecDeque<Held>,
    face: Option<Face>,
    /// What the NPC will do, and how likely that is.
    action: Option<(String, f32)>,
    became: Became,
    /// Characters of the line so far.
    chars: u64,
    events: Vec<TurnEvent>,
}

impl<'a> Tracks<'a> {
    pub fn new(runner: &'a Runner) -> Self {
        let wants_face = runner.turns.turn.tracks.contains(&Track::Face);
        let performance =
            wants_face.then(|| runner.turns.faces.perform(&runner.npc, &runner.say.turn)).flatten();
        Self {
            runner,
            answers: FuturesUnordered::new(),
            asked: Vec::new(),
            feelings: 0,
            goals: Vec::new(),
            sentences: Sentences::default(),
            first_end: None,
            held: VecDeque::new(),
            face: performance.map(Face::new),
            action: None,
            became: Became::default(),
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
        let (npc, say, said) = (&self.runner.npc, &self.runner.say, self.said());
        let (pack, name) = (&npc.pack, npc.info.name.as_str());
        if self.wants(Track::Action) && !say.actions.is_empty() {
            self.put(Asked::Action, &Question::action(pack, name, &said, &say.actions));
        }
        if self.wants(Track::Social) {
            self.put(Asked::Social, &Question::social(pack, name, &said));
        }
        if self.wants(Track::Goal) {
            self.goals = goals(npc, say.at_ms);
            if !self.goals.is_empty() {
                let texts: Vec<_> = self.goals.iter().map(|goal| goal.text.clone()).collect();
                self.put(Asked::Goal, &Question::goal(pack, name, &said, &texts));
            }
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
        let span = debug_span!("question", task = %asked.task());
        let choice = self.runner.choose(asked.task(), question).instrument(span);
        let (metrics, began) = (Arc::clone(&self.runner.turns.metrics), Instant::now());
        metrics.questions.of(asked.counted()).inc();
        let told = move |answer: Result<Choice, EngineError>| {
            if answer.is_ok() {
                metrics.question.observe(began.elapsed());
            }
            (asked, answer)
        };
        let mut answer = choice.map(told).boxed();
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
                self.runner.turns.metrics.missed.of(asked.counted(), missing(&error)).inc();
                let task = asked.task();
                // Under load that is how it should be.
                if matches!(error, EngineError::Overloaded { .. } | EngineError::DeadlineExceeded { .. }) {
                    tracing::debug!(%task, %error, "a turn goes on without an answer");
                } else {
                    tracing::warn!(%task, %error, "a turn goes on without an answer");
                }
                None
            }
        };
        match (asked, probs) {
            (Asked::Emotion(number), probs) => {
                self.felt(number, probs.and_then(|probs| Probs::try_from(probs).ok()));
            }
            (Asked::Action, Some(probs)) => self.action = self.chosen(&probs),
            (Asked::Social, Some(probs)) => self.think(&probs),
            (Asked::Goal, Some(probs)) => self.want(&probs),
            (_, None) => {}
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
            _ => drop(self.held.remove(at)),
        }
    }

    /// The likeliest action, if it is likely enough.
    fn chosen(&self, probs: &[f32]) -> Option<(String, f32)> {
        let (at, p) = ask::likeliest(probs);
        let hesitance = self.runner.npc.read(|mind| mind.personality().action_threshold());
        let floor = (self.runner.turns.turn.action_floor * hesitance).min(1.0);
        let name = *names(&self.runner.say.actions).get(at).filter(|_| p >= floor)?;
        Some((name.to_owned(), p))
    }

    /// What the NPC thinks of the player shifts.
    fn think(&mut self, probs: &[f32]) {
        let (turns, npc, say) = (&self.runner.turns, &self.runner.npc, &self.runner.say);
        let Some(t_ms) = self.runner.state.time_of(0) else { return };
        let (before, shift) = turns.npcs.change(npc, |mind| {
            (mind.relationship(&say.player, say.at_ms), mind.shift(&say.player, &shift(probs), say.at_ms))
        });
        self.became.relationship = Some((before, shift.relationship));
        if shift.delta.is_empty() {
            return;
        }
        self.events.push(TurnEvent::Social(Box::new(Social {
            turn: say.turn.clone(),
            player: say.player.clone(),
            delta: shift.delta,
            relationship: shift.relationship,
            text_offset: 0,
            t_ms,
        })));
    }

    /// What the NPC wants is ranked.
    fn want(&mut self, probs: &[f32]) {
        let (turns, npc, say) = (&self.runner.turns, &self.runner.npc, &self.runner.say);
        let Some(t_ms) = self.runner.state.time_of(0) else { return };
        let ranking: BTreeMap<String, f32> =
            self.goals.iter().map(|goal| goal.id.clone()).zip(probs.iter().copied()).collect();
        turns.npcs.change(npc, |mind| mind.rank(&ranking, say.at_ms));
        let ranked = self.goals.iter().zip(probs);
        let mut ranked: Vec<_> = ranked
            .map(|(goal, p)| RankedGoal { id: goal.id.clone(), text: goal.text.clone(), p: *p })
            .collect();
        ranked.sort_by(|a, b| b.p.total_cmp(&a.p));
        self.became.goals.clone_from(&ranked);
        let (turn, player) = (say.turn.clone(), say.player.clone());
        self.events.push(TurnEvent::Goal(Box::new(Goal { turn, player, ranked, text_offset: 0, t_ms })));
    }

    /// More of the line was sent, from the character `offset` on.
    pub fn spoken(&mut self, text: &str) {
        let (mut rest, mut offset) = (text, self.chars);
        self.chars += text.chars().count() as u64;
        for sentence in self.sentences.push(text) {
            self.first_end.get_or_insert(sentence.end);
            if self.wants(Track::Emotion) && self.feelings <= MAX_SENTENCES {
                // What is behind the sentence is spoken with the feeling about it.
                let (before, behind) = cut(rest, sentence.end.saturating_sub(offset));
                self.hold(before, offset);
                (rest, offset) = (behind, sentence.end);
                self.ask_feeling(sentence.end, Some(&sentence.text));
            }
        }
        self.hold(rest, offset);
        self.advance();
    }

    fn hold(&mut self, text: &str, offset: u64) {
        if self.face.is_some() && !text.is_empty() {
            self.held.push_back(Held::Text { text: text.to_owned(), offset });
        }
    }

    /// The line was blocked: it ends without what the NPC would have done.
    pub fn without_action(&mut self) {
        self.action = None;
    }

    /// The line is over: what has not been answered by now is left out.
    pub fn finish(&mut self) {
        self.answers = FuturesUnordered::new();
        for asked in std::mem::take(&mut self.asked) {
            self.runner.turns.missed.add(asked.task());
            self.runner.turns.metrics.missed.of(asked.counted(), Missing::Late).inc();
            if let Asked::Emotion(number) = asked {
                self.felt(number, None);
            }
        }
        self.first_end.get_or_insert(self.chars);
        self.advance();
        let end = self.runner.state.end();
        if self.runner.state.time_of(0).is_some()
            && let Some(face) = &mut self.face
        {
            let keys = face.finish(end);
            self.events.extend(keys.into_iter().map(|key| face::event(&self.runner.say, key)));
        }
    }

    /// When everything that was given to the face has been spoken, if that is to be looked at.
    pub fn silent_at(&self) -> Option<Instant> {
        let speaks = self.face.as_ref().is_some_and(Face::is_speaking) && self.held.is_empty();
        if speaks { self.runner.state.spoken_at() } else { None }
    }

    /// Everything has been spoken, and there is no more yet: the mouth closes.
    pub fn pause(&mut self) {
        if let Some(face) = &mut self.face {
            let keys = face.pause(self.runner.state.end().t_ms);
            self.events.extend(keys.into_iter().map(|key| face::event(&self.runner.say, key)));
        }
    }

    /// What is to be sent: nothing before the first word.
    pub fn take_events(&mut self) -> Vec<TurnEvent> {
        if self.chars == 0 && self.first_end.is_none() {
            return Vec::new();
        }
        std::mem::take(&mut self.events)
    }

    pub fn became(&self) -> &Became {
        &self.became
    }

    /// Makes events of everything that is settled.
    fn advance(&mut self) {
        // What is felt about what was said is there before the first word, and shows with it.
        while self.chars > 0 || self.first_end.is_some() {
            match self.held.front() {
                Some(Held::Feeling { felt: Felt::Asked(_), .. }) | None => break,
                Some(_) => {}
            }
            match self.held.pop_front() {
                Some(Held::Feeling { offset, felt: Felt::Answered(probs) }) => self.feel(probs, offset),
                Some(Held::Text { text, offset }) => self.show(&text, offset),
                _ => {}
            }
        }
        if let Some(end) = self.first_end
            && let Some((name, p)) = self.action.take()
        {
            self.act(name, p, end);
        }
    }

    fn feel(&mut self, probs: Probs, offset: u64) {
        let say = &self.runner.say;
        let feeling = self.runner.npc.feels(probs, say.at_ms);
        if self.became.feeling.as_ref().is_some_and(|before| !feeling.is_shift_from(before)) {
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
        if let Some(face) = &mut self.face {
            face.feel(feeling.label, feeling.intensity, t_ms);
        }
        self.became.feeling = Some(feeling);
    }

    fn show(&mut self, text: &str, offset: u64) {
        let Some(face) = &mut self.face else { return };
        let end = offset + text.chars().count() as u64;
        let state = &self.runner.state;
        let (Some(from), Some(to)) = (state.time_of(offset), state.spoken_until(end)) else { return };
        let keys = face.speak(text, offset, from, to);
        self.events.extend(keys.into_iter().map(|key| face::event(&self.runner.say, key)));
    }

    fn act(&mut self, name: String, p: f32, offset: u64) {
        let say = &self.runner.say;
        let Some((action, t_ms)) = self.runner.state.propose(&name, offset) else { return };
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

/// The first `chars` characters, and the others.
fn cut(text: &str, chars: u64) -> (&str, &str) {
    let at = usize::try_from(chars).ok().and_then(|chars| text.char_indices().nth(chars));
    text.split_at(at.map_or(text.len(), |(at, _)| at))
}
