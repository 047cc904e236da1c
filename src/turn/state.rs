//! What is known of a turn while it runs, and for a while after.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::SpeechClock;
use crate::history::Heard;
use serde_bytes::ByteArray;

use crate::wire::{DoneReason, FACE_SHAPES, FaceKey, TurnCancelled, TurnDone, ValidThrough};

/// What the NPC has said it will do.
#[derive(Debug)]
struct Proposed {
    /// Its id.
    action: String,
    name: String,
    t_ms: u64,
}

/// What a cancel does: the answer, and the face's way to neutral.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    pub cancelled: TurnCancelled,
    /// `None`: the turn's face is not told of.
    pub neutral: Option<FaceKey>,
    /// Whose NPC it is, and which players heard it besides the speaker.
    pub npc: String,
    pub audience: Vec<String>,
}

/// How long after `turn.done` a turn can still be cancelled or heard.
pub const AFTERLIFE: Duration = Duration::from_mins(2);

/// One turn.
#[derive(Debug)]
pub struct TurnState {
    pub npc: String,
    pub player: String,
    pub turn: String,
    /// Players who hear it besides the speaker.
    audience: Vec<String>,
    /// Id of its record.
    pub interaction: Uuid,
    /// Cancelled by the client: the task that runs the turn ends it.
    pub cancelled: CancellationToken,
    /// How long its face takes to be neutral, in milliseconds; `None`: its face is not told of.
    face: Option<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: SpeechClock,
    /// The line so far.
    text: String,
    /// What the player said to have heard; `None`: nothing was said about it.
    heard: Option<u64>,
    /// Nothing after this offset is valid any more.
    cut: Option<u64>,
    proposed: Vec<Proposed>,
    began: Option<Instant>,
    done: Option<(Instant, TurnDone)>,
    keeping: Keeping,
}

/// Where an ended turn's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// On its way to the disk, or still to be made.
    Open,
    /// On the disk.
    Stored,
    /// Nowhere, and nothing was to be stored.
    Nothing,
    /// Nowhere, because it could not be stored.
    Failed,
}

impl TurnState {
    pub fn new(npc: &str, player: &str, turn: &str, speech_rate: f32, face: Option<u64>) -> Self {
        Self {
            npc: npc.to_owned(),
            player: player.to_owned(),
            turn: turn.to_owned(),
            audience: Vec::new(),
            interaction: Uuid::now_v7(),
            cancelled: CancellationToken::new(),
            face,
            inner: Mutex::new(Inner {
                clock: SpeechClock::new(speech_rate),
                text: String::new(),
                heard: None,
                cut: None,
                proposed: Vec::new(),
                began: None,
                done: None,
                keeping: Keeping::Open,
            }),
        }
    }

    /// The same, heard by these players too.
    pub fn heard_by(self, audience: Option<&Vec<String>>) -> Self {
        Self { audience: audience.cloned().unwrap_or_default(), ..self }
    }

    /// Whether a player hears it.
    pub fn is_heard_by(&self, player: &str) -> bool {
        self.player == player || self.audience.iter().any(|listener| listener == player)
    }

    /// If the turn has ended, and is still spoken: cuts it where its speech has got to, or at what the player said to have
    /// heard.
    pub fn cut_short(&self) -> Option<Cut> {
        let mut inner = self.inner.lock();
        if inner.done.is_none() || inner.cut.is_some() {
            return None;
        }
        let now_ms = inner.began?.elapsed().as_millis() as u64;
        if now_ms >= inner.clock.end_before(inner.clock.chars()) {
            return None;
        }
        let offset = inner.heard.unwrap_or_else(|| inner.clock.spoken_at(now_ms));
        inner.cut = Some(offset);
        if let Some((_, done)) = &mut inner.done {
            done.text = prefix(&done.text, offset).to_owned();
        }
        Some(self.cut_at(&inner, offset))
    }

