//! What of the past is in a line's prompt: the window of its conversation, and what the NPC remembers for it.

use super::TurnError;
use super::prompt::Prompt;
use super::run::Runner;
use crate::history::{Exchange, Line, Recalled, tell};
use crate::wire::ErrorCode;

/// Characters that a token has, about, where nobody counts tokens.
const TOKEN_CHARS: usize = 4;

impl Runner {
    /// The line's prompt, and what the NPC remembers in it.
    pub(super) async fn prompt(&self) -> Result<(Prompt, Option<Recalled>), TurnError> {
        let say = &self.say;
        let audience = say.audience.as_deref().unwrap_or_default();
        let window = self.turns.history.hot().window(&say.npc, &say.player, audience);
        let fit =
            |recalled: Option<&Recalled>| self.turns.fit(&self.npc, say, &window, recalled, self.max_tokens);
        if let Some(recalled) = self.recalled(audience, &window).await {
            match fit(Some(&recalled)) {
                Ok(prompt) => return Ok((prompt, Some(recalled))),
                // There is no room for it: the line without it was looked at before.
                Err(error) if error.code == ErrorCode::TextTooLong => {}
                Err(error) => return Err(error),
            }
        }
        Ok((fit(None)?, None))
    }

    async fn recalled(&self, audience: &[String], window: &[Exchange]) -> Option<Recalled> {
        let history = &self.turns.history;
        let budget = history.recall_tokens();
        if budget == 0 {
            return None;
        }
        let told = window.iter().flat_map(|exchange| exchange.recalled.iter().flat_map(|told| &told.ids));
        let line = Line {
            npc: &self.say.npc,
            archetype: &self.npc.info.archetype,
            player: &self.say.player,
            audience,
            text: &self.say.text,
            shown: window.iter().map(|exchange| &exchange.id).chain(told).copied().collect(),
            now_ms: self.say.at_ms,
        };
        let memories = history.recalled(&line).await;
        tell(&memories, &line, budget, |text| match self.turns.engine.tokenizer() {
            Some(tokenizer) => tokenizer.encode_text(text).len(),
            None => text.chars().count().div_ceil(TOKEN_CHARS),
        })
    }
}
