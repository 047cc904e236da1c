//! What traits do. Everything here is a function of a personality alone; all of it is bounded, and a personality whose
//! traits are all 0 changes nothing.

use std::collections::BTreeMap;

use super::Personality;
use crate::archetype::{Task, Trait as T};

/// How far a factor goes to either side of 1.
const REACH: f64 = 0.5;
/// Weights come in steps of this: an engine keeps what it has computed for a mix as long as the mix is the same.
const WEIGHT_STEP: f64 = 0.05;
/// After so long half of a mood is left, in milliseconds, if no trait says otherwise.
const MOOD_HALF_LIFE_MS: f64 = 300_000.0;

/// The traits that something comes from, each with its sign.
type Signs = &'static [(T, f64)];

const TASKS: [(Task, Signs); 7] = [
    (
        Task::Personality,
        &[
            (T::Assertiveness, 1.0),
            (T::Immoderation, 1.0),
            (T::Narcissism, 1.0),
            (T::SelfConsciousness, -1.0),
        ],
    ),
    (
        Task::DialogueStyle,
        &[(T::Cheerfulness, 1.0), (T::ExcitementSeeking, 1.0), (T::Imagination, 1.0), (T::Modesty, -1.0)],
    ),
    (
        Task::ActionPolicy,
        &[
            (T::ActivityLevel, 1.0),
            (T::Adventurousness, 1.0),
            (T::Immoderation, 1.0),
            (T::Cautiousness, -1.0),
        ],
    ),
    (
        Task::EmotionalResponse,
        &[(T::Anxiety, 1.0), (T::Anger, 1.0), (T::Emotionality, 1.0), (T::Vulnerability, 1.0)],
    ),
    (
        Task::WorldKnowledge,
        &[(T::Intellect, 1.0), (T::ArtisticInterests, 1.0), (T::Imagination, 1.0), (T::Arcana, 1.0)],
    ),
    (
        Task::SocialDynamics,
        &[(T::Friendliness, 1.0), (T::Gregariousness, 1.0), (T::Trust, 1.0), (T::Pack, 1.0)],
    ),
    (
        Task::GoalPrioritization,
        &[
            (T::AchievementStriving, 1.0),
            (T::SelfDiscipline, 1.0),
            (T::Orderliness, 1.0),
            (T::Immoderation, -1.0),
        ],
    ),
];

const EXPRESSIVE: Signs = &[
    (T::Cheerfulness, 1.0),
    (T::Gregariousness, 1.0),
    (T::Emotionality, 1.0),
    (T::SelfConsciousness, -1.0),
    (T::Cautiousness, -1.0),
];
const INTENSE: Signs = &[
    (T::Anxiety, 1.0),
    (T::Anger, 1.0),
    (T::Depression, 1.0),
    (T::Vulnerability, 1.0),
    (T::Emotionality, 1.0),
];
const SLOW: Signs =
    &[(T::Depression, 1.0), (T::Anxiety, 1.0), (T::Vulnerability, 1.0), (T::Adventurousness, -1.0)];
const HAPPY: Signs = &[(T::Cheerfulness, 1.0), (T::Depression, -1.0), (T::Vulnerability, -1.0)];
const HESITANT: Signs = &[
    (T::Cautiousness, 1.0),
    (T::SelfConsciousness, 1.0),
    (T::Immoderation, -1.0),
    (T::ActivityLevel, -1.0),
    (T::Assertiveness, -1.0),
];
const SCORNFUL: Signs = &[(T::Narcissism, 1.0), (T::Psychopathy, 1.0), (T::Sadism, 1.0), (T::Sympathy, -1.0)];

impl Personality {
    /// The mean of some traits with their signs, −1 to 1.
    fn mean(&self, of: Signs) -> f64 {
        of.iter().map(|(named, sign)| sign * self.settled(*named)).sum::<f64>() / of.len() as f64
    }

    /// 1 + half the mean of the traits: 0.5 to 1.5.
    fn factor(&self, of: Signs) -> f64 {
        (1.0 + REACH * self.mean(of)).clamp(1.0 - REACH, 1.0 + REACH)
    }

    /// What the weight of each task's adapter is multiplied with, 0.5 to 1.5 in steps of 0.05: 1 + half the mean of four
    /// traits.
    pub fn weights(&self) -> BTreeMap<Task, f32> {
        let weight = |of| (libm::round(self.factor(of) / WEIGHT_STEP) * WEIGHT_STEP) as f32;
        TASKS.iter().map(|(task, of)| (*task, weight(of))).collect()
    }

    /// How much of what it feels shows in its face, 0.5 to 1.5.
    pub fn expressivity(&self) -> f32 {
        self.factor(EXPRESSIVE) as f32
    }

    /// What the intensity of its emotions is multiplied with, 0.5 to 1.5.
    pub fn intensity(&self) -> f32 {
        self.factor(INTENSE) as f32
    }

    /// The mood that it comes back to, −0.5 to 0.5.
    pub fn mood_baseline(&self) -> f32 {
        (REACH * self.mean(HAPPY)) as f32
    }

    /// After how many milliseconds half of a mood is left: five minutes × 2 to the power of twice the mean of four traits,
    /// from 75 s to 20 minutes.
    pub fn mood_half_life_ms(&self) -> f64 {
        MOOD_HALF_LIFE_MS * libm::exp2(2.0 * self.mean(SLOW))
    }

    /// What the probability that an action needs is multiplied with, 0.5 to 1.5: the hesitant do less.
    pub fn action_threshold(&self) -> f32 {
        self.factor(HESITANT) as f32
    }

    /// How uneven its face moves, 0 to 1: a quarter for scorn, three quarters for how uneven the face is (0 to 1).
    pub fn asymmetry(&self, face: f32) -> f32 {
        (0.75 * face.clamp(0.0, 1.0) + 0.25 * self.mean(SCORNFUL).max(0.0) as f32).clamp(0.0, 1.0)
    }
}