    /// Whether its speech is over, or will not be.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.has_ended() && self.spoken_at().is_none_or(|end| end <= now)
    }

    /// `turn.started` is sent: the turn's clock runs from here.
    pub fn begin(&self) {
        self.inner.lock().began.get_or_insert_with(Instant::now);
    }

    /// Somebody speaks in between: as a cancel after what was heard, which is what the player said or else what has been
    /// spoken by now. Nothing happens to a turn that has ended, or was cut.
    pub fn interrupt(&self) {
        let mut inner = self.inner.lock();
        if inner.done.is_some() || inner.cut.is_some() {
            return;
        }
        let spoken = inner.began.map_or(0, |began| inner.clock.spoken_at(began.elapsed().as_millis() as u64));
        inner.cut = Some(inner.heard.unwrap_or(spoken));
        drop(inner);
        self.cancelled.cancel();
    }

    /// Adds text; returns its offset and time, or `None` if the turn was cut already.
    pub fn add_text(&self, text: &str, now_ms: u64) -> Option<(u64, u64)> {
        let mut inner = self.inner.lock();
        if inner.cut.is_some() {
            return None;
        }
        inner.text.push_str(text);
        Some(inner.clock.place(text, now_ms))
    }

    /// When the character at `offset` is spoken; `None` if the turn was cut already.
    pub fn time_of(&self, offset: u64) -> Option<u64> {
        let inner = self.inner.lock();
        inner.cut.is_none().then(|| inner.clock.time_of(offset))
    }

    /// The NPC will do something when this character is spoken. Returns its id and the time, or `None` if the turn was
    /// cut already.
    pub fn propose(&self, name: &str, offset: u64) -> Option<(String, u64)> {
        let mut inner = self.inner.lock();
        if inner.cut.is_some() {
            return None;
        }
        let (action, t_ms) = (format!("a{}", inner.proposed.len() + 1), inner.clock.time_of(offset));
        inner.proposed.push(Proposed { action: action.clone(), name: name.to_owned(), t_ms });
        Some((action, t_ms))
    }

    /// The name of a proposed action.
    pub fn name_of(&self, action: &str) -> Option<String> {
        let inner = self.inner.lock();
        inner.proposed.iter().find(|proposed| proposed.action == action).map(|proposed| proposed.name.clone())
    }

    /// The face's way to neutral from a point of the turn on, if its face is told of.
    pub fn neutral(&self, at: ValidThrough) -> Option<FaceKey> {
        let ease_ms = self.face?;
        Some(FaceKey {
            turn: self.turn.clone(),
            player: self.player.clone(),
            text_offset: at.text_offset,
            t_ms: at.t_ms,
            ease_ms,
            au: BTreeMap::new(),
            w: ByteArray::new([0; FACE_SHAPES]),
        })
    }

    /// When everything before this character has been spoken: the end of a piece, not the beginning of the next one, which
    /// may come later. `None` if the turn was cut already.
    pub fn spoken_until(&self, offset: u64) -> Option<u64> {
        let inner = self.inner.lock();
        inner.cut.is_none().then(|| inner.clock.end_before(offset))
    }

    /// When everything that there is will have been spoken.
    pub fn spoken_at(&self) -> Option<Instant> {
        let inner = self.inner.lock();
        let end = inner.clock.end_before(inner.clock.chars());
        inner.began.map(|began| began + Duration::from_millis(end))
    }

    /// Where the line has got to.
    pub fn end(&self) -> ValidThrough {
        let inner = self.inner.lock();
        let text_offset = inner.clock.chars();
        ValidThrough { text_offset, t_ms: inner.clock.time_of(text_offset) }
    }

    /// `heard_offset` only grows, and never beyond what was sent.
    pub fn hear(&self, offset: u64) {
        let mut inner = self.inner.lock();
        let offset = offset.min(inner.clock.chars());
        inner.heard = Some(inner.heard.unwrap_or(0).max(offset));
    }

    /// Cuts the turn after what was heard: `heard`, else what `playback` said, else all that was sent. A
    /// second cut can only shorten it further. Also tells whether the turn had ended already; if not, its
    /// end ([`Self::finish`]) will find the cut.
    pub fn cut(&self, heard: Option<u64>) -> (Cut, bool) {
        let mut inner = self.inner.lock();
        let sent = inner.clock.chars();
        // A cancel that is repeated without one keeps what the first one said.
        let offset =
            heard.or(inner.cut).or(inner.heard).unwrap_or(sent).min(inner.cut.unwrap_or(sent)).min(sent);
        // A cancel that is repeated moves nothing.
        let moved = inner.cut != Some(offset);
        inner.cut = Some(offset);
        if let Some((_, done)) = &mut inner.done {
            done.text = prefix(&done.text, offset).to_owned();
        }
        let cut = self.cut_at(&inner, offset);
        (Cut { neutral: cut.neutral.filter(|_| moved), ..cut }, inner.done.is_some())
    }

    fn cut_at(&self, inner: &Inner, offset: u64) -> Cut {
        let t_ms = inner.clock.time_of(offset);
        // What begins in that moment has not begun.
        let later = inner.proposed.iter().filter(|proposed| proposed.t_ms >= t_ms);
        let valid_through = ValidThrough { text_offset: offset, t_ms };
        let cancelled = TurnCancelled {
            turn: self.turn.clone(),
            player: self.player.clone(),
            valid_through,
            retracted: later.map(|proposed| proposed.action.clone()).collect(),
        };
        // A turn that has not begun has moved no face.
        let neutral = inner.began.and_then(|_| self.neutral(valid_through));
        Cut { cancelled, neutral, npc: self.npc.clone(), audience: self.audience.clone() }
    }

    /// Ends the turn: completes `done` with the text and, if the turn was cut, with the reason, and keeps it.
    /// Returns it, behind the `turn.cancelled` that goes before it if the turn was cut. If it has an `interaction`,
    /// nobody is told of it before [`Self::stored`].
    pub fn finish(&self, mut done: TurnDone) -> (Option<Cut>, TurnDone) {
        let mut inner = self.inner.lock();
        let cancelled = inner.cut.map(|offset| self.cut_at(&inner, offset));
        if cancelled.is_some() {
            done.reason = DoneReason::Cancelled;
        }
        prefix(&inner.text, inner.cut.unwrap_or(u64::MAX)).clone_into(&mut done.text);
        inner.done = Some((Instant::now(), done.clone()));
        if done.interaction.is_none() {
            inner.keeping = Keeping::Nothing;
        }
        (cancelled, done)
    }

    /// The ended turn's record is on the disk. Returns what holds now: from here on changes are amended.
    pub fn stored(&self) -> Heard {
        let mut inner = self.inner.lock();
        inner.keeping = Keeping::Stored;
        inner.heard_now()
    }

    /// The ended turn's record could not be stored: it ends with an error, and its id may be tried again.
    pub fn not_stored(&self) -> Option<TurnDone> {
        let mut inner = self.inner.lock();
        inner.keeping = Keeping::Failed;
        let (_, done) = inner.done.as_mut()?;
        done.reason = DoneReason::Error;
        done.interaction = None;
        Some(done.clone())
    }

    /// Whether the turn has ended without a record that it should have.
    pub fn has_failed(&self) -> bool {
        self.inner.lock().keeping == Keeping::Failed
    }

    /// Whether the turn's record is on the disk.
    pub fn is_stored(&self) -> bool {
        self.inner.lock().keeping == Keeping::Stored
    }

    /// What the player has of the line.
    pub fn heard(&self) -> Heard {
        self.inner.lock().heard_now()
    }

    /// What history keeps: up to the cut, else what was heard, else everything.
    pub fn heard_text(&self) -> String {
        let inner = self.inner.lock();
        prefix(&inner.text, inner.cut.or(inner.heard).unwrap_or(u64::MAX)).to_owned()
    }

    /// Whether the turn has ended, even if nobody is to know yet.
    pub fn has_ended(&self) -> bool {
        self.inner.lock().done.is_some()
    }

    /// The stored `turn.done`; `None` while the turn runs or its record is on its way.
    pub fn done(&self) -> Option<TurnDone> {
        let inner = self.inner.lock();
        let (_, done) = inner.done.as_ref()?;
        (inner.keeping != Keeping::Open).then(|| done.clone())
    }

    /// What its line takes, in bytes: the text, which the stored `turn.done` has once more, and its times.
    pub fn line_bytes(&self) -> usize {
        let inner = self.inner.lock();
        let names: usize = self.audience.iter().map(String::len).sum();
        inner.text.len() * 2 + inner.clock.bytes() + names
    }

    /// Whether the turn ended too long ago to be changed.
    pub fn expired(&self, now: Instant) -> bool {
        self.inner.lock().done.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) > AFTERLIFE)
    }
}

