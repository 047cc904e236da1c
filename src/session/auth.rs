//! Who a token stands for.

use crate::config::AuthMode;
use crate::wire::MAX_ID_CHARS;

/// A player who may have a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    pub name: String,
    pub scopes: Vec<String>,
}

/// The player of a token; `None` if the token is no good.
///
/// In `dev` mode the token is the player's name: 1 to 64 characters, none of them a control character. Every
/// scope is granted.
pub fn authenticate(mode: AuthMode, token: &str) -> Option<Player> {
    match mode {
        AuthMode::Dev => {
            let length = token.chars().take(MAX_ID_CHARS + 1).count();
            if length == 0 || length > MAX_ID_CHARS || token.chars().any(char::is_control) {
                return None;
            }
            let scopes = ["play", "director", "admin"].map(str::to_owned).into();
            Some(Player { name: token.to_owned(), scopes })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dev_token_is_the_name_of_the_player() {
        let player = authenticate(AuthMode::Dev, "Mina Härker").unwrap();
        assert_eq!(player.name, "Mina Härker");
        assert_eq!(player.scopes, ["play", "director", "admin"]);
        assert!(authenticate(AuthMode::Dev, &"ß".repeat(64)).is_some());
    }

    #[test]
    fn names_that_cannot_be_names_are_refused() {
        for token in ["", "a\nb", "\u{0}", "\u{7f}", "\u{9f}", &"x".repeat(65)] {
            assert_eq!(authenticate(AuthMode::Dev, token), None, "{token:?}");
        }
    }
}
