//! Training lines: JSON Lines of chat messages.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archetype::{Pack, Task, stays_inside};
use crate::wire::{Action, EmotionLabel};

/// Bytes of a file of lines, of a line, and lines of a file that are read.
const MAX_FILE: u64 = 32 << 20;
const MAX_LINE: usize = 32 << 10;
const MAX_LINES: usize = 20_000;
/// Messages of a line, and characters of one.
const MAX_MESSAGES: usize = 16;
const MAX_CHARS: usize = 2000;
/// Actions or goals that a line offers.
const MAX_OFFERED: usize = 64;

/// A line that cannot be used, or a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}{at}: {reason}", path = path.display(), at = line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct LineError {
    pub path: PathBuf,
    /// From 1; `None`: it is about the file.
    pub line: Option<usize>,
    pub reason: String,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The player.
    User,
    /// The character.
    Assistant,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub role: Speaker,
    pub content: String,
}

/// One line: what the player says and what the character answers, in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub messages: Vec<Said>,
    /// `emotional_response`: the sentence of its own answer that the feeling is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// `action_policy`: what is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// `goal_prioritization`: what it could want; the pack's goals where this is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<String>,
}

impl Line {
    /// What the player says first.
    pub fn said(&self) -> &str {
        self.messages.first().map_or("", |said| &said.content)
    }

    /// What the character answers last.
    pub fn answer(&self) -> &str {
        self.messages.last().map_or("", |said| &said.content)
    }

    /// Questions and answers in it.
    pub fn exchanges(&self) -> usize {
        self.messages.len() / 2
    }
}

/// The lines of one task of an archetype.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    pub task: Task,
    pub lines: Vec<Line>,
}

impl Lines {
    /// The file of a task's lines in a pack's folder.
    pub fn path(packs: &Path, archetype: &str, task: Task) -> PathBuf {
        packs.join(archetype).join("lines").join(format!("{task}.jsonl"))
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`LineError`] names the file, the line and what is wrong with it.
    pub fn read(packs: &Path, pack: &Pack, task: Task) -> Result<Self, LineError> {
        let path = Self::path(packs, &pack.name, task);
        let about = |line: Option<usize>, reason: String| LineError { path: path.clone(), line, reason };
        let io = |error: std::io::Error| about(None, error.to_string());
        let meta = std::fs::metadata(&path).map_err(io)?;
        if !meta.is_file() {
            return Err(about(None, "is no file".into()));
        }
        stays_inside(&packs.join(&pack.name), &path).map_err(|error| about(None, error.to_string()))?;
        let file = std::fs::File::open(&path).map_err(io)?;
        let mut reader = BufReader::new(file.take(MAX_FILE + 1));
        let (mut lines, mut seen, mut bytes, mut text) = (Vec::new(), HashSet::new(), 0, String::new());
        for number in 1.. {
            text.clear();
            let read = reader.read_line(&mut text).map_err(|e| about(Some(number), e.to_string()))?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            if bytes > MAX_FILE {
                return Err(about(None, format!("has more than {MAX_FILE} bytes, the most that are read")));
            }
            if text.trim().is_empty() {
                continue;
            }
            let line = parse(&text, pack, task).map_err(|reason| about(Some(number), reason))?;
            if !seen.insert(serde_json::to_string(&line).unwrap_or_default()) {
                return Err(about(Some(number), "is there twice".into()));
            }
            if lines.len() == MAX_LINES {
                return Err(about(Some(number), format!("a file may have {MAX_LINES} lines")));
            }
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(about(None, "holds no line".into()));
        }
        Ok(Self { task, lines })
    }
}

