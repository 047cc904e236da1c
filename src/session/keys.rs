//! The secrets that open a session again.

use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The resume tokens of a session: 122 random bits each.
///
/// A resume makes a new one. Until a frame of the client shows that it has arrived, the one that was used goes on
/// working: the answer may have been lost with its socket. Used again, it brings the same new one: which of two
/// sockets that a client opened in haste is heard first is not in its hands, and either answer must do.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    current: Uuid,
    previous: Option<Uuid>,
}

impl Keys {
    pub fn new() -> Self {
        Self { current: Uuid::new_v4(), previous: None }
    }

    /// What the client is given.
    pub fn token(&self) -> String {
        self.current.simple().to_string()
    }

    /// Whether a token is one of these. The time that it takes tells nothing about them.
    pub fn fit(&self, token: &str) -> bool {
        self.fitting(token).is_some()
    }

    /// The keys after a resume with this token; `None` if it does not fit.
    pub fn turned(&self, token: &str) -> Option<Self> {
        let used = self.fitting(token)?;
        Some(match self.previous {
            Some(previous) if previous == used => *self,
            _ => Self { current: Uuid::new_v4(), previous: Some(used) },
        })
    }

    /// The client has the newest token.
    pub fn confirm(&mut self) {
        self.previous = None;
    }

    fn fitting(&self, token: &str) -> Option<Uuid> {
        let same = |key: Uuid| {
            let mut text = Uuid::encode_buffer();
            bool::from(key.simple().encode_lower(&mut text).as_bytes().ct_eq(token.as_bytes()))
        };
        let (current, previous) = (same(self.current), self.previous.filter(|&key| same(key)));
        if current { Some(self.current) } else { previous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_token_works_until_the_new_one_has_arrived() {
        let first = Keys::new();
        let mut second = first.turned(&first.token()).unwrap();
        assert_ne!(first.token(), second.token());
        assert!(second.fit(&first.token()) && second.fit(&second.token()));
        // Used again, because the answer was lost.
        assert_eq!(second.turned(&first.token()).unwrap().token(), second.token());
        // The newest was used, so it has arrived.
        let third = second.turned(&second.token()).unwrap();
        assert!(third.fit(&third.token()) && third.fit(&second.token()) && !third.fit(&first.token()));
        second.confirm();
        assert!(!second.fit(&first.token()) && second.fit(&second.token()));
    }

    #[test]
    fn nothing_else_fits() {
        let keys = Keys::new();
        let token = keys.token();
        assert_eq!(token.len(), 32);
        let others =
            ["", &token[..31], &format!("{token}0"), &token.to_uppercase().replace(char::is_numeric, "A")];
        for other in others.into_iter().chain([Keys::new().token().as_str()]) {
            assert!(!keys.fit(other) && keys.turned(other).is_none(), "{other:?}");
        }
    }
}
