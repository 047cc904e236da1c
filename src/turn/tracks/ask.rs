//! The questions of a turn: short prompts with a closed list of answers.
//!
//! Each begins with the persona and the question, which stay, so that a repeat computes only what was said.

use std::fmt::Write;

use crate::archetype::Pack;
use crate::engine::{EngineError, MAX_OPTIONS, Message, Role, Tokenizer};
use crate::wire::{Action, Axis, Choice, EmotionLabel, Relationship};

/// Characters of what was said, of the end of it, that a question shows.
const SAID_CHARS: usize = 400;

/// What stands for no change.
const NOTHING: &str = "nothing";

/// A question with its answers. The prompt is made of the first system message that leaves room for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// From the most to the least that the model is told; at least one.
    pub(super) systems: Vec<String>,
    message: String,
    /// Each once, none empty, at most [`MAX_OPTIONS`].
    pub options: Vec<String>,
}

impl Question {
    /// What the NPC feels about what was said, or with a `sentence` of its own answer behind it.
    pub fn emotion(pack: &Pack, name: &str, said: &str, sentence: Option<&str>) -> Self {
        let options: Vec<_> = EmotionLabel::ALL.iter().map(|label| label.name().to_owned()).collect();
        let asked = format!("Name what you feel, in one word: {}.", list(&options));
        let mut message = clip(said);
        if let Some(sentence) = sentence {
            message = format!("{message}\nYou answer: {}", clip(sentence));
        }
        Self { systems: vec![system(pack, name, &asked)], message, options }
    }

    /// What the NPC does, of what the client offers: at least one action.
    pub fn action(pack: &Pack, name: &str, said: &str, actions: &[Action]) -> Self {
        let options: Vec<String> = names(actions).into_iter().map(str::to_owned).collect();
        let mut described = String::new();
        for action in actions {
            // Writing into a string does not fail.
            let _ = write!(described, "\n{}: {}", action.name, action.description);
        }
        let asked = "Say what you do, in one of these words";
        let systems = [
            format!("{asked}:{described}"),
            format!("{asked}: {}.", list(&options)),
            "Say what you do, in one word.".to_owned(),
        ];
        let systems = systems.iter().map(|asked| system(pack, name, asked)).collect();
        Self { systems, message: clip(said), options }
    }

    /// How what was said changes what the NPC thinks of the player. The options are those of [`SHIFTS`].
    pub fn social(pack: &Pack, name: &str, said: &str) -> Self {
        let options: Vec<_> = SHIFTS.iter().map(|(word, _)| (*word).to_owned()).collect();
        let asked = format!("Name what this visitor makes grow in you, in one word: {}.", list(&options));
        Self { systems: vec![system(pack, name, &asked)], message: clip(said), options }
    }

    /// What the NPC wants now. `goals` are texts, each once.
    pub fn goal(pack: &Pack, name: &str, said: &str, goals: &[String]) -> Self {
        let asked = "Say what you want most now";
        let systems = [format!("{asked}: {}.", list(goals)), format!("{asked}.")];
        let systems = systems.iter().map(|asked| system(pack, name, asked)).collect();
        let options = goals.iter().take(MAX_OPTIONS).cloned().collect();
        Self { systems, message: clip(said), options }
    }

    /// The same about nothing.
    pub fn about_nothing(&self) -> Self {
        Self { message: "N/A".to_owned(), ..self.clone() }
    }

    /// What was chosen, by these probabilities of its options.
    pub fn answer(&self, probs: &[f32]) -> Choice {
        let (at, _) = likeliest(probs);
        Choice {
            choice: self.options.get(at).cloned().unwrap_or_default(),
            probs: self.options.iter().cloned().zip(probs.iter().copied()).collect(),
        }
    }

    /// The prompt's tokens, at most `limit`.
    ///
    /// # Errors
    /// [`EngineError::PromptTooLong`]; an error of the chat template.
    pub fn tokens(&self, tokenizer: &Tokenizer, limit: usize) -> Result<Vec<u32>, EngineError> {
        let mut length = 0;
        for system in &self.systems {
            let messages = [Message::new(Role::System, system), Message::new(Role::User, &self.message)];
            let tokens = tokenizer.render_chat(&messages, true)?;
            if tokens.len() <= limit {
                return Ok(tokens);
            }
            length = tokens.len();
        }
        Err(EngineError::PromptTooLong { tokens: length, limit })
    }
}