impl Inner {
    fn heard_now(&self) -> Heard {
        let said = prefix(&self.text, self.cut.unwrap_or(u64::MAX)).to_owned();
        // A cut is what was heard.
        Heard { said, chars: if self.cut.is_some() { None } else { self.heard } }
    }
}

/// The first `chars` characters.
fn prefix(text: &str, chars: u64) -> &str {
    usize::try_from(chars)
        .ok()
        .and_then(|chars| text.char_indices().nth(chars))
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> TurnState {
        let state = TurnState::new("npc", "anna", "t1", 10.0, Some(250));
        state.begin();
        state.add_text("Good évening", 0);
        state.add_text(", traveller.", 0);
        state
    }

    #[test]
    fn a_cut_keeps_what_was_heard() {
        let state = state();
        let (cut, ended) = state.cut(Some(6));
        let valid_through = ValidThrough { text_offset: 6, t_ms: 600 };
        assert_eq!(cut.cancelled.valid_through, valid_through);
        assert_eq!(cut.neutral, state.neutral(valid_through));
        assert_eq!(state.cut(None).0.neutral, None, "it is on its way");
        assert!(state.cut(Some(5)).0.neutral.is_some());
        assert!(!ended);
        assert_eq!(state.heard_text(), "Good ");
        assert_eq!(state.add_text("more", 0), None);
    }

    #[test]
    fn without_an_offset_playback_counts_and_without_playback_everything() {
        let heard = state();
        heard.hear(4);
        heard.hear(2);
        assert_eq!(heard.cut(None).0.cancelled.valid_through.text_offset, 4);
        let more = state();
        more.hear(4);
        assert_eq!(more.cut(Some(6)).0.cancelled.valid_through.text_offset, 6);
        assert_eq!(more.cut(None).0.cancelled.valid_through.text_offset, 6, "a repeat changes nothing");
        assert_eq!(state().cut(None).0.cancelled.valid_through.text_offset, 24);
    }

    #[test]
    fn offsets_beyond_the_text_are_its_end() {
        let state = state();
        state.hear(u64::MAX);
        assert_eq!(state.heard_text().chars().count(), 24);
        assert_eq!(state.cut(Some(u64::MAX)).0.cancelled.valid_through.text_offset, 24);
    }

    #[test]
    fn who_speaks_while_the_line_is_spoken_cuts_it_short() {
        // Ten characters a second: it is spoken for 2.4 s.
        let state = state().heard_by(Some(&vec!["ben".into()]));
        assert!(state.is_heard_by("ben") && state.is_heard_by("anna") && !state.is_heard_by("cleo"));
        assert_eq!(state.cut_short(), None, "it is not over");
        state.hear(5);
        state.finish(done());
        assert!(!state.is_silent(Instant::now()) && state.is_silent(Instant::now() + Duration::from_secs(9)));
        let cut = state.cut_short().unwrap();
        assert_eq!((cut.cancelled.valid_through.text_offset, cut.npc.as_str()), (5, "npc"));
        assert_eq!(cut.audience, ["ben"]);
        assert_eq!(state.cut_short(), None, "once");
    }

    #[test]
    fn what_was_not_heard_is_not_done() {
        let state = state();
        assert_eq!(state.propose("bow", 12), Some(("a1".into(), 1200)));
        assert_eq!(state.propose("flee", 24), Some(("a2".into(), 2400)));
        assert_eq!(state.cut(Some(24)).0.cancelled.retracted, ["a2"]);
        assert_eq!(state.cut(Some(13)).0.cancelled.retracted, ["a2"]);
        assert_eq!(state.cut(Some(12)).0.cancelled.retracted, ["a1", "a2"]);
        assert_eq!(state.name_of("a2").as_deref(), Some("flee"));
        assert_eq!((state.propose("bow", 3), state.time_of(3)), (None, None), "nothing more after a cut");
    }

    #[test]
    fn a_second_cut_only_shortens() {
        let state = state();
        state.cut(Some(5));
        assert_eq!(state.cut(Some(9)).0.cancelled.valid_through.text_offset, 5);
        assert_eq!(state.cut(Some(3)).0.cancelled.valid_through.text_offset, 3);
    }

    fn done() -> TurnDone {
        TurnDone {
            turn: "t1".into(),
            player: "anna".into(),
            npc: "npc".into(),
            reason: DoneReason::Stop,
            text: String::new(),
            fallback: false,
            usage: crate::wire::UsageInfo::default(),
            timing: crate::wire::TimingInfo::default(),
            interaction: None,
        }
    }

    #[test]
    fn a_cut_before_the_end_is_found_by_it() {
        let state = state();
        state.cut(Some(4));
        let (cancelled, done) = state.finish(done());
        assert_eq!(cancelled.map(|cut| cut.cancelled.valid_through.text_offset), Some(4));
        assert_eq!((done.reason, done.text.as_str()), (DoneReason::Cancelled, "Good"));
    }

    #[test]
    fn a_cut_after_the_end_shortens_the_stored_answer() {
        let state = state();
        let (cancelled, ended) = state.finish(done());
        assert_eq!((cancelled, ended.text.as_str()), (None, "Good évening, traveller."));
        assert!(state.cut(Some(4)).1);
        assert_eq!(state.heard(), Heard { said: "Good".into(), chars: None });
        assert_eq!(state.done().map(|d| (d.reason, d.text)), Some((DoneReason::Stop, "Good".into())));
    }

    #[test]
    fn nobody_is_told_of_a_turn_whose_record_is_on_its_way() {
        let kept = || TurnDone { interaction: Some("id".into()), ..done() };
        let state = state();
        state.hear(4);
        state.finish(kept());
        assert!(state.has_ended() && state.done().is_none() && !state.is_stored());
        state.hear(6);
        assert_eq!(state.stored(), Heard { said: "Good évening, traveller.".into(), chars: Some(6) });
        assert_eq!(state.done().and_then(|done| done.interaction), Some("id".into()));
        let failed = self::state();
        failed.finish(kept());
        let end = failed.not_stored().map(|done| (done.reason, done.interaction));
        assert_eq!(end, Some((DoneReason::Error, None)));
        assert!(failed.has_failed());
    }
}
