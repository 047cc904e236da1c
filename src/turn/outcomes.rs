//! What became of the actions that an NPC proposed: it knows when it next speaks to the player.

use std::collections::VecDeque;

use dashmap::DashMap;

/// Conversations that have something to be told; past it one of them is forgotten.
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
            let some = self.0.iter().next().map(|entry| entry.key().clone());
            some.and_then(|some| self.0.remove(&some));
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

    /// What the NPC is to know now, before what is around, and how many outcomes that tells of.
    pub fn told_in(&self, npc: &str, player: &str, context: Option<String>) -> (Option<String>, usize) {
        let outcomes: Vec<String> = self
            .0
            .view(&(npc.to_owned(), player.to_owned()), |_, outcomes| outcomes.iter().cloned().collect())
            .unwrap_or_default();
        if outcomes.is_empty() {
            return (context, 0);
        }
        let told = outcomes.join(" ");
        let context = match context.filter(|context| !context.trim().is_empty()) {
            Some(context) => format!("{told} {context}"),
            None => told,
        };
        (Some(context), outcomes.len())
    }

    /// So many were told in a line that is stored: they are not told again.
    pub fn were_told(&self, npc: &str, player: &str, count: usize) {
        if count == 0 {
            return;
        }
        self.0.remove_if_mut(&(npc.to_owned(), player.to_owned()), |_, outcomes| {
            outcomes.drain(..count.min(outcomes.len()));
            outcomes.is_empty()
        });
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
        let both = "You did this: bow. You could not do this: flee (the door is shut). A hall.";
        let hall = || Some("A hall.".to_owned());
        // Until a line with it is stored.
        for _ in 0..2 {
            assert_eq!(outcomes.told_in("lucy", "anna", hall()), (Some(both.to_owned()), 2));
        }
        outcomes.were_told("lucy", "anna", 2);
        assert_eq!(outcomes.told_in("lucy", "anna", hall()), (hall(), 0));
        assert_eq!(outcomes.told_in("igor", "ben", None), (None, 0));
        let could_not = "You could not do this: flee.".to_owned();
        assert_eq!(outcomes.told_in("lucy", "ben", None), (Some(could_not), 1));
        for i in 0..9 {
            outcomes.add("lucy", "anna", &format!("a{i}"), true, None);
        }
        outcomes.forget_player("ben");
        let last = outcomes.told_in("lucy", "anna", None).0.unwrap();
        assert!(last.starts_with("You did this: a5.") && last.ends_with("a8."), "{last}");
        outcomes.were_told("lucy", "anna", 3);
        assert_eq!(outcomes.told_in("lucy", "anna", None).1, 1);
        outcomes.forget_player("anna");
        assert_eq!(outcomes.told_in("lucy", "anna", None), (None, 0));
    }
}
