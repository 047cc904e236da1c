//! The codecs, as the server and as a client read.

use npc_gateway::wire::{
    Limits, RawFrame, ServerFrame, Subprotocol, decode_server, encode_client, encode_server,
};

use super::MAX_REFUSAL;

const LIMITS: Limits = Limits { text_chars: 2000, context_chars: 2000, actions: 32 };

pub fn msgpack(data: &[u8]) -> bool {
    as_server(Subprotocol::Msgpack, data) | as_client(Subprotocol::Msgpack, data)
}

pub fn json(data: &[u8]) -> bool {
    as_server(Subprotocol::Json, data) | as_client(Subprotocol::Json, data)
}

/// A client's frame that is understood can be written in both encodings, and means the same when it is read again;
/// one that is refused is told why, in few words.
fn as_server(subprotocol: Subprotocol, data: &[u8]) -> bool {
    let Ok(raw) = RawFrame::decode(subprotocol, data) else { return false };
    let cid = raw.cid();
    if let Err(error) = &cid {
        assert!(error.field.as_deref() == Some("cid"), "{error:?}");
    }
    let cid = cid.ok().flatten();
    match raw.parse(&LIMITS) {
        Ok(frame) => {
            for other in [Subprotocol::Msgpack, Subprotocol::Json] {
                let message =
                    encode_client(other, &frame, cid.as_ref()).expect("what was read can be written");
                let again = RawFrame::decode(other, &message).expect("what was written is a frame");
                assert_eq!(again.op(), frame.op());
                assert_eq!(again.cid().ok().flatten(), cid);
                assert_eq!(again.parse(&LIMITS).as_ref(), Ok(&frame));
            }
            true
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            let message = encode_server(subprotocol, &ServerFrame::Error(*error), Some(1), None);
            let message = message.expect("an error can be written");
            assert!(message.len() <= MAX_REFUSAL, "{} bytes: {}", message.len(), text(&message));
            false
        }
    }
}

/// A server's frame that is understood is written and read again as the same bytes.
fn as_client(subprotocol: Subprotocol, data: &[u8]) -> bool {
    let Ok(message) = decode_server(subprotocol, data) else { return false };
    let Some(frame) = &message.frame else { return false };
    assert_eq!(frame.op(), message.op);
    for other in [Subprotocol::Msgpack, Subprotocol::Json] {
        // JSON has no infinities; the server has none to send either.
        let Ok(written) = encode_server(other, frame, message.s, message.cid.as_ref()) else { continue };
        let Ok(again) = decode_server(other, &written) else { continue };
        let frame = again.frame.as_ref().expect("the same op");
        let twice =
            encode_server(other, frame, again.s, again.cid.as_ref()).expect("what was read can be written");
        assert_eq!(written, twice, "{} and {}", text(&written), text(&twice));
    }
    true
}

fn text(message: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(message)
}
