//! A player is erased: sessions, turns, replay buffers, and everything that is stored.

use std::time::Instant;

use super::gateway::Gateway;
use crate::history::{Erased, HistoryError};
use crate::metrics::Done;
use crate::wire::CloseCode;

impl Gateway {
    /// Takes a player out of everything. The player's sockets are closed with 4503; who hears the player's turns may find
    /// frames missing on a resume, and is told so as always. When this returns nothing of the player is left.
    ///
    /// # Errors
    /// [`HistoryError`]: it may have been done in part, and is to be asked for again.
    pub async fn erase_player(&self, player: &str) -> Result<Erased, HistoryError> {
        let began = Instant::now();
        self.end_all_of(player, CloseCode::Forbidden);
        let erased = self.turns.erase(player).await;
        self.metrics.erasures.of(if erased.is_ok() { Done::Done } else { Done::Failed }).inc();
        self.metrics.erasure.observe(began.elapsed());
        let erased = erased?;
        // Once more, for one that opened in between: its turns began later and stay, its frames go.
        for session in self.sessions.all() {
            session.forget_naming(&[&in_json(player), &in_msgpack(player)]);
        }
        tracing::info!(interactions = erased.interactions, mentions = erased.mentions, "a player was erased");
        Ok(erased)
    }
}

/// What every JSON frame of a turn of this player has in it. The bare name would not do: a short one is part of most words.
fn in_json(player: &str) -> Vec<u8> {
    let map = serde_json::json!({ "player": player }).to_string();
    // Without the braces.
    map.as_bytes()[1..map.len() - 1].to_vec()
}

/// The same in MessagePack.
fn in_msgpack(player: &str) -> Vec<u8> {
    // Two texts are always written.
    let pair = rmp_serde::to_vec(&["player", player]).unwrap_or_default();
    // Without the byte that makes an array of them.
    pair[pair.len().min(1)..].to_vec()
}

#[cfg(test)]
mod tests {
    use memchr::memmem::find;

    use super::*;
    use crate::wire::{DialogueDelta, ServerFrame, Subprotocol, encode_server};

    fn delta(player: &str) -> ServerFrame {
        ServerFrame::DialogueDelta(DialogueDelta {
            turn: "a".into(),
            player: player.into(),
            text: "a player \"a\" was a banana".into(),
            offset: 0,
            t_ms: 0,
            tokens: 1,
        })
    }

    #[test]
    fn frames_of_the_player_are_found_and_no_others() {
        let long = "n".repeat(300);
        for player in ["a", "Anna \"the bat\" \u{e9}\\", &long] {
            let mut others = vec!["b".to_owned(), format!("{player}a"), format!("a{player}")];
            others.extend(["a".to_owned(), long.clone()].into_iter().filter(|other| other != player));
            for (subprotocol, words) in
                [(Subprotocol::Json, in_json(player)), (Subprotocol::Msgpack, in_msgpack(player))]
            {
                let named = |name: &str| {
                    let frame = encode_server(subprotocol, &delta(name), Some(1), None).unwrap();
                    find(&frame, &words).is_some()
                };
                assert!(named(player), "{subprotocol:?} {player:?}");
                for other in &others {
                    assert!(!named(other), "{subprotocol:?} {player:?} {other:?}");
                }
            }
        }
    }
}
