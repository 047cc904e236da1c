//! Turns: what is asked of the engine for an action, what comes back, and when the next one begins.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Process;
use super::run::{Next, Run};
use super::traffic::exponential;
use crate::engine::{Choice, EngineError, Event, Generation, Schedule};

/// Seconds from a line's request to those of its choices, assumed: an idle engine has begun the line by then, as a
/// gateway's engine, which is a thread of its own, has.
const ASKED_AFTER_S: f64 = 1e-4;

/// Seconds after which a client of a closed loop comes again that was refused, at least; assumed. It would otherwise come
/// again at once, for ever.
const AGAIN_AFTER_S: f64 = 1.0;

/// An action that is being answered.
pub struct Turn {
    npc: u64,
    kind: usize,
    /// When its line was said, and when it was asked for.
    said_s: f64,
    asked_s: f64,
    pub line: Option<Generation>,
    lines_left: u32,
    refused: bool,
    /// When its last line ended.
    ended_s: Option<f64>,
    /// Choices that are not asked for yet.
    choices_left: u32,
    choices: Vec<(f64, oneshot::Receiver<Result<Choice, EngineError>>)>,
}

impl Run<'_> {
    /// Begins a turn. `said_s`: when its line was said; it counts as come already.
    pub(super) fn act(&mut self, npc: u64, kind: usize, said_s: f64) {
        let (lines, choices) = self.traffic.kinds[kind].action(&mut self.rng);
        let turn = Turn {
            npc,
            kind,
            said_s,
            asked_s: self.now_s,
            line: None,
            lines_left: lines,
            refused: false,
            ended_s: None,
            choices_left: choices,
            choices: Vec::new(),
        };
        // An action of choices alone has no line.
        if lines == 0 {
            self.tally.all.came -= 1;
        }
        let number = self.begun;
        self.begun += 1;
        self.turns.insert(number, turn);
        self.speak(number);
        if choices > 0 && self.turns.contains_key(&number) {
            self.push(self.now_s + ASKED_AFTER_S, Next::Asked { turn: number });
        }
        self.end_if_done(number);
    }

    /// Asks for a turn's next line, if there is one. Refused, the turn ends.
    fn speak(&mut self, number: u64) {
        let now = self.clock(self.now_s);
        let schedule = self.schedule(number, false);
        let Some(turn) = self.turns.get_mut(&number) else { return };
        if turn.lines_left == 0 {
            return;
        }
        turn.lines_left -= 1;
        turn.asked_s = self.now_s;
        self.requests += 1;
        let kind = &self.traffic.kinds[turn.kind];
        let prompt = kind.line_prompt(turn.npc, fresh(self.requests));
        if let Ok(line) = self.rehearsal.generate(prompt, &kind.spoken, kind.answer, schedule, now) {
            turn.line = Some(line);
        } else {
            (turn.lines_left, turn.choices_left) = (0, 0);
            turn.refused = true;
            self.overloaded();
        }
    }

    /// Asks for a turn's choices.
    pub(super) fn ask(&mut self, number: u64) {
        let now = self.clock(self.now_s);
        let schedule = self.schedule(number, true);
        let Some(turn) = self.turns.get_mut(&number) else { return };
        let kind = &self.traffic.kinds[turn.kind];
        let mut missed = 0;
        for choice in 0..std::mem::take(&mut turn.choices_left) as usize {
            self.requests += 1;
            let prompt = kind.choice_prompt(turn.npc, choice, fresh(self.requests));
            let mix = kind.chosen.get(choice..=choice).unwrap_or_default();
            match self.rehearsal.choose(prompt, mix, &kind.options, schedule, now) {
                Ok(answer) => turn.choices.push((self.now_s, answer)),
                Err(_) => missed += 1,
            }
        }
        self.missed(missed);
        self.end_if_done(number);
    }

    fn schedule(&self, number: u64, background: bool) -> Schedule {
        let npc = self.turns.get(&number).map_or(0, |turn| turn.npc);
        let deadline = Some(self.clock(self.now_s + self.server.admission.queue_timeout_s));
        // Everybody speaks with an NPC of their own.
        Schedule { owner: npc, npc, background, deadline }
    }

    /// Takes the answers that are there.
    pub(super) fn collect(&mut self) {
        let numbers: Vec<u64> = self.turns.keys().copied().collect();
        for number in numbers {
            self.take_choices(number);
            self.take_line(number);
            self.end_if_done(number);
        }
    }

    fn take_choices(&mut self, number: u64) {
        let counts = self.counts();
        let Some(turn) = self.turns.get_mut(&number) else { return };
        let (now_s, tally) = (self.now_s, &mut self.tally);
        let mut missed = 0;
        turn.choices.retain_mut(|(asked_s, answer)| match answer.try_recv() {
            Ok(Ok(_)) => {
                if counts {
                    tally.choice_ms.push(((now_s - *asked_s) * 1e3) as f32);
                }
                false
            }
            Err(TryRecvError::Empty) => true,
            Ok(Err(_)) | Err(TryRecvError::Closed) => {
                missed += 1;
                false
            }
        });
        let late = |at: f64| now_s >= at + self.server.admission.tracks_timeout_s;
        if turn.line.is_none() && turn.lines_left == 0 && turn.ended_s.is_some_and(late) {
            // The turn ends without them.
            missed += turn.choices.drain(..).count() as u64;
        }
        self.missed(missed);
    }

    fn take_line(&mut self, number: u64) {
        let counts = self.counts();
        let Some(turn) = self.turns.get_mut(&number) else { return };
        let Some(line) = &mut turn.line else { return };
        while let Some(event) = line.ready() {
            match event {
                Event::Started { .. } | Event::Text { .. } => continue,
                Event::Finished { usage, .. } => {
                    self.tally.all.answered += 1;
                    if counts {
                        let before_s = turn.asked_s - turn.said_s + self.server.turn_overhead_s;
                        let first_ms = before_s * 1e3 + usage.first_token_ms;
                        self.tally.first_token_ms.push(first_ms as f32);
                        self.tally.generated += u64::from(usage.generated_tokens);
                    }
                    (turn.said_s, turn.ended_s) = (self.now_s, Some(self.now_s));
                    if turn.lines_left > 0 {
                        self.tally.all.came += 1;
                    }
                }
                Event::Failed { .. } => {
                    (turn.lines_left, turn.refused) = (0, true);
                    self.overloaded();
                }
            }
            let Some(turn) = self.turns.get_mut(&number) else { return };
            turn.line = None;
            self.speak(number);
            return;
        }
    }

    /// Ends a turn of which nothing is to come; its NPC answers the next line of its mailbox.
    fn end_if_done(&mut self, number: u64) {
        let done = self.turns.get(&number).is_some_and(|turn| {
            let waits = turn.line.is_some() || !turn.choices.is_empty();
            !waits && turn.lines_left == 0 && turn.choices_left == 0
        });
        let Some(turn) = done.then(|| self.turns.remove(&number)).flatten() else { return };
        let waiting = self.mailboxes.get_mut(&turn.npc).and_then(VecDeque::pop_front);
        if let Some(said_s) = waiting {
            self.act(turn.npc, turn.kind, said_s);
            return;
        }
        self.mailboxes.remove(&turn.npc);
        if let Process::Closed { think_s, .. } = self.arrivals.process {
            // A moment at least: an action may have nothing to wait for.
            let least = if turn.refused { AGAIN_AFTER_S } else { 1e-3 };
            let at = self.now_s + exponential(think_s, &mut self.rng).max(least);
            self.push(at, Next::Said { npc: turn.npc, kind: turn.kind });
        }
    }
}

/// A number of its own for each of two billion requests in a row.
fn fresh(request: u64) -> u32 {
    (request % (1 << 31)) as u32
}
