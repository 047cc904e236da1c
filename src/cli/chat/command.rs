//! What a player types.

use std::collections::BTreeMap;

use crate::wire::TASKS;

/// The commands, for `/help`.
pub(super) const HELP: &str = "\
/npc ID [ARCHETYPE]      talk to another NPC; a new one needs an archetype
/mix TASK=WEIGHT ...     weights (-2 to 2) of this NPC's adapters; /mix default undoes it
/cancel                  stop the answer that is running (so does Ctrl-C)
/help                    this list
/quit                    leave (so does Ctrl-C twice, or the end of the input)
A line that begins with // is said with one slash.";

/// One line of input, understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Say(String),
    Npc {
        id: String,
        archetype: Option<String>,
    },
    /// Weights over those set before.
    Mix(BTreeMap<String, f32>),
    /// The pack's own weights again.
    MixDefault,
    Cancel,
    Help,
    Quit,
}

/// Reads a line; `Ok(None)`: nothing on it. An error says what is wrong and what would be right.
pub(super) fn parse(line: &str) -> Result<Option<Command>, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let Some(rest) = line.strip_prefix('/') else { return Ok(Some(Command::Say(line.to_owned()))) };
    if rest.starts_with('/') {
        return Ok(Some(Command::Say(rest.to_owned())));
    }
    let mut words = rest.split_whitespace();
    let name = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let command = match (name, words.as_slice()) {
        ("npc", [id]) => Command::Npc { id: (*id).to_owned(), archetype: None },
        ("npc", [id, archetype]) => {
            Command::Npc { id: (*id).to_owned(), archetype: Some((*archetype).to_owned()) }
        }
        ("npc", _) => return Err("usage: /npc ID [ARCHETYPE]".to_owned()),
        ("mix", ["default"]) => Command::MixDefault,
        ("mix", []) => {
            return Err(format!("usage: /mix TASK=WEIGHT ... or /mix default; tasks: {}", TASKS.join(", ")));
        }
        ("mix", weights) => Command::Mix(weights.iter().map(|word| weight(word)).collect::<Result<_, _>>()?),
        ("cancel", []) => Command::Cancel,
        ("help" | "?", []) => Command::Help,
        ("quit" | "exit" | "q", []) => Command::Quit,
        ("cancel" | "help" | "?" | "quit" | "exit" | "q", _) => {
            return Err(format!("/{name} takes nothing after it"));
        }
        _ => return Err(format!("there is no command /{name}; /help lists them")),
    };
    Ok(Some(command))
}

/// `dialogue_style=1.5`
fn weight(word: &str) -> Result<(String, f32), String> {
    let (task, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is not TASK=WEIGHT"))?;
    if !TASKS.contains(&task) {
        return Err(format!("there is no task {task:?}; tasks: {}", TASKS.join(", ")));
    }
    let number = value.parse::<f32>().ok().filter(|number| (-2.0..=2.0).contains(number));
    match number {
        Some(number) => Ok((task.to_owned(), number)),
        None => Err(format!("the weight of {task} is {value:?}, but must be a number from -2 to 2")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(line: &str) -> Command {
        parse(line).unwrap().unwrap()
    }

    #[test]
    fn lines_are_said() {
        assert_eq!(command("  Who are you? "), Command::Say("Who are you?".to_owned()));
        assert_eq!(command("//npc x"), Command::Say("/npc x".to_owned()));
        assert_eq!(parse(" \t"), Ok(None));
    }

    #[test]
    fn commands_are_understood() {
        let npc = |archetype: Option<&str>| Command::Npc {
            id: "v:1".to_owned(),
            archetype: archetype.map(str::to_owned),
        };
        assert_eq!(command("/npc v:1"), npc(None));
        assert_eq!(command("/npc  v:1\tlich "), npc(Some("lich")));
        assert_eq!(command("/cancel"), Command::Cancel);
        assert_eq!(command("/help"), Command::Help);
        assert_eq!((command("/quit"), command("/q")), (Command::Quit, Command::Quit));
        assert_eq!(command("/mix default"), Command::MixDefault);
        let mix = [("personality".to_owned(), -2.0), ("dialogue_style".to_owned(), 0.5)];
        assert_eq!(command("/mix personality=-2 dialogue_style=.5"), Command::Mix(mix.into_iter().collect()));
    }

    #[test]
    fn mistakes_are_explained() {
        let cases = [
            ("/npc", "usage: /npc ID"),
            ("/npc a b c", "usage: /npc ID"),
            ("/mix", "usage: /mix TASK=WEIGHT"),
            ("/mix personality", "\"personality\" is not TASK=WEIGHT"),
            ("/mix mood=1", "there is no task \"mood\""),
            ("/mix personality=2.1", "must be a number from -2 to 2"),
            ("/mix personality=nan", "must be a number from -2 to 2"),
            ("/cancel now", "/cancel takes nothing"),
            ("/say x", "there is no command /say"),
            ("/", "there is no command /"),
        ];
        for (line, expected) in cases {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_parser(line in any::<String>()) {
            if let Ok(Some(Command::Say(text))) = parse(&line) {
                prop_assert!(!text.is_empty() && line.contains(&text));
            }
        }
    }
}
