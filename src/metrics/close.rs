//! How sockets ended.

use super::labels::label;
use crate::wire::CloseCode;

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketClose {
    Normal,
    GoingAway,
    ProtocolError,
    NotUtf8,
    Internal,
    Draining,
    SlowConsumer,
    HeartbeatTimeout,
    RateLimited,
    SessionLimit,
    Idle,
    BadFrame,
    UnsupportedProtocol,
    Unauthenticated,
    Forbidden,
    FrameTooLarge,
    SessionReplaced,
    IdentifyTimeout,
    /// Another code of the client's.
    Other,
    /// Without a close frame.
    None,
}

label!(SocketClose, "reason" {
    Normal = "normal",
    GoingAway = "going_away",
    ProtocolError = "protocol_error",
    NotUtf8 = "not_utf8",
    Internal = "internal",
    Draining = "draining",
    SlowConsumer = "slow_consumer",
    HeartbeatTimeout = "heartbeat_timeout",
    RateLimited = "rate_limited",
    SessionLimit = "session_limit",
    Idle = "idle",
    BadFrame = "bad_frame",
    UnsupportedProtocol = "unsupported_protocol",
    Unauthenticated = "unauthenticated",
    Forbidden = "forbidden",
    FrameTooLarge = "frame_too_large",
    SessionReplaced = "session_replaced",
    IdentifyTimeout = "identify_timeout",
    Other = "other",
    None = "none",
});

impl From<CloseCode> for SocketClose {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Internal => Self::Internal,
            CloseCode::Draining => Self::Draining,
            CloseCode::SlowConsumer => Self::SlowConsumer,
            CloseCode::HeartbeatTimeout => Self::HeartbeatTimeout,
            CloseCode::RateLimited => Self::RateLimited,
            CloseCode::SessionLimit => Self::SessionLimit,
            CloseCode::Idle => Self::Idle,
            CloseCode::BadFrame => Self::BadFrame,
            CloseCode::UnsupportedProtocol => Self::UnsupportedProtocol,
            CloseCode::Unauthenticated => Self::Unauthenticated,
            CloseCode::Forbidden => Self::Forbidden,
            CloseCode::FrameTooLarge => Self::FrameTooLarge,
            CloseCode::SessionReplaced => Self::SessionReplaced,
            CloseCode::IdentifyTimeout => Self::IdentifyTimeout,
        }
    }
}

impl SocketClose {
    /// A code that the client gave, or the server as RFC 6455 has it.
    pub fn of(code: Option<u16>) -> Self {
        match code {
            Option::None => Self::None,
            Some(1000) => Self::Normal,
            Some(1001) => Self::GoingAway,
            Some(1002) => Self::ProtocolError,
            Some(1007) => Self::NotUtf8,
            Some(_) => Self::Other,
        }
    }

    /// The close code as a label.
    pub fn code(self) -> &'static str {
        match self {
            Self::Normal => "1000",
            Self::GoingAway => "1001",
            Self::ProtocolError => "1002",
            Self::NotUtf8 => "1007",
            Self::Internal => "4000",
            Self::Draining => "4001",
            Self::SlowConsumer => "4002",
            Self::HeartbeatTimeout => "4003",
            Self::RateLimited => "4004",
            Self::SessionLimit => "4005",
            Self::Idle => "4006",
            Self::BadFrame => "4500",
            Self::UnsupportedProtocol => "4501",
            Self::Unauthenticated => "4502",
            Self::Forbidden => "4503",
            Self::FrameTooLarge => "4504",
            Self::SessionReplaced => "4505",
            Self::IdentifyTimeout => "4506",
            Self::Other => "other",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Label;

    #[test]
    fn a_close_has_the_protocols_code_and_name() {
        for code in [
            CloseCode::Internal,
            CloseCode::Draining,
            CloseCode::SlowConsumer,
            CloseCode::HeartbeatTimeout,
            CloseCode::RateLimited,
            CloseCode::SessionLimit,
            CloseCode::Idle,
            CloseCode::BadFrame,
            CloseCode::UnsupportedProtocol,
            CloseCode::Unauthenticated,
            CloseCode::Forbidden,
            CloseCode::FrameTooLarge,
            CloseCode::SessionReplaced,
            CloseCode::IdentifyTimeout,
        ] {
            let close = SocketClose::from(code);
            assert_eq!((close.code(), close.value()), (code.number().to_string().as_str(), code.name()));
        }
        for code in [1000, 1001, 1002, 1007] {
            assert_eq!(SocketClose::of(Some(code)).code(), code.to_string());
        }
        assert_eq!(
            [SocketClose::of(Some(3000)), SocketClose::of(None)],
            [SocketClose::Other, SocketClose::None]
        );
    }
}
