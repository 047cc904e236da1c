//! Text as Postgres takes it: its `text` and `jsonb` hold every character but U+0000.

use std::borrow::Cow;

/// Stands before what is written in another way. Nobody has a use for it: it is for private use, on plane 15.
const MARK: char = '\u{F0000}';
/// Behind the mark: U+0000, and the mark itself.
const ZERO: char = '0';
const ITSELF: char = '1';

/// As Postgres takes it.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\0' => escaped.extend([MARK, ZERO]),
            MARK => escaped.extend([MARK, ITSELF]),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// As it was.
pub(super) fn unescape(text: String) -> String {
    if !text.contains(MARK) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == MARK
            && let Some(meant) = chars.next_if(|&c| c == ZERO || c == ITSELF)
        {
            plain.push(if meant == ZERO { '\0' } else { MARK });
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_back(text in "[\0a01\u{F0000}é]{0,20}") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains('\0'));
            prop_assert_eq!(unescape(escaped.into_owned()), text);
        }
    }
}
