//! The conversation: what was asked, what is running, what comes next. Does no I/O but to the screen.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    time::Instant,
};

use super::{
    DEFAULT_ARCHETYPE,
    command::{self, Command},
    screen::Screen,
    talk::{self, Talk},
};
use crate::wire::{
    Cancel, Cid, ClientFrame, DialogueDelta, DoneReason, ErrorCode, ErrorPayload, NpcJoin, NpcJoined,
    SayFrame, ServerFrame, ServerMessage, TurnDone,
};

/// Lines that wait while an answer is running. More are not read until one of them was said.
const MAX_WAITING: usize = 16;

/// One player talking to one NPC at a time.
pub(super) struct Conversation<O, E> {
    screen: Screen<O, E>,
    /// Frames to send, with their marks.
    outbox: Vec<(ClientFrame, Option<Cid>)>,
    waiting: VecDeque<Command>,
    state: State,
    npc: Option<Npc>,
    /// Weights over the pack's own.
    mix: BTreeMap<String, f32>,
    cids: u64,
    /// `--say`: one line, then the end.
    one_line: bool,
    input_over: bool,
    /// The last thing that failed, where nobody watches: it becomes the result.
    failure: Option<String>,
    end: Option<Result<(), String>>,
    /// Ctrl-C was pressed and nothing typed since.
    interrupted: bool,
}

struct Npc {
    id: String,
    name: String,
}

enum State {
    Idle,
    Joining {
        cid: Cid,
        id: String,
        /// Try again with this archetype if the NPC does not exist.
        otherwise: Option<&'static str>,
    },
    Talking(Talk),
}

impl<O: Write, E: Write> Conversation<O, E> {
    /// Begins by joining `npc`. Without an archetype an NPC that does not exist is made from the default one.
    /// With `say` that line is said, and the conversation ends with its answer.
    pub(super) fn new(
        screen: Screen<O, E>,
        npc: String,
        archetype: Option<String>,
        say: Option<String>,
    ) -> Self {
        let mut conversation = Self {
            screen,
            outbox: Vec::new(),
            one_line: say.is_some(),
            waiting: say.into_iter().map(Command::Say).collect(),
            state: State::Idle,
            npc: None,
            mix: BTreeMap::new(),
            cids: 0,
            input_over: false,
            failure: None,
            end: None,
            interrupted: false,
        };
        let otherwise = archetype.is_none().then_some(DEFAULT_ARCHETYPE);
        conversation.join(npc, archetype, otherwise);
        conversation
    }

    /// The frames that are to be sent now.
    pub(super) fn take_outbox(&mut self) -> Vec<(ClientFrame, Option<Cid>)> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether the conversation is over, and how it ended.
    pub(super) fn ended(&mut self) -> Option<Result<(), String>> {
        self.end.take()
    }

    /// Whether another line can be taken.
    pub(super) fn wants_input(&self) -> bool {
        !self.one_line && !self.input_over && self.waiting.len() < MAX_WAITING
    }

    /// The input has ended: what is waiting is still said.
    pub(super) fn input_ended(&mut self) {
        self.input_over = true;
        self.finish_if_done();
    }

