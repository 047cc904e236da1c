//! Traits in words, for prompts.

use super::Personality;
use crate::archetype::{PersonalityTable, Trait};

/// Traits that are told at most.
const TOLD: usize = 3;
/// How marked a trait has to be, and how many standard deviations from what its kind is like: what all of them have in
/// common is the pack's to say.
const MARKED: f64 = 0.15;
const UNUSUAL: f64 = 0.75;

impl Personality {
    /// What sets it apart from its kind, in one short sentence: "You are patient, vain and quick to anger." `None`: nothing
    /// does. It stays the same while traits drift by less than 0.1.
    pub fn prompt_line(&self, kind: &PersonalityTable) -> Option<String> {
        let mut marked: Vec<(f64, Trait, bool)> = Trait::ALL
            .into_iter()
            .filter_map(|of| {
                let (value, sd) = (self.settled(of), kind.sd[of]);
                let apart = if sd > 0.0 { (value - kind.mean[of]) / sd } else { 0.0 };
                let told = value.abs() >= MARKED && value * apart > 0.0 && apart.abs() >= UNUSUAL;
                told.then_some((apart.abs(), of, value > 0.0))
            })
            .collect();
        // A stable sort: of two alike the first trait.
        marked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut told: Vec<&str> = Vec::with_capacity(TOLD);
        for (_, of, high) in marked {
            let (low_words, high_words) = words(of);
            let phrase = if high { high_words } else { low_words };
            if told.len() < TOLD && !told.contains(&phrase) {
                told.push(phrase);
            }
        }
        let last = told.pop()?;
        let list = if told.is_empty() { last.to_owned() } else { format!("{} and {last}", told.join(", ")) };
        Some(format!("You are {list}."))
    }
}

/// What goes behind "You are" for one who has little of a trait, and much.
const fn words(of: Trait) -> (&'static str, &'static str) {
    match of {
        Trait::Anxiety => ("calm", "easily worried"),
        Trait::Anger => ("slow to anger", "quick to anger"),
        Trait::Depression => ("untroubled", "gloomy"),
        Trait::SelfConsciousness => ("unashamed", "shy"),
        Trait::Immoderation => ("restrained", "greedy for pleasure"),
        Trait::Vulnerability => ("steady under pressure", "easily overwhelmed"),
        Trait::Friendliness => ("distant", "warm"),
        Trait::Gregariousness => ("solitary", "fond of company"),
        Trait::Assertiveness => ("yielding", "commanding"),
        Trait::ActivityLevel => ("unhurried", "always busy"),
        Trait::ExcitementSeeking => ("fond of quiet", "hungry for thrills"),
        Trait::Cheerfulness => ("serious", "merry"),
        Trait::Imagination => ("matter-of-fact", "dreamy"),
        Trait::ArtisticInterests => ("blind to beauty", "moved by beauty"),
        Trait::Emotionality => ("guarded", "full of feeling"),
        Trait::Adventurousness => ("set in your ways", "adventurous"),
        Trait::Intellect => ("plain-minded", "curious about ideas"),
        Trait::Liberalism => ("traditional", "scornful of tradition"),
        Trait::Trust => ("suspicious", "trusting"),
        Trait::Morality => ("crafty", "straightforward"),
        Trait::Altruism => ("selfish", "helpful"),
        Trait::Cooperation => ("quarrelsome", "agreeable"),
        Trait::Modesty => ("boastful", "modest"),
        Trait::Sympathy => ("unmoved by suffering", "tender-hearted"),
        Trait::SelfEfficacy => ("unsure of yourself", "sure of yourself"),
        Trait::Orderliness => ("untidy", "orderly"),
        Trait::Dutifulness => ("careless of promises", "true to your word"),
        Trait::AchievementStriving => ("content with little", "ambitious"),
        Trait::SelfDiscipline => ("easily distracted", "disciplined"),
        Trait::Cautiousness => ("rash", "careful"),
        Trait::Sincerity => ("a flatterer", "sincere"),
        Trait::Fairness => ("ready to cheat", "fair"),
        Trait::GreedAvoidance => ("greedy", "indifferent to riches"),
        Trait::Humility => ("sure that you deserve more", "humble"),
        Trait::Machiavellianism => ("open in your dealings", "scheming"),
        Trait::Narcissism => ("free of vanity", "vain"),
        Trait::Psychopathy => ("quick to feel guilt", "cold-blooded"),
        Trait::Sadism => ("loath to hurt", "cruel"),
        Trait::Care => ("indifferent to harm", "protective of the weak"),
        Trait::Justice => ("untroubled by injustice", "outraged by injustice"),
        Trait::Loyalty => ("loyal to nobody", "loyal to your own"),
        Trait::Authority => ("defiant", "respectful of rank"),
        Trait::Sanctity => ("irreverent", "reverent"),
        Trait::Liberty => ("content to be ruled", "unwilling to be ruled"),
        Trait::Hunger => ("seldom hungry", "always hungry"),
        Trait::Bloodlust => ("sickened by blood", "thirsty for blood"),
        Trait::Territory => ("at home nowhere", "jealous of your ground"),
        Trait::Pack => ("a loner", "bound to your own kind"),
        Trait::Decay => ("afraid of decay", "at ease with decay"),
        Trait::Arcana => ("wary of magic", "drawn to magic"),
    }
}
