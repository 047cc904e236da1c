//! The marks of a vocabulary, and how they are found in the words of a chat template.

use std::collections::HashMap;

/// A token that stands for a mark and that plain text never yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub id: u32,
    pub text: String,
    /// Swallows the space before it.
    pub lstrip: bool,
    /// Swallows the space after it.
    pub rstrip: bool,
}

/// A stretch of a template's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    Mark(u32),
    /// Never empty.
    Text(&'a str),
}

/// All marks of a vocabulary.
#[derive(Debug)]
pub(super) struct Marks {
    /// Longest text first, so that the first that fits is the longest.
    list: Vec<Mark>,
    ids: HashMap<String, u32>,
    places: HashMap<u32, usize>,
}

impl Marks {
    /// Marks with an empty text are left out.
    pub(super) fn new(mut marks: Vec<Mark>) -> Self {
        marks.retain(|mark| !mark.text.is_empty());
        marks.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then_with(|| a.text.cmp(&b.text)));
        let ids = marks.iter().map(|mark| (mark.text.clone(), mark.id)).collect();
        let places = marks.iter().enumerate().map(|(index, mark)| (mark.id, index)).collect();
        Self { list: marks, ids, places }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.places.get(&id).map(|&index| self.list[index].text.as_str())
    }

    /// Splits a template's words at the marks: at each place the longest mark that stands there.
    /// Takes O(length × marks); a template's words are short.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<Segment<'a>> {
        let mut segments = Vec::new();
        let mut rest = text;
        let mut at = 0;
        while at < rest.len() {
            // Marks are whole strings, so a match can only begin at a character's first byte.
            let found = self.list.iter().find(|mark| rest.as_bytes()[at..].starts_with(mark.text.as_bytes()));
            let Some(mark) = found else {
                at += 1;
                continue;
            };
            let before = &rest[..at];
            let before = if mark.lstrip { before.trim_end() } else { before };
            if !before.is_empty() {
                segments.push(Segment::Text(before));
            }
            segments.push(Segment::Mark(mark.id));
            rest = &rest[at + mark.text.len()..];
            if mark.rstrip {
                rest = rest.trim_start();
            }
            at = 0;
        }
        if !rest.is_empty() {
            segments.push(Segment::Text(rest));
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: u32, text: &str) -> Mark {
        Mark { id, text: text.to_owned(), lstrip: false, rstrip: false }
    }

    #[test]
    fn the_longest_mark_wins_and_text_between_is_kept() {
        let marks = Marks::new(vec![mark(1, "<a>"), mark(2, "<a><b>"), mark(3, "é!"), mark(4, "")]);
        assert_eq!(
            marks.split("x<a><b>é<a>yé!"),
            [
                Segment::Text("x"),
                Segment::Mark(2),
                Segment::Text("é"),
                Segment::Mark(1),
                Segment::Text("y"),
                Segment::Mark(3)
            ]
        );
        assert!(marks.split("").is_empty());
        assert_eq!((marks.len(), marks.id("<a>"), marks.name(2)), (3, Some(1), Some("<a><b>")));
    }

    #[test]
    fn stripping_marks_swallow_the_space_beside_them() {
        let both = Mark { lstrip: true, rstrip: true, ..mark(7, "<m>") };
        let marks = Marks::new(vec![both]);
        assert_eq!(marks.split("a \n<m> \tb"), [Segment::Text("a"), Segment::Mark(7), Segment::Text("b")]);
        assert_eq!(marks.split("  <m>  "), [Segment::Mark(7)]);
    }
}