/// What may grow in an NPC, by the word that the model chooses, and what that does to the relationship.
const SHIFTS: [(&str, Option<(Axis, f32)>); 9] = [
    ("trust", Some((Axis::Trust, 1.0))),
    ("doubt", Some((Axis::Trust, -1.0))),
    ("respect", Some((Axis::Respect, 1.0))),
    ("scorn", Some((Axis::Respect, -1.0))),
    ("fear", Some((Axis::Fear, 1.0))),
    ("ease", Some((Axis::Fear, -1.0))),
    ("affection", Some((Axis::Affection, 1.0))),
    ("dislike", Some((Axis::Affection, -1.0))),
    (NOTHING, None),
];

/// The words that stand for what may grow in an NPC, and for nothing.
pub fn shifts() -> impl Iterator<Item = &'static str> {
    SHIFTS.iter().map(|(word, _)| *word)
}

/// How far a line can shift an axis.
const REACH: f32 = 0.15;
/// How much better the two know each other after a line.
const FAMILIARITY: f32 = 0.01;

/// How a line changes what the NPC thinks of the player: each axis by 0.15 · (p(what makes it grow) − p(what makes it
/// shrink)), and they know each other better by 0.01. `probs`: of the answers to [`Question::social`].
pub fn shift(probs: &[f32]) -> Relationship {
    let mut change = Relationship { familiarity: FAMILIARITY, ..Relationship::default() };
    for ((_, grows), p) in SHIFTS.iter().zip(probs) {
        let Some((axis, sign)) = grows else { continue };
        let value = match axis {
            Axis::Trust => &mut change.trust,
            Axis::Respect => &mut change.respect,
            Axis::Familiarity => &mut change.familiarity,
            Axis::Fear => &mut change.fear,
            Axis::Affection => &mut change.affection,
        };
        *value += REACH * sign * p;
    }
    change
}

/// The place of the likeliest, the first of those that are as likely, and how likely it is.
pub fn likeliest(probs: &[f32]) -> (usize, f32) {
    let likelier = |best: (usize, f32), (at, p): (usize, &f32)| if *p > best.1 { (at, *p) } else { best };
    probs.iter().enumerate().fold((0, 0.0), likelier)
}

/// The names of actions, each once, as many as can be asked for.
pub fn names(actions: &[Action]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for action in actions {
        if names.len() < MAX_OPTIONS && !names.contains(&action.name.as_str()) {
            names.push(&action.name);
        }
    }
    names
}

fn system(pack: &Pack, name: &str, asked: &str) -> String {
    format!("{}\n{asked}", pack.persona.replace("{name}", name))
}

/// `a, b or c`.
fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The end of a text.
fn clip(text: &str) -> String {
    let text = text.trim();
    let from = text.char_indices().rev().nth(SAID_CHARS - 1).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Packs;

    fn action(name: &str, description: &str) -> Action {
        Action { name: name.into(), description: description.into() }
    }

    #[test]
    fn every_option_is_there_once() {
        let packs = Packs::load(None).unwrap();
        let pack = packs.get("vampire").unwrap();
        let offered = [action("bow", "bow low"), action("flee", ""), action("bow", "again")];
        let question = Question::action(pack, "Lucy", "Hi", &offered);
        assert_eq!(question.options, ["bow", "flee"]);
        assert!(question.systems[0].contains("\nbow: bow low\nflee: "), "{question:?}");
        let many: Vec<_> = (0..400).map(|i| action(&format!("a{i}"), "")).collect();
        assert_eq!(Question::action(pack, "Lucy", "Hi", &many).options.len(), MAX_OPTIONS);
        assert_eq!(Question::emotion(pack, "Lucy", "Hi", None).options.len(), EmotionLabel::ALL.len());
        assert!(Question::emotion(pack, "Lucy", "Hi", Some("Go.")).message.ends_with("Hi\nYou answer: Go."));
        assert!(Question::social(pack, "Lucy", "Hi").systems[0].contains("You are Lucy"));
    }

    #[test]
    fn what_grows_against_what_shrinks_is_the_shift() {
        let mut probs = [0.0; SHIFTS.len()];
        (probs[0], probs[1], probs[5], probs[8]) = (0.5, 0.25, 0.2, 0.05);
        let change = shift(&probs);
        let near = |value: f32, wanted: f32| assert!((value - wanted).abs() < 1e-6, "{change:?}");
        near(change.trust, 0.15 * 0.25);
        near(change.fear, -0.15 * 0.2);
        near(change.familiarity, FAMILIARITY);
        near(change.respect + change.affection, 0.0);
    }

    #[test]
    fn of_a_long_text_the_end_is_shown() {
        let long = format!("{}né", "x".repeat(2000));
        let shown = clip(&long);
        assert_eq!(shown.chars().count(), SAID_CHARS);
        assert!(shown.ends_with("né"));
        assert_eq!(clip(" short "), "short");
    }
}
