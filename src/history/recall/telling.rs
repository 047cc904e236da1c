//! Memories as the model reads them.

use std::fmt::Write;
use std::sync::Arc;

use uuid::Uuid;

use super::Line;
use crate::history::memory::Memory;

/// Memories in one line.
const MAX_TOLD: usize = 4;
/// Characters of what one of the two said.
const MAX_CHARS: usize = 160;

/// What an NPC remembers for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// For the prompt.
    pub text: String,
    /// The memories in it.
    pub ids: Vec<Uuid>,
}

/// Puts memories into words, the first ones before others, in at most `budget` tokens. What does not fit is left out
/// whole; what is told is told in the order in which it happened.
pub fn tell(
    memories: &[Arc<Memory>],
    line: &Line,
    budget: usize,
    tokens: impl Fn(&str) -> usize,
) -> Option<Recalled> {
    let mut told: Vec<(Uuid, String)> = Vec::new();
    for memory in memories {
        let at = told.partition_point(|(id, _)| *id < memory.id);
        told.insert(at, (memory.id, phrase(memory, line)));
        if tokens(&sentence(&told)) > budget {
            told.remove(at);
        } else if told.len() == MAX_TOLD {
            break;
        }
    }
    if told.is_empty() {
        return None;
    }
    Some(Recalled { text: sentence(&told), ids: told.into_iter().map(|(id, _)| id).collect() })
}

fn sentence(told: &[(Uuid, String)]) -> String {
    let all: Vec<_> = told.iter().map(|(_, phrase)| phrase.as_str()).collect();
    format!("(You remember: {})", all.join("; "))
}

/// One memory. The line is spoken by its player, who is "I" therefore.
fn phrase(memory: &Memory, line: &Line) -> String {
    let mut phrase = ago(line.now_ms.saturating_sub(memory.at_ms));
    let own = memory.npc == line.npc;
    let (text, reply) = (clip(&memory.text), clip(&memory.reply));
    // Writing to a string does not fail.
    let _ = if memory.is_private() {
        let who = if memory.player == line.player { "I" } else { memory.player.as_str() };
        let (whom, answered) = if own { ("you", "you") } else { (memory.npc.as_str(), memory.npc.as_str()) };
        write!(phrase, " {who} told {whom} \"{text}\" and {answered} said \"{reply}\"")
    } else if own {
        write!(phrase, ", {text}")
    } else {
        write!(phrase, " you saw what happened to {}: {text}", memory.npc)
    };
    phrase
}

/// How long ago, in a few words.
fn ago(ms: u64) -> String {
    let hours = ms / 3_600_000;
    let (count, what) = match hours {
        0 => return "a moment ago".to_owned(),
        1..24 => (hours, "hour"),
        24..336 => (hours / 24, "day"),
        336..1440 => (hours / 168, "week"),
        1440..17_520 => (hours / 720, "month"),
        _ => (hours / 8760, "year"),
    };
    format!("{count} {what}{} ago", if count == 1 { "" } else { "s" })
}

/// A text in one line, cut between words.
fn clip(text: &str) -> String {
    let mut short = String::new();
    let mut chars = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if chars + length + 1 > MAX_CHARS {
            // A first word that is too long is cut anywhere.
            if short.is_empty() {
                short.extend(word.chars().take(MAX_CHARS));
            }
            short.push('…');
            return short;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(word);
        chars += length + 1;
    }
    short
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::history::memory::tests::told;
    use crate::history::record::Kind;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn line() -> Line<'static> {
        Line {
            npc: "lucy",
            archetype: "vampire",
            player: "anna",
            audience: &[],
            text: "",
            shown: HashSet::new(),
            now_ms: NOW,
        }
    }

    fn memories() -> Vec<Arc<Memory>> {
        let said = |hours: u64, reply: &str, memory: Memory| {
            Arc::new(Memory { at_ms: NOW - hours * HOUR, reply: reply.into(), ..memory })
        };
        let world = |npc: &str, text: &str| Memory { kind: Kind::Gift, ..told(npc, "ben", text) };
        vec![
            said(72, "I will look.", told("lucy", "anna", "I lost\nmy ring.")),
            said(3, "Indeed.", told("lucy", "ben", "It is cold.")),
            said(0, "", world("lucy", "Ben gave her a rose.")),
            said(800, "Never.", told("igor", "anna", "Help me.")),
            said(20_000, "", world("igor", "Ben gave him a bone.")),
        ]
    }

    fn chars(text: &str) -> usize {
        text.chars().count()
    }

    #[test]
    fn memories_are_put_into_words() {
        let one = |memory: Arc<Memory>| tell(&[memory], &line(), 1000, chars).unwrap().text;
        let told: Vec<_> = memories().into_iter().map(one).collect();
        assert_eq!(
            told,
            [
                r#"(You remember: 3 days ago I told you "I lost my ring." and you said "I will look.")"#,
                r#"(You remember: 3 hours ago ben told you "It is cold." and you said "Indeed.")"#,
                "(You remember: a moment ago, Ben gave her a rose.)",
                r#"(You remember: 4 weeks ago I told igor "Help me." and igor said "Never.")"#,
                "(You remember: 2 years ago you saw what happened to igor: Ben gave him a bone.)",
            ]
        );
    }

    #[test]
    fn what_fits_is_told_in_its_order() {
        let all = memories();
        let told = |budget| tell(&all, &line(), budget, chars);
        assert_eq!(told(10), None);
        let whole = told(1000).unwrap();
        assert_eq!(whole.ids, all[..MAX_TOLD].iter().map(|memory| memory.id).collect::<Vec<_>>());
        for budget in 20..400 {
            let Some(told) = told(budget) else { continue };
            assert!(chars(&told.text) <= budget && told.ids.is_sorted() && !told.ids.is_empty());
        }
        // The first one is too long, and what comes behind it is told instead.
        assert_eq!(told(55).unwrap().ids, [all[2].id]);
    }

    #[test]
    fn long_texts_are_cut_between_words() {
        let long = clip(&"word ".repeat(1000));
        assert!(chars(&long) <= MAX_CHARS + 1 && long.ends_with("word…"), "{long}");
        assert_eq!(chars(&clip(&"x".repeat(1000))), MAX_CHARS + 1);
        assert_eq!(clip(" a\n\n b "), "a b");
    }

    #[test]
    fn times_are_told_roughly() {
        let told = [0, 1, 23, 24, 335, 336, 1439, 1440, 17_519, 17_520].map(|hours| ago(hours * HOUR));
        assert_eq!(
            told,
            [
                "a moment ago",
                "1 hour ago",
                "23 hours ago",
                "1 day ago",
                "13 days ago",
                "2 weeks ago",
                "8 weeks ago",
                "2 months ago",
                "24 months ago",
                "2 years ago",
            ]
        );
    }
}
