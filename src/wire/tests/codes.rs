//! Numbers of the close codes, and what a client makes of frames that it does not know.

use super::*;

#[test]
fn an_unknown_server_frame_is_passed_over_by_a_client() {
    let read = decode_server(Subprotocol::Json, br#"{"op":"weather","s":9,"d":{"label":"rain"}}"#).unwrap();
    assert_eq!((read.op.as_str(), read.s, read.frame), ("weather", Some(9), None));
}

#[test]
fn every_close_code_has_the_number_of_its_name() {
    let codes = [
        (CloseCode::Internal, 4000, "internal"),
        (CloseCode::Draining, 4001, "draining"),
        (CloseCode::SlowConsumer, 4002, "slow_consumer"),
        (CloseCode::HeartbeatTimeout, 4003, "heartbeat_timeout"),
        (CloseCode::RateLimited, 4004, "rate_limited"),
        (CloseCode::SessionLimit, 4005, "session_limit"),
        (CloseCode::Idle, 4006, "idle"),
        (CloseCode::BadFrame, 4500, "bad_frame"),
        (CloseCode::UnsupportedProtocol, 4501, "unsupported_protocol"),
        (CloseCode::Unauthenticated, 4502, "unauthenticated"),
        (CloseCode::Forbidden, 4503, "forbidden"),
        (CloseCode::FrameTooLarge, 4504, "frame_too_large"),
        (CloseCode::SessionReplaced, 4505, "session_replaced"),
        (CloseCode::IdentifyTimeout, 4506, "identify_timeout"),
    ];
    for (code, number, name) in codes {
        assert_eq!((code.number(), code.name()), (number, name));
    }
}