    /// A line that was typed. Where a person types, commands act at once and lines wait for the running
    /// answer; in a script everything happens in order.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        self.interrupted = false;
        match command::parse(line) {
            Err(problem) => {
                self.fail(&problem)?;
                self.ask_if_idle()
            }
            Ok(None) => self.ask_if_idle(),
            Ok(Some(Command::Quit)) if self.screen.prompt => {
                self.end = Some(Ok(()));
                Ok(())
            }
            Ok(Some(Command::Cancel)) if self.screen.prompt => self.cancel(),
            Ok(Some(command)) => {
                self.waiting.push_back(command);
                self.proceed()
            }
        }
    }

    /// Ctrl-C: stops the running answer; without one, or a second time, leaves.
    pub(super) fn interrupt(&mut self) -> io::Result<()> {
        let running = matches!(&self.state, State::Talking(talk) if !talk.cancelled);
        if running {
            self.interrupted = true;
            self.cancel()
        } else if self.interrupted || self.one_line {
            self.end = Some(if self.one_line { Err("interrupted".to_owned()) } else { Ok(()) });
            Ok(())
        } else {
            self.interrupted = true;
            self.screen.note("(Ctrl-C again leaves)")
        }
    }

    /// A frame from the gateway.
    pub(super) fn message(&mut self, message: ServerMessage, now: Instant) -> io::Result<()> {
        match message.frame {
            Some(ServerFrame::NpcJoined(joined)) => self.joined(message.cid.as_ref(), *joined),
            Some(ServerFrame::Error(error)) => self.error(message.cid.as_ref(), &error),
            Some(ServerFrame::TurnStarted(started)) => match &mut self.state {
                State::Talking(talk) if talk.turn == started.turn => {
                    talk.started = true;
                    Ok(())
                }
                _ => Ok(()),
            },
            Some(ServerFrame::DialogueDelta(delta)) => self.delta(&delta, now),
            Some(ServerFrame::TurnDone(done)) => self.done(&done),
            // What else there is concerns no terminal.
            _ => Ok(()),
        }
    }

    fn joined(&mut self, cid: Option<&Cid>, joined: NpcJoined) -> io::Result<()> {
        if !matches!(&self.state, State::Joining { cid: sent, .. } if Some(sent) == cid) {
            return Ok(());
        }
        let generic = if joined.chain.generic { ", on the base model alone" } else { "" };
        self.screen.note(&format!("({} the {} is here{generic})", joined.npc.name, joined.npc.archetype))?;
        self.npc = Some(Npc { id: joined.npc.id, name: joined.npc.name });
        self.mix.clear();
        self.idle()
    }

    fn error(&mut self, cid: Option<&Cid>, error: &ErrorPayload) -> io::Result<()> {
        let text = talk::describe(error);
        match &mut self.state {
            State::Joining { cid: sent, id, otherwise } if Some(&*sent) == cid => {
                if let (ErrorCode::UnknownNpc, Some(archetype)) = (error.code, otherwise.take()) {
                    let id = std::mem::take(id);
                    self.join(id, Some(archetype.to_owned()), None);
                    return Ok(());
                }
                if self.npc.is_none() {
                    self.end = Some(Err(text));
                    return Ok(());
                }
                self.fail(&text)?;
                self.idle()
            }
            State::Talking(talk)
                if cid == Some(&talk.cid) || (cid.is_none() && error.turn.as_ref() == Some(&talk.turn)) =>
            {
                talk.error = Some(text.clone());
                if talk.started {
                    // turn.done follows.
                    return Ok(());
                }
                self.fail(&text)?;
                self.idle()
            }
            _ => self.screen.note(&text),
        }
    }

    fn delta(&mut self, delta: &DialogueDelta, now: Instant) -> io::Result<()> {
        let State::Talking(talk) = &mut self.state else { return Ok(()) };
        if talk.turn != delta.turn {
            return Ok(());
        }
        talk.count(delta.tokens, now);
        let text = if talk.chars == 0 { delta.text.trim_start() } else { &delta.text };
        if !talk.open_line && !text.is_empty() {
            let name = self.npc.as_ref().map_or("", |npc| npc.name.as_str());
            self.screen.speaker(name)?;
            talk.open_line = true;
        }
        talk.chars = delta.offset + delta.text.chars().count() as u64;
        self.screen.speech(text)
    }

    fn done(&mut self, done: &TurnDone) -> io::Result<()> {
        let State::Talking(talk) = &mut self.state else { return Ok(()) };
        if talk.turn != done.turn {
            return Ok(());
        }
        if talk.open_line {
            self.screen.speech("\n")?;
        }
        let stats = talk.stats(done);
        let error = talk.error.take();
        if done.fallback {
            self.screen.note("(a scripted line: the gateway is overloaded)")?;
        }
        self.screen.note(&stats)?;
        match done.reason {
            DoneReason::Stop | DoneReason::Length => {}
            DoneReason::Cancelled if self.screen.prompt => self.screen.note("(stopped)")?,
            DoneReason::Cancelled => self.fail("the answer was stopped")?,
            DoneReason::Blocked => self.fail("the gateway blocked the answer")?,
            DoneReason::Error => self.fail(&error.unwrap_or_else(|| "the turn failed".to_owned()))?,
        }
        self.idle()
    }

    /// Ready for what comes next.
    fn idle(&mut self) -> io::Result<()> {
        self.state = State::Idle;
        self.proceed()?;
        self.finish_if_done();
        if self.end.is_none() { self.ask_if_idle() } else { Ok(()) }
    }

    /// Takes up what is waiting, as far as it can be now.
    fn proceed(&mut self) -> io::Result<()> {
        while self.end.is_none() {
            let idle = matches!(self.state, State::Idle);
            let Some(next) = self.waiting.front() else { break };
            if !idle && !matches!(next, Command::Cancel | Command::Help) {
                break;
            }
            match self.waiting.pop_front() {
                Some(Command::Say(text)) => self.say(text)?,
                Some(Command::Npc { id, archetype }) => self.join(id, archetype, None),
                Some(Command::Mix(weights)) => {
                    self.mix.extend(weights);
                    let mix: Vec<String> =
                        self.mix.iter().map(|(task, weight)| format!("{task}={weight}")).collect();
                    self.screen.note(&format!("(mix: {})", mix.join(" ")))?;
                    self.ask_if_idle()?;
                }
                Some(Command::MixDefault) => {
                    self.mix.clear();
                    self.screen.note("(mix: the pack's own)")?;
                    self.ask_if_idle()?;
                }
                Some(Command::Cancel) => self.cancel()?,
                Some(Command::Help) => {
                    self.screen.note(command::HELP)?;
                    self.ask_if_idle()?;
                }
                Some(Command::Quit) => self.finish(),
                None => {}
            }
        }
        Ok(())
    }

    fn join(&mut self, id: String, archetype: Option<String>, otherwise: Option<&'static str>) {
        let cid = self.cid();
        let join = NpcJoin { npc: id.clone(), archetype, name: None, seed: None, personality: None };
        self.outbox.push((ClientFrame::NpcJoin(join), Some(cid.clone())));
        self.state = State::Joining { cid, id, otherwise };
    }

    fn say(&mut self, text: String) -> io::Result<()> {
        let Some(npc) = &self.npc else { return self.fail("there is nobody to talk to; /npc ID ARCHETYPE") };
        let turn = uuid::Uuid::now_v7().simple().to_string();
        let mix = (!self.mix.is_empty()).then(|| self.mix.clone());
        let npc = npc.id.clone();
        let frame = SayFrame {
            npc,
            turn: turn.clone(),
            text,
            actions: Vec::new(),
            context: None,
            generation: None,
            mix,
            audience: None,
        };
        let cid = self.cid();
        self.outbox.push((ClientFrame::Say(Box::new(frame)), Some(cid.clone())));
        self.state = State::Talking(Talk::new(cid, turn));
        Ok(())
    }

    /// Stops the running answer where the screen stands.
    fn cancel(&mut self) -> io::Result<()> {
        let State::Talking(talk) = &mut self.state else {
            self.screen.note("(nothing is running)")?;
            return self.ask_if_idle();
        };
        if !talk.cancelled {
            talk.cancelled = true;
            let frame = Cancel { turn: talk.turn.clone(), heard_offset: Some(talk.chars) };
            // A mark of its own: an error about the cancel is none about the turn.
            let cid = self.cid();
            self.outbox.push((ClientFrame::Cancel(frame), Some(cid)));
        }
        Ok(())
    }

    /// Says what failed; where nobody watches it also becomes the result.
    fn fail(&mut self, text: &str) -> io::Result<()> {
        if self.screen.prompt {
            return self.screen.note(text);
        }
        // The last failure is printed by whoever ends the program.
        if let Some(earlier) = self.failure.replace(text.to_owned()) {
            self.screen.note(&earlier)?;
        }
        Ok(())
    }

    fn finish_if_done(&mut self) {
        let over = self.input_over || self.one_line;
        if over && self.waiting.is_empty() && matches!(self.state, State::Idle) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let result = self.failure.take().map_or(Ok(()), |failure| Err(crate::cli::clean::clean(&failure)));
        self.end.get_or_insert(result);
    }

    fn ask_if_idle(&mut self) -> io::Result<()> {
        if matches!(self.state, State::Idle) && self.waiting.is_empty() { self.screen.ask() } else { Ok(()) }
    }

    fn cid(&mut self) -> Cid {
        self.cids += 1;
        Cid::Uint(self.cids)
    }

    #[cfg(test)]
    pub(super) fn screen(&self) -> &Screen<O, E> {
        &self.screen
    }
}
