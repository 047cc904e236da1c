//! What can go wrong between a player and the gateway.

use std::io;

use tokio_tungstenite::tungstenite;

use crate::wire::Refusal;

/// Why a player could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The upgrade was refused.
    #[error("the upgrade was answered with HTTP {0}")]
    Http(u16),
    /// The server closed the socket.
    #[error("closed with {} {reason}", code.map_or_else(|| "no code".to_owned(), |code| code.to_string()))]
    Closed { code: Option<u16>, reason: String },
    /// The connection is gone.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server answered with an `error` frame.
    #[error("refused: {} ({})", .0.code, .0.message)]
    Refused(Refusal),
    /// The session could not be resumed.
    #[error("resume_failed: {0}")]
    NotResumed(String),
    /// Nothing came for too long.
    #[error("nothing came for {0} s")]
    Silence(u64),
    /// The server broke a promise of the protocol.
    #[error("{0}")]
    Broke(String),
}

impl Fault {
    /// The close code, if that is what it is.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether the same may work a little later: the connection was not taken, or was lost.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken(_) => true,
            Self::Http(status) => *status == 503,
            _ => false,
        }
    }
}

impl From<tungstenite::Error> for Fault {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => Self::Http(response.status().as_u16()),
            // The last: it ended in the middle of the upgrade.
            tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
                | tungstenite::error::ProtocolError::HandshakeIncomplete,
            )
            | tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Io(_) => Self::Broken(error.to_string()),
            other => Self::Broke(format!("not a WebSocket message: {other}")),
        }
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Broke(format!("{error:#}"))
    }
}
