//! Text from the other end of a socket, on its way to a terminal.

/// Takes out what could act on a terminal: control characters but the line break, and the marks that turn
/// the direction of text. A tab becomes a space.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' => Some('\n'),
            '\t' => Some(' '),
            c if c.is_control() => None,
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => None,
            c => Some(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_lose_their_power() {
        assert_eq!(clean("a\x1b[31mb\u{9b}2J\r\x07\x08\tc\nd\u{202e}e"), "a[31mb2J c\nde");
        assert_eq!(clean("Éva 🧛🏻‍♀️ שלום"), "Éva 🧛🏻‍♀️ שלום");
    }

    proptest! {
        #[test]
        fn nothing_but_line_breaks_is_left_of_the_control_characters(text in prop::collection::vec(any::<char>(), 0..64)) {
            let text: String = text.into_iter().collect();
            prop_assert!(clean(&text).chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
