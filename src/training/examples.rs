//! Lines as the server asks the model: the same prompts, as tokens.

use npc_trainer::Example;
use sha2::{Digest, Sha256};

use super::lines::{Line, Lines, Speaker, goals};
use crate::archetype::{Pack, Task};
use crate::engine::{EngineError, Message, Role, Tokenizer};
use crate::turn;

/// Names that the lines of an archetype are told with: few, so that many lines begin alike and are computed together.
const NAMES: usize = 4;

/// One part in this many is held out.
const HELD_OUT: u64 = 10;

/// A question whose answer is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub prompt: Vec<u32>,
    pub options: Vec<String>,
    /// The place of the right one.
    pub answer: usize,
    /// The prompt of the same question about nothing.
    pub nothing: Vec<u32>,
}

/// A line as tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// One for each answer of the character.
    pub examples: Vec<Example>,
    /// `None`: it is spoken.
    pub question: Option<Question>,
    /// By it alone it is settled whether the line is held out, and in which fold it is.
    pub hash: u64,
}

impl Item {
    /// The same question about nothing.
    pub(super) fn about_nothing(&self) -> Option<Self> {
        let question = self.question.as_ref()?;
        let nothing = Question { prompt: question.nothing.clone(), ..question.clone() };
        Some(Self { examples: Vec::new(), question: Some(nothing), hash: self.hash })
    }
}

/// The lines of a task as tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Items(pub Vec<Item>);

impl Items {
    /// # Errors
    /// Of the chat template; a line that is longer than the model reads.
    pub fn new(
        lines: &Lines,
        pack: &Pack,
        tokenizer: &Tokenizer,
        context: usize,
    ) -> Result<Self, EngineError> {
        let item = |line: &Line| item(line, lines.task, pack, tokenizer, context);
        Ok(Self(lines.lines.iter().map(item).collect::<Result<_, _>>()?))
    }

    /// What is learned from, and what is held out: a tenth of the lines, by their texts.
    /// Of few lines one at least, and one at least is learned from.
    pub fn split(&self) -> (Vec<&Item>, Vec<&Item>) {
        let (mut learned, mut held_out): (Vec<&Item>, Vec<&Item>) =
            self.0.iter().partition(|item| item.hash % HELD_OUT != 0);
        let lowest =
            |items: &[&Item]| items.iter().enumerate().min_by_key(|(_, item)| item.hash).map(|(at, _)| at);
        if held_out.is_empty() && learned.len() > 1 {
            held_out.extend(lowest(&learned).map(|at| learned.remove(at)));
        } else if learned.is_empty() {
            learned.extend(lowest(&held_out).map(|at| held_out.remove(at)));
        }
        (learned, held_out)
    }

    /// The examples of the lines that are held out.
    pub fn held_out(&self) -> Vec<Example> {
        examples(self.split().1)
    }

    /// Of `folds` parts, all but the one of this number, and that one.
    pub fn fold(&self, fold: u64, folds: u64) -> (Vec<&Item>, Vec<&Item>) {
        self.0.iter().partition(|item| item.hash / HELD_OUT % folds != fold)
    }
}

/// The examples of items.
pub(super) fn examples<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<Example> {
    items.into_iter().flat_map(|item| item.examples.clone()).collect()
}

fn item(
    line: &Line,
    task: Task,
    pack: &Pack,
    tokenizer: &Tokenizer,
    context: usize,
) -> Result<Item, EngineError> {
    let hash = hash(line);
    let group = (hash % pack.names.len().clamp(1, NAMES) as u64) as usize;
    let name = pack.names.get(group).map_or("", String::as_str);
    if Task::SPOKEN.contains(&task) {
        return Ok(Item { examples: spoken(line, pack, name, tokenizer, group)?, question: None, hash });
    }
    let said = line.said();
    let question = match task {
        Task::EmotionalResponse => turn::Question::emotion(pack, name, said, line.sentence.as_deref()),
        Task::ActionPolicy => turn::Question::action(pack, name, said, &line.actions),
        Task::SocialDynamics => turn::Question::social(pack, name, said),
        _ => turn::Question::goal(pack, name, said, &goals(line, pack)),
    };
    let prompt = question.tokens(tokenizer, context)?;
    // Lines are checked: it is there.
    let answer = question.options.iter().position(|option| option == line.answer()).unwrap_or(0);
    let example = Example::answer(&prompt, &tokenizer.encode_text(&question.options[answer]), group);
    let nothing = question.about_nothing().tokens(tokenizer, context)?;
    let question = Question { prompt, options: question.options, answer, nothing };
    Ok(Item { examples: vec![example], question: Some(question), hash })
}

/// An example for each answer, behind all that was said before it.
fn spoken(
    line: &Line,
    pack: &Pack,
    name: &str,
    tokenizer: &Tokenizer,
    group: usize,
) -> Result<Vec<Example>, EngineError> {
    let mut messages = vec![Message::new(Role::System, turn::system_message(pack, name, None))];
    let mut examples = Vec::new();
    for said in &line.messages {
        let role = match said.role {
            Speaker::User => Role::User,
            Speaker::Assistant => {
                let prompt = tokenizer.render_chat(&messages, true)?;
                let mut whole = messages.clone();
                whole.push(Message::new(Role::Assistant, &*said.content));
                let whole = tokenizer.render_chat(&whole, false)?;
                // The answer, and the mark behind it that ends it.
                let answer = whole.strip_prefix(&*prompt).map(|answer| {
                    let end = answer
                        .iter()
                        .position(|token| tokenizer.is_end(*token))
                        .map_or(answer.len(), |at| at + 1);
                    &answer[..end]
                });
                let Some(answer) = answer.filter(|answer| !answer.is_empty()) else {
                    return Err(EngineError::BadModel {
                        path: "chat_template.jinja".into(),
                        reason: "an answer does not stand behind the prompt that asks for it".into(),
                    });
                };
                examples.push(Example::answer(&prompt, answer, group));
                Role::Assistant
            }
        };
        messages.push(Message::new(role, &*said.content));
    }
    Ok(examples)
}

/// Of what is said and answered, the same on every machine.
fn hash(line: &Line) -> u64 {
    let mut digest = Sha256::new();
    for text in line.messages.iter().map(|said| &said.content).chain(&line.sentence) {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let digest = digest.finalize();
    u64::from_le_bytes(digest.first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_learned_from_and_something_is_held_out() {
        let items = |hashes: &[u64]| {
            Items(
                hashes
                    .iter()
                    .map(|hash| Item { examples: Vec::new(), question: None, hash: *hash })
                    .collect(),
            )
        };
        let sizes = |hashes: &[u64]| {
            let items = items(hashes);
            let (learned, held_out) = items.split();
            (learned.len(), held_out.len())
        };
        assert_eq!(sizes(&[1, 20, 30, 4, 50]), (2, 3));
        assert_eq!(sizes(&[1, 2, 3]), (2, 1));
        assert_eq!(sizes(&[10, 20]), (1, 1));
        assert_eq!((sizes(&[10]), sizes(&[1])), ((1, 0), (1, 0)));
        // Each line is in one fold.
        let items = items(&(0..97).map(|at| at * 7).collect::<Vec<_>>());
        let asked: usize = (0..5).map(|fold| items.fold(fold, 5).1.len()).sum();
        assert_eq!(asked, 97);
    }
}