fn parse(text: &str, pack: &Pack, task: Task) -> Result<Line, String> {
    if text.len() > MAX_LINE {
        return Err(format!("has {} bytes; at most {MAX_LINE} are read", text.len()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let line: Line = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (key, reason) = (error.path().to_string(), error.inner().to_string());
        if key == "." { reason } else { format!("{key}: {reason}") }
    })?;
    json.end().map_err(|error| error.to_string())?;
    check(&line, pack, task)?;
    Ok(line)
}

fn check(line: &Line, pack: &Pack, task: Task) -> Result<(), String> {
    let count = line.messages.len();
    if count == 0 || count > MAX_MESSAGES || count % 2 == 1 {
        return Err(format!(
            "messages: there are {count}; wanted: pairs of user and assistant, at most {MAX_MESSAGES}"
        ));
    }
    for (at, said) in line.messages.iter().enumerate() {
        let wanted = if at % 2 == 0 { Speaker::User } else { Speaker::Assistant };
        if said.role != wanted {
            return Err(format!("messages[{at}].role: user and assistant take turns, the user first"));
        }
        text(&format!("messages[{at}].content"), &said.content)?;
    }
    if let Some(sentence) = &line.sentence {
        text("sentence", sentence)?;
    }
    if line.actions.len() > MAX_OFFERED || line.goals.len() > MAX_OFFERED {
        return Err(format!("at most {MAX_OFFERED} actions or goals are offered"));
    }
    let only = |key: &str, there: bool, of: Task| {
        if there && task != of { Err(format!("{key}: belongs to lines of {of} only")) } else { Ok(()) }
    };
    only("sentence", line.sentence.is_some(), Task::EmotionalResponse)?;
    only("actions", !line.actions.is_empty(), Task::ActionPolicy)?;
    only("goals", !line.goals.is_empty(), Task::GoalPrioritization)?;
    for (at, action) in line.actions.iter().enumerate() {
        text(&format!("actions[{at}].name"), &action.name)?;
    }
    if Task::SPOKEN.contains(&task) {
        return Ok(());
    }
    if count != 2 {
        return Err("messages: a question has one answer".into());
    }
    let options = options(line, pack, task);
    if options.is_empty() {
        return Err("actions: there are none to choose from".into());
    }
    let answer = line.answer();
    if !options.iter().any(|option| option == answer) {
        return Err(format!("messages[1].content: {answer:?} is none of {}", options.join(", ")));
    }
    Ok(())
}

/// What a question's line lets the character choose from; empty for what is spoken.
pub(super) fn options(line: &Line, pack: &Pack, task: Task) -> Vec<String> {
    match task {
        Task::EmotionalResponse => EmotionLabel::ALL.iter().map(|label| label.name().to_owned()).collect(),
        Task::SocialDynamics => crate::turn::shifts().map(str::to_owned).collect(),
        Task::ActionPolicy => line.actions.iter().map(|action| action.name.clone()).collect(),
        Task::GoalPrioritization => goals(line, pack),
        Task::Personality | Task::DialogueStyle | Task::WorldKnowledge => Vec::new(),
    }
}

/// The goals of a line, or those of the pack.
pub(super) fn goals(line: &Line, pack: &Pack) -> Vec<String> {
    if line.goals.is_empty() {
        pack.tables.goals.iter().map(|goal| goal.text.clone()).collect()
    } else {
        line.goals.clone()
    }
}

fn text(key: &str, text: &str) -> Result<(), String> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > MAX_CHARS {
        return Err(format!(
            "{key}: has {chars} characters, and must have 1 to {MAX_CHARS} and not be blank"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Packs;

    fn refused(task: Task, text: &str) -> String {
        let packs = tempfile::tempdir().unwrap();
        let pack = Packs::load(None).unwrap().get("vampire").unwrap().as_ref().clone();
        let path = Lines::path(packs.path(), "vampire", task);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let good = r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"fear"}]}"#;
        std::fs::write(&path, format!("{good}\n\n{text}\n")).unwrap();
        let error = Lines::read(packs.path(), &pack, task).unwrap_err();
        assert_eq!((error.line, &error.path), (Some(3), &path), "{error}");
        error.reason
    }

    #[test]
    fn an_error_names_the_line_and_the_key() {
        let exchange = |user: &str, answer: &str, more: &str| {
            format!(
                r#"{{"messages":[{{"role":"user","content":"{user}"}},{{"role":"assistant","content":"{answer}"}}]{more}}}"#
            )
        };
        let emotion = Task::EmotionalResponse;
        assert!(
            refused(emotion, &exchange("Ho", "rage", ""))
                .starts_with("messages[1].content: \"rage\" is none of neutral")
        );
        assert!(refused(emotion, &exchange(" ", "fear", "")).starts_with("messages[0].content"));
        assert!(refused(emotion, &exchange("Hi", "fear", "")).contains("twice"));
        assert!(refused(emotion, &exchange("Ho", "fear", r#","goals":["a"]"#)).starts_with("goals"));
        assert!(refused(emotion, &exchange("Ho", "fear", r#","mood":1"#)).contains("mood"));
        assert!(
            refused(emotion, r#"{"messages":[{"role":"narrator","content":"x"}]}"#)
                .starts_with("messages[0].role")
        );
        assert!(refused(emotion, r#"{"messages":[]}"#).contains("pairs"));
        assert!(refused(emotion, "no json").contains("expected"));
        assert!(refused(Task::DialogueStyle, &exchange("Ho", &"x".repeat(2001), "")).contains("2001"));
        let turned = r#"{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"b"}]}"#;
        assert!(refused(Task::DialogueStyle, turned).contains("take turns"));
    }

    #[cfg(unix)]
    #[test]
    fn no_link_leads_out_of_the_pack() {
        let folder = tempfile::tempdir().unwrap();
        let pack = Packs::load(None).unwrap().get("vampire").unwrap().as_ref().clone();
        let path = Lines::path(folder.path(), "vampire", Task::DialogueStyle);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret").unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        let error = Lines::read(folder.path(), &pack, Task::DialogueStyle).unwrap_err().to_string();
        assert!(error.contains("leads out of the pack's folder") && !error.contains("a secret"), "{error}");
    }

    #[test]
    fn the_lines_of_the_packs_are_good_and_many() {
        let folder = Path::new("adapters");
        let packs = Packs::load(Some(folder)).unwrap();
        for pack in packs.iter() {
            for task in Task::ALL {
                let lines = Lines::read(folder, pack, task).unwrap();
                let least = match task {
                    Task::DialogueStyle => 150,
                    Task::Personality | Task::WorldKnowledge => 60,
                    _ => 120,
                };
                let count: usize = lines.lines.iter().map(Line::exchanges).sum();
                assert!(count >= least, "{}: {count} of {task}", pack.name);
            }
        }
    }
}
