//! Why a line is not answered.

use crate::engine::EngineError;
use crate::wire::{ErrorCode, ErrorPayload, Limit};

/// What the client is told, without the turn's id and NPC.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct TurnError {
    pub code: ErrorCode,
    pub message: String,
    pub temporary: bool,
    pub retry_after_ms: Option<u64>,
    pub field: Option<String>,
    pub limit: Option<Limit>,
}

impl TurnError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            temporary: false,
            retry_after_ms: None,
            field: None,
            limit: None,
        }
    }

    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// The frame's payload.
    pub fn payload(&self, turn: &str, npc: Option<&str>) -> ErrorPayload {
        ErrorPayload {
            code: self.code,
            message: self.message.clone(),
            temporary: self.temporary,
            retry_after_ms: self.retry_after_ms,
            turn: Some(turn.to_owned()),
            npc: npc.map(str::to_owned),
            field: self.field.clone(),
            limit: self.limit,
        }
    }
}

impl From<EngineError> for TurnError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Overloaded { retry_after_ms }
            | EngineError::DeadlineExceeded { retry_after_ms, .. } => Self {
                temporary: true,
                retry_after_ms: Some(retry_after_ms),
                ..Self::new(ErrorCode::Overloaded, message)
            },
            EngineError::PromptTooLong { limit, .. } => Self {
                field: Some("text".into()),
                limit: Some(limit.into()),
                ..Self::new(ErrorCode::TextTooLong, message)
            },
            EngineError::BadRequest { field, .. } => {
                let field = match field {
                    "mix" => "mix".to_owned(),
                    "prompt" => "text".to_owned(),
                    field => format!("generation.{field}"),
                };
                Self::new(ErrorCode::BadPayload, message).field(&field)
            }
            EngineError::UnknownAdapter(_) => Self::new(ErrorCode::BadPayload, message).field("mix"),
            EngineError::Stopped
            | EngineError::Runtime(_)
            | EngineError::BadAdapter { .. }
            | EngineError::BadScript { .. }
            | EngineError::BadModel { .. }
            | EngineError::Remote { .. }
            | EngineError::Provider { .. } => {
                // What failed inside is for the log; the player can only try again.
                Self { temporary: true, ..Self::new(ErrorCode::EngineFailed, "the model failed; try again") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_refuses_is_named_as_the_client_wrote_it() {
        for (field, named) in [("mix", "mix"), ("prompt", "text"), ("top_p", "generation.top_p")] {
            let refused = EngineError::BadRequest { field, value: "x".into(), allowed: "y".into() };
            assert_eq!(TurnError::from(refused).field.as_deref(), Some(named));
        }
    }

    #[test]
    fn both_ways_to_find_no_place_say_when_to_come_back() {
        let refused = EngineError::Overloaded { retry_after_ms: 70 };
        let late = EngineError::DeadlineExceeded { waited_ms: 5000, retry_after_ms: 70 };
        for error in [refused, late] {
            let error = TurnError::from(error);
            assert_eq!((error.code, error.temporary), (ErrorCode::Overloaded, true));
            assert_eq!(error.retry_after_ms, Some(70));
        }
    }
}
