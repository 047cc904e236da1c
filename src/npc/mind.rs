//! What changes in an NPC: how it is, what it looks like, whom it knows and what it wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::draw::rounded;
use super::relationship::{Relationships, Shift, toward_strangers};
use super::{Body, Goals, Personality};
use crate::archetype::{Cause, Pack};
use crate::history::{NpcGrowth, NpcMood, NpcState};
use crate::wire::{EmotionLabel, EventKind, GoalInfo, Relationship};

/// Changes that are remembered; the oldest are forgotten, and what they changed stays.
const MAX_GROWTH: usize = 32;
/// How far a feeling at full intensity moves the mood.
const MOOD_STEP: f64 = 0.3;
/// How important something is that nobody has judged.
pub const IMPORTANCE: f32 = 0.5;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Mind {
    seed: u64,
    pack: Arc<Pack>,
    personality: Personality,
    body: Body,
    relationships: Relationships,
    goals: Goals,
    growth: Vec<NpcGrowth>,
    counts: BTreeMap<String, u64>,
    mood: Option<NpcMood>,
}

/// Something that happens to an NPC.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    pub kind: EventKind,
    /// Whose doing it is.
    pub player: String,
    /// The client's id of it.
    pub event: String,
    pub text: String,
    /// 0 to 1; `None`: [`IMPORTANCE`].
    pub importance: Option<f32>,
    /// Milliseconds since 1970, UTC.
    pub at_ms: u64,
}

impl Mind {
    /// The mind that a state tells of; what it lacks is as the seed and the pack make it.
    pub fn new(seed: u64, pack: Arc<Pack>, state: NpcState) -> Self {
        let tables = &pack.tables;
        let given = state.personality.as_ref();
        let personality = Personality::stored(&state.born, &state.drift)
            .unwrap_or_else(|| Personality::born(seed, &tables.personality, given));
        let body = Body::stored(&state.body, || Body::born(seed, &tables.body));
        let goals = Goals::stored(&tables.goals, &state.goals);
        Self {
            seed,
            personality,
            body,
            relationships: Relationships::stored(state.relationships),
            goals,
            growth: state.growth,
            counts: state.counts,
            mood: state.mood,
            pack,
        }
    }

    /// What is to be stored; `personality`: as it was given.
    pub fn to_state(&self, personality: Option<BTreeMap<String, f32>>) -> NpcState {
        let mut drift = self.personality.drift().by_key();
        drift.retain(|_, by| *by != 0.0);
        NpcState {
            personality,
            born: self.personality.at_birth().by_key(),
            drift,
            growth: self.growth.clone(),
            counts: self.counts.clone(),
            relationships: self.relationships.ties().clone(),
            goals: self.goals.to_store(&self.pack.tables.goals),
            body: self.body.to_map(),
            mood: self.mood,
        }
    }

