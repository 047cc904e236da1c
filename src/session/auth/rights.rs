//! What the scope `play` may not do unless it is granted.

use crate::config::PlayGrant;
use crate::wire::{ErrorCode, ErrorPayload, SayFrame};

/// What a session may do besides talking to NPCs that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // A set of seven.
pub struct Rights {
    /// `npc.join` may make an NPC.
    pub create: bool,
    /// `say` may have `mix`, `context`, `audience`.
    pub mix: bool,
    pub context: bool,
    pub audience: bool,
    /// `event` and `action.result`.
    pub event: bool,
    pub action: bool,
    /// `npc.act`.
    pub act: bool,
}

impl Rights {
    /// Of the scope `director`.
    pub const ALL: Self =
        Self { create: true, mix: true, context: true, audience: true, event: true, action: true, act: true };

    /// Of the scope `play` with these grants.
    pub fn granted(grants: &[PlayGrant]) -> Self {
        Self {
            create: grants.contains(&PlayGrant::Create),
            mix: grants.contains(&PlayGrant::Mix),
            context: grants.contains(&PlayGrant::Context),
            audience: grants.contains(&PlayGrant::Audience),
            event: grants.contains(&PlayGrant::Event),
            action: grants.contains(&PlayGrant::Action),
            act: grants.contains(&PlayGrant::Act),
        }
    }

    /// Refuses a line with a key that is not granted, whatever the key's value.
    pub fn check_say(self, say: &SayFrame) -> Result<(), Box<ErrorPayload>> {
        let keys = [
            ("mix", say.mix.is_some(), self.mix),
            ("context", say.context.is_some(), self.context),
            ("audience", say.audience.is_some(), self.audience),
        ];
        match keys.into_iter().find(|(_, sent, granted)| *sent && !granted) {
            None => Ok(()),
            Some((key, ..)) => {
                let message =
                    format!("`{key}` needs the scope director, or {key} among the server's auth.play_grants");
                Err(Box::new(ErrorPayload {
                    turn: Some(say.turn.clone()),
                    npc: Some(say.npc.clone()),
                    field: Some(key.into()),
                    ..ErrorPayload::new(ErrorCode::Forbidden, message)
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_grant_of_its_own() {
        let plain = SayFrame {
            npc: "n".into(),
            turn: "t".into(),
            text: "hi".into(),
            actions: vec![],
            context: None,
            generation: None,
            mix: None,
            audience: None,
        };
        let lines = [
            (PlayGrant::Mix, "mix", SayFrame { mix: Some([].into()), ..plain.clone() }),
            (PlayGrant::Context, "context", SayFrame { context: Some(String::new()), ..plain.clone() }),
            (PlayGrant::Audience, "audience", SayFrame { audience: Some(vec![]), ..plain.clone() }),
        ];
        assert_eq!(Rights::default().check_say(&plain), Ok(()));
        for (grant, key, line) in &lines {
            for (other, ..) in &lines {
                let checked = Rights::granted(&[*other]).check_say(line);
                if other == grant {
                    assert_eq!(checked, Ok(()));
                } else {
                    let error = checked.unwrap_err();
                    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Forbidden, Some(*key)));
                }
            }
            assert_eq!(Rights::ALL.check_say(line), Ok(()));
        }
    }
}
