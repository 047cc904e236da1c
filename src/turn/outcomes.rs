//! What became of the actions that an NPC proposed: it knows when it next speaks to the player.

use std::collections::VecDeque;

use dashmap::DashMap;

/// Conversations that have something to be told; past it the next one is told of nothing.
const MAX_CONVERSATIONS: usize = 10_000;
/// Outcomes of one conversation; of more the last ones count.
const MAX_OUTCOMES: usize = 4;

/// By NPC and player.
#[derive(Debug, Default)]
pub(super) struct Outcomes(DashMap<(String, String), VecDeque<String>>);

impl Outcomes {
    /// The game has done what the NPC proposed, or has not.
    pub fn add(&self, npc: &str, player: &str, action: &str, ok: bool, reason: Option<&str>) {
        let key = (npc.to_owned(), player.to_owned());
        if self.0.len() >= MAX_CONVERSATIONS && !self.0.contains_key(&key) {
            return;
        }
        let told = match (ok, reason.map(str::trim).filter(|reason| !reason.is_empty())) {
            (true, _) => format!("You did this: {action}."),
            (false, None) => format!("You could not do this: {action}."),
            (false, Some(reason)) => format!("You could not do this: {action} ({reason})."),
        };
        let mut outcomes = self.0.entry(key).or_default();
        if outcomes.len() == MAX_OUTCOMES {
            outcomes.pop_front();
        }
        outcomes.push_back(told);
    }

    /// What the NPC is to know now, and not again, before what is around.
    pub fn told_in(&self, npc: &str, player: &str, context: Option<String>) -> Option<String> {
        let Some((_, outcomes)) = self.0.remove(&(npc.to_owned(), player.to_owned())) else { return context };
        let outcomes = Vec::from(outcomes).join(" ");
        Some(match context.filter(|context| !context.trim().is_empty()) {
            Some(context) => format!("{outcomes} {context}"),
            None => outcomes,
        })
    }

    pub fn forget_player(&self, player: &str) {
        self.0.retain(|(_, known), _| known != player);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_once_and_to_nobody_else() {
        let outcomes = Outcomes::default();
        outcomes.add("lucy", "anna", "bow", true, None);
        outcomes.add("lucy", "anna", "flee", false, Some("the door is shut"));
        outcomes.add("lucy", "ben", "flee", false, None);
        let told = outcomes.told_in("lucy", "anna", Some("A hall.".into()));
        let both = "You did this: bow. You could not do this: flee (the door is shut). A hall.";
        assert_eq!(told.as_deref(), Some(both));
        assert_eq!(outcomes.told_in("lucy", "anna", Some("A hall.".into())).as_deref(), Some("A hall."));
        assert_eq!(outcomes.told_in("igor", "ben", None), None);
        assert_eq!(outcomes.told_in("lucy", "ben", None).as_deref(), Some("You could not do this: flee."));
        for i in 0..9 {
            outcomes.add("lucy", "anna", &format!("a{i}"), true, None);
        }
        outcomes.forget_player("ben");
        let last = outcomes.told_in("lucy", "anna", None).unwrap();
        assert!(last.starts_with("You did this: a5.") && last.ends_with("a8."), "{last}");
        outcomes.add("lucy", "anna", "bow", true, None);
        outcomes.forget_player("anna");
        assert_eq!(outcomes.told_in("lucy", "anna", None), None);
    }
}
