//! The fifty traits of a character.
//!
//! - `neo_`: the 30 facets of the five-factor model, under the names of the IPIP-NEO, which is in the public domain
//!   (Goldberg 1999; Johnson 2014, <https://doi.org/10.1016/j.jrp.2014.05.003>), six for each of neuroticism,
//!   extraversion, openness, agreeableness and conscientiousness, in that order.
//! - `hexaco_`: the four facets of honesty-humility (Ashton & Lee 2007).
//! - `dark_`: the dark tetrad (Paulhus & Williams 2002; sadism: Buckels, Jones & Paulhus 2013).
//! - `moral_`: the six moral foundations (Haidt 2012).
//! - `drive_`: what moves creatures; our own.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

macro_rules! traits {
    ($($name:ident $key:literal,)*) => {
        /// A trait. The order is fixed: it is that of draws, and new ones would change who every NPC is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trait {
            $($name,)*
        }

        impl Trait {
            /// All of them, in the order of the enum.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name,)*];

            /// As files and the wire name it; the family comes first.
            pub const fn key(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)*
                }
            }
        }
    };
}

traits! {
    Anxiety "neo_anxiety",
    Anger "neo_anger",
    Depression "neo_depression",
    SelfConsciousness "neo_self_consciousness",
    Immoderation "neo_immoderation",
    Vulnerability "neo_vulnerability",
    Friendliness "neo_friendliness",
    Gregariousness "neo_gregariousness",
    Assertiveness "neo_assertiveness",
    ActivityLevel "neo_activity_level",
    ExcitementSeeking "neo_excitement_seeking",
    Cheerfulness "neo_cheerfulness",
    Imagination "neo_imagination",
    ArtisticInterests "neo_artistic_interests",
    Emotionality "neo_emotionality",
    Adventurousness "neo_adventurousness",
    Intellect "neo_intellect",
    Liberalism "neo_liberalism",
    Trust "neo_trust",
    Morality "neo_morality",
    Altruism "neo_altruism",
    Cooperation "neo_cooperation",
    Modesty "neo_modesty",
    Sympathy "neo_sympathy",
    SelfEfficacy "neo_self_efficacy",
    Orderliness "neo_orderliness",
    Dutifulness "neo_dutifulness",
    AchievementStriving "neo_achievement_striving",
    SelfDiscipline "neo_self_discipline",
    Cautiousness "neo_cautiousness",
    Sincerity "hexaco_sincerity",
    Fairness "hexaco_fairness",
    GreedAvoidance "hexaco_greed_avoidance",
    Humility "hexaco_modesty",
    Machiavellianism "dark_machiavellianism",
    Narcissism "dark_narcissism",
    Psychopathy "dark_psychopathy",
    Sadism "dark_sadism",
    Care "moral_care",
    Justice "moral_fairness",
    Loyalty "moral_loyalty",
    Authority "moral_authority",
    Sanctity "moral_sanctity",
    Liberty "moral_liberty",
    Hunger "drive_hunger",
    Bloodlust "drive_bloodlust",
    Territory "drive_territory",
    Pack "drive_pack",
    Decay "drive_decay",
    Arcana "drive_arcana",
}

impl Trait {
    /// How many there are.
    pub const COUNT: usize = 50;

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// A name that is no [`Trait`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no trait of that name; adapters/README.md lists the 50 that there are")]
pub struct UnknownTrait;

impl FromStr for Trait {
    type Err = UnknownTrait;

    fn from_str(key: &str) -> Result<Self, UnknownTrait> {
        Self::ALL.into_iter().find(|known| known.key() == key).ok_or(UnknownTrait)
    }
}

/// One number for each trait.
#[derive(Clone, Copy, PartialEq)]
pub struct Traits<T = f32>([T; Trait::COUNT]);

impl<T: Copy> Traits<T> {
    pub fn new(of: impl FnMut(Trait) -> T) -> Self {
        Self(Trait::ALL.map(of))
    }

    /// Each with its trait, in the order of the traits.
    pub fn iter(&self) -> impl Iterator<Item = (Trait, T)> {
        Trait::ALL.into_iter().zip(self.0)
    }

    /// By key, as stores and the wire have them.
    pub fn by_key(&self) -> BTreeMap<String, T> {
        self.iter().map(|(named, value)| (named.key().to_owned(), value)).collect()
    }
}

impl<T: Default + Copy> Default for Traits<T> {
    fn default() -> Self {
        Self([T::default(); Trait::COUNT])
    }
}

impl<T: fmt::Debug + Copy> fmt::Debug for Traits<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(named, value)| (named.key(), value))).finish()
    }
}

impl<T> std::ops::Index<Trait> for Traits<T> {
    type Output = T;

    fn index(&self, named: Trait) -> &T {
        &self.0[named.index()]
    }
}

impl<T> std::ops::IndexMut<Trait> for Traits<T> {
    fn index_mut(&mut self, named: Trait) -> &mut T {
        &mut self.0[named.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fifty_in_their_families() {
        let of = |family: &str| Trait::ALL.iter().filter(|named| named.key().starts_with(family)).count();
        let families = ["neo_", "hexaco_", "dark_", "moral_", "drive_"].map(of);
        assert_eq!(families, [30, 4, 4, 6, 6]);
        for (at, named) in Trait::ALL.into_iter().enumerate() {
            assert_eq!((named.index(), named.key().parse()), (at, Ok(named)));
        }
        assert!("neo_charm".parse::<Trait>().is_err());
    }
}