    pub fn personality(&self) -> &Personality {
        &self.personality
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// What has made it drift, newest last.
    pub fn growth(&self) -> &[NpcGrowth] {
        &self.growth
    }

    /// What sets it apart from its kind, for prompts; see [`Personality::prompt_line`].
    pub fn prompt_line(&self) -> Option<String> {
        self.personality.prompt_line(&self.pack.tables.personality)
    }

    /// How unevenly its face moves, 0 to 1.
    pub fn asymmetry(&self) -> f32 {
        self.personality.asymmetry(self.body.asymmetry)
    }

    fn strangers(&self) -> Relationship {
        toward_strangers(&self.personality, &self.pack.tables.relationship)
    }

    /// What it thinks of a player.
    pub fn relationship(&self, player: &str, now_ms: u64) -> Relationship {
        self.relationships.of(player, now_ms, &self.strangers(), &self.pack.tables.relationship)
    }

    /// Changes what it thinks of a player, by what is asked for, within −1 to 1.
    pub fn shift(&mut self, player: &str, change: &Relationship, now_ms: u64) -> Shift {
        let strangers = self.strangers();
        self.relationships.shift(player, change, now_ms, &strangers, &self.pack.tables.relationship)
    }

    /// What it wants, most of all first.
    pub fn goals(&self, now_ms: u64) -> Vec<GoalInfo> {
        self.goals.list(&self.pack.tables.goals, now_ms)
    }

    /// Takes in a ranking of goals, the probability of each by its id; returns what it wants after it.
    pub fn rank(&mut self, ranking: &BTreeMap<String, f32>, now_ms: u64) -> Vec<GoalInfo> {
        self.goals.rank(&self.pack.tables.goals, ranking, now_ms)
    }

    /// Its mood, −1 to 1, which fades toward its own baseline.
    pub fn mood(&self, now_ms: u64) -> f32 {
        let base = f64::from(self.personality.mood_baseline());
        let Some(mood) = self.mood else { return rounded(base) };
        let passed = now_ms.saturating_sub(mood.at_ms) as f64;
        let left = libm::exp2(-passed / self.personality.mood_half_life_ms());
        rounded((base + (f64::from(mood.value) - base) * left).clamp(-1.0, 1.0))
    }

    /// It feels something (intensity 0 to 1): its mood moves by up to 0.3, and in the long run it grows by what it feels.
    pub fn feel(&mut self, label: EmotionLabel, intensity: f32, player: Option<&str>, now_ms: u64) {
        let intensity = if intensity.is_finite() { intensity.clamp(0.0, 1.0) } else { 0.0 };
        let Some(cause) = Cause::of_emotion(label) else { return };
        let moved = f64::from(self.mood(now_ms)) + MOOD_STEP * valence(label) * f64::from(intensity);
        self.mood = Some(NpcMood { value: rounded(moved.clamp(-1.0, 1.0)), at_ms: now_ms });
        self.grow(cause, intensity, player, now_ms);
    }

    /// Something happens to it: it grows, thinks differently of whose doing it was, wants other things, and an injury leaves
    /// a scar.
    pub fn happen(&mut self, what: &Happening) -> Shift {
        let cause = Cause::from(what.kind);
        let importance = what.importance.filter(|of| of.is_finite()).unwrap_or(IMPORTANCE).clamp(0.0, 1.0);
        if what.kind == EventKind::Injury {
            self.body.scar(self.seed, &what.event, &what.text, importance, what.at_ms);
        }
        let count = self.counts.entry(cause.name().to_owned()).or_default();
        *count = count.saturating_add(1);
        self.goals.raise(&self.pack.tables.goals, cause, importance, what.at_ms);
        let effect = Relationships::effect(&self.pack.tables.relationship, cause, importance);
        let shift = self.shift(&what.player, &effect, what.at_ms);
        self.grow(cause, importance, Some(&what.player), what.at_ms);
        shift
    }

    fn grow(&mut self, cause: Cause, importance: f32, player: Option<&str>, now_ms: u64) {
        let moved = self.personality.grow(&self.pack.tables.growth, cause, importance);
        if moved.is_empty() {
            return;
        }
        let again = self
            .growth
            .last()
            .is_some_and(|last| last.cause == cause.name() && last.player.as_deref() == player);
        if !again {
            if self.growth.len() >= MAX_GROWTH {
                self.growth.remove(0);
            }
            self.growth.push(NpcGrowth {
                cause: cause.name().to_owned(),
                player: player.map(str::to_owned),
                at_ms: now_ms,
                times: 0,
                moved: BTreeMap::new(),
            });
        }
        if let Some(last) = self.growth.last_mut() {
            last.at_ms = now_ms;
            last.times = last.times.saturating_add(1);
            for (of, by) in moved {
                *last.moved.entry(of.key().to_owned()).or_default() += by;
            }
        }
    }

    /// Forgets a player; tells whether it knew them. What they did to it stays, not whose doing it was.
    pub fn forget(&mut self, player: &str) -> bool {
        self.forget_until(player, u64::MAX)
    }

    /// Forgets what it has of a player up to a time.
    pub fn forget_until(&mut self, player: &str, until_ms: u64) -> bool {
        let mut knew = self.relationships.forget(player, until_ms);
        for growth in self.growth.iter_mut().filter(|growth| growth.at_ms <= until_ms) {
            knew |= growth.player.take_if(|of| of.as_str() == player).is_some();
        }
        knew
    }
}

/// Whether a feeling is pleasant, −1 to 1.
pub(super) const fn valence(label: EmotionLabel) -> f64 {
    match label {
        EmotionLabel::Neutral => 0.0,
        EmotionLabel::Joy => 1.0,
        EmotionLabel::Surprise => 0.1,
        EmotionLabel::Contempt => -0.4,
        EmotionLabel::Disgust => -0.6,
        EmotionLabel::Anger => -0.7,
        EmotionLabel::Sadness | EmotionLabel::Fear => -0.8,
    }
}
