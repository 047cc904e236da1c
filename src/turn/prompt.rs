//! What the model reads for one line.
//!
//! Append-only: the persona first, then past exchanges as they were, and everything that is new (what is
//! around, what was said) in the newest message alone. The next prompt then begins with this one.

use crate::archetype::Pack;
use crate::engine::{EngineError, Message, Role, Tokenizer};
use crate::history::Exchange;

/// The persona: who the NPC is, how it speaks, what it knows.
pub fn system_message(pack: &Pack, name: &str) -> String {
    let mut text = pack.persona.replace("{name}", name);
    for (heading, lines) in [("How you speak:", &pack.speech), ("What you know:", &pack.lore)] {
        if lines.is_empty() {
            continue;
        }
        text.push('\n');
        text.push_str(heading);
        for line in lines {
            text.push(' ');
            text.push_str(&line.replace("{name}", name));
        }
    }
    text
}

/// The newest message: what is around, then what was said.
pub fn player_message(context: Option<&str>, text: &str) -> String {
    match context.map(str::trim) {
        Some(context) if !context.is_empty() => format!("({context})\n{}", text.trim()),
        _ => text.trim().to_owned(),
    }
}

/// The tokens of a prompt that fit into `limit`. If all exchanges do not, the window drops to the newest `keep`
/// at once, so that the next prompts begin like this one, and only then one by one.
///
/// # Errors
/// [`EngineError::PromptTooLong`] if it does not fit without any; an error of the chat template.
pub fn tokens(
    tokenizer: &Tokenizer,
    system: &str,
    window: &[Exchange],
    message: &str,
    limit: usize,
    keep: usize,
) -> Result<Vec<u32>, EngineError> {
    let mut skip = 0;
    loop {
        let mut messages = vec![Message::new(Role::System, system)];
        for exchange in &window[skip..] {
            messages.push(Message::new(Role::User, &exchange.message));
            messages.push(Message::new(Role::Assistant, &exchange.reply));
        }
        messages.push(Message::new(Role::User, message));
        let tokens = tokenizer.render_chat(&messages, true)?;
        if tokens.len() <= limit {
            return Ok(tokens);
        }
        if skip == window.len() {
            return Err(EngineError::PromptTooLong { tokens: tokens.len(), limit });
        }
        skip = (skip + 1).max(window.len().saturating_sub(keep)).min(window.len());
    }
}
