//! Servers that are wrong: the gateway behind a proxy that alters what it says. The suite must see each of them.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::conform;
use crate::gateway::Gateway;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// Every third delta is lost, and the numbers show it.
    LosesDeltas,
    /// The same, and the frames behind are numbered as if nothing were lost.
    LosesDeltasSilently,
    /// `turn.done` comes twice, with one number.
    RepeatsS,
    /// `turn.done` comes twice, each with a number of its own.
    EndsTwice,
    /// Offsets count bytes.
    CountsBytes,
    /// Every close code is 4000.
    ClosesWith4000,
    /// The close reason is empty.
    GivesNoReason,
    /// No `cid` comes back.
    ForgetsCids,
    /// `prompt_tokens` is a text.
    WritesNumbersAsTexts,
    /// What is replayed differs from what was sent.
    ReplaysSomethingElse,
    /// `resumed` says one more than came.
    CountsReplayedWrong,
    /// An unknown `op` is `bad_payload`.
    KnowsNoUnknownOp,
    /// `playback` is answered.
    AnswersPlayback,
    /// A cancelled turn ends with reason `stop`.
    ForgetsTheCancel,
    /// `duplicate_turn` is `unknown_turn`.
    MixesUpErrors,
}

/// The state of one direction of one socket.
#[derive(Default)]
struct Liar {
    deltas: u64,
    /// Added to every `s` from here on.
    shift: i64,
    resuming: bool,
}

impl Liar {
    /// What becomes of a frame of the server.
    fn lie(&mut self, fault: Fault, mut frame: Value) -> Vec<Value> {
        let op = frame["op"].as_str().unwrap_or_default().to_owned();
        if let Some(s) = frame.get("s").and_then(Value::as_i64) {
            frame["s"] = (s + self.shift).into();
        }
        if op == "dialogue.delta" {
            self.deltas += 1;
        }
        let is_third = op == "dialogue.delta" && self.deltas.is_multiple_of(3);
        match (fault, op.as_str()) {
            (Fault::LosesDeltas, _) if is_third => return vec![],
            (Fault::LosesDeltasSilently, _) if is_third => {
                self.shift -= 1;
                return vec![];
            }
            (Fault::RepeatsS, "turn.done") => return vec![frame.clone(), frame],
            (Fault::EndsTwice, "turn.done") => {
                self.shift += 1;
                let mut again = frame.clone();
                again["s"] = (frame["s"].as_i64().unwrap() + 1).into();
                return vec![frame, again];
            }
            (Fault::CountsBytes, "dialogue.delta") => {
                let offset = frame["d"]["offset"].as_u64().unwrap();
                frame["d"]["offset"] = (offset + u64::from(offset > 0)).into();
            }
            (Fault::ForgetsCids, _) => {
                frame.as_object_mut().unwrap().remove("cid");
            }
            (Fault::WritesNumbersAsTexts, "turn.started") => frame["d"]["prompt_tokens"] = "many".into(),
            (Fault::ReplaysSomethingElse, _) if self.resuming && frame["s"].is_u64() => {
                frame["d"]["seen"] = true.into();
            }
            (Fault::CountsReplayedWrong, "resumed") => {
                let replayed = frame["d"]["replayed"].as_u64().unwrap();
                frame["d"]["replayed"] = (replayed + 1).into();
            }
            (Fault::KnowsNoUnknownOp, "error") if frame["d"]["code"] == "unknown_op" => {
                frame["d"]["code"] = "bad_payload".into();
            }
            (Fault::ForgetsTheCancel, "turn.done") => frame["d"]["reason"] = "stop".into(),
            (Fault::MixesUpErrors, "error") if frame["d"]["code"] == "duplicate_turn" => {
                frame["d"]["code"] = "unknown_turn".into();
            }
            _ => {}
        }
        vec![frame]
    }

    fn close(fault: Fault, frame: Option<CloseFrame>) -> Option<CloseFrame> {
        let mut frame = frame?;
        if u16::from(frame.code) >= 4000 {
            match fault {
                Fault::ClosesWith4000 => frame.code = 4000.into(),
                Fault::GivesNoReason => frame.reason = "".into(),
                _ => {}
            }
        }
        Some(frame)
    }
}

/// Passes one socket on. JSON only.
async fn pass_on(stream: TcpStream, gateway: String, fault: Fault) -> Option<()> {
    #[allow(clippy::result_large_err)] // The library's own type.
    let choose = |request: &Request, mut response: Response| {
        if let Some(offer) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offer.clone());
        }
        Ok(response)
    };
    let (mut to_client, mut from_client) =
        tokio_tungstenite::accept_hdr_async(stream, choose).await.ok()?.split();
    let mut request = format!("ws://{gateway}/ws").into_client_request().ok()?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, "npc.v1.json".parse().ok()?);
    let (mut to_gateway, mut from_gateway) = tokio_tungstenite::connect_async(request).await.ok()?.0.split();
    let mut liar = Liar::default();
    loop {
        tokio::select! {
            message = from_client.next() => {
                let message = message?.ok()?;
                if let Message::Text(text) = &message && let Ok(frame) = serde_json::from_str::<Value>(text) {
                    liar.resuming |= frame["op"] == "resume";
                    if fault == Fault::AnswersPlayback && frame["op"] == "playback" {
                        let ack = json!({"op": "heartbeat_ack", "cid": frame["cid"], "d": {"seq": 0}});
                        to_client.send(Message::text(ack.to_string())).await.ok()?;
                    }
                }
                to_gateway.send(message).await.ok()?;
            }
            message = from_gateway.next() => match message?.ok()? {
                Message::Text(text) => {
                    let frame = serde_json::from_str(&text).ok()?;
                    for frame in liar.lie(fault, frame) {
                        to_client.send(Message::text(frame.to_string())).await.ok()?;
                    }
                }
                Message::Close(frame) => {
                    to_client.send(Message::Close(Liar::close(fault, frame))).await.ok()?;
                    // The answer to it.
                    while let Some(Ok(_)) = from_client.next().await {}
                    return Some(());
                }
                _ => {}
            },
        }
    }
}

/// Starts a proxy; its address.
async fn proxy(gateway: &str, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, gateway) = (listener.local_addr().unwrap().to_string(), gateway.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass_on(stream, gateway.clone(), fault));
        }
    });
    address
}

/// The cases that are run, some for each thing that may be wrong.
const CASES: [&str; 12] = [
    "framing/cid_comes_back",
    "framing/unknown_op",
    "talking/a_line_is_answered",
    "cancel/a_cancel_ends",
    "cancel/playback_is_not_answered",
    "cancel/two_cancels",
    "idempotency/a_repeat_while",
    "resume/what_was_missed",
    "closes/bad_frame_4500_before",
    "closes/session_replaced",
    "closes/unsupported",
    "handshake/ready",
];

/// What each fault must be seen by, and that nothing is seen where nothing is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_wrong_are_found_out() {
    let line = "talking/a_line_is_answered";
    let cancel = "cancel/a_cancel_ends_the_turn_at_what_was_heard";
    let missed = "resume/what_was_missed_is_replayed";
    let replaced = "closes/session_replaced_4505";
    let expected: [(Fault, &[&str]); 16] = [
        (Fault::None, &[]),
        (Fault::LosesDeltas, &[line, missed]),
        (Fault::LosesDeltasSilently, &[line, missed]),
        (Fault::RepeatsS, &[line, cancel, missed]),
        (Fault::EndsTwice, &[line, cancel, missed]),
        (Fault::CountsBytes, &[line, missed]),
        (
            Fault::ClosesWith4000,
            &["closes/bad_frame_4500_before_identify", replaced, "closes/unsupported_protocol_4501"],
        ),
        (
            Fault::GivesNoReason,
            &["closes/bad_frame_4500_before_identify", replaced, "closes/unsupported_protocol_4501"],
        ),
        (Fault::ForgetsCids, &["framing/cid_comes_back", "framing/unknown_op", line, missed]),
        (Fault::WritesNumbersAsTexts, &[line, cancel, missed]),
        (Fault::ReplaysSomethingElse, &[missed]),
        (Fault::CountsReplayedWrong, &[missed, replaced]),
        (Fault::KnowsNoUnknownOp, &["framing/unknown_op"]),
        (Fault::AnswersPlayback, &["cancel/playback_is_not_answered_and_only_grows"]),
        (Fault::ForgetsTheCancel, &[cancel, "cancel/two_cancels_get_two_answers_and_one_end"]),
        (Fault::MixesUpErrors, &["idempotency/a_repeat_while_it_runs"]),
    ];
    let gateway = Gateway::start(&["session.max_sessions_per_player=64".into()]);
    for (fault, by) in expected {
        let mut words = vec!["--subprotocol", "json", "--patience", "10"];
        words.extend(CASES.iter().flat_map(|case| ["--filter", case]));
        let report = conform(&proxy(&gateway.address, fault).await, &words).await;
        let failures = report.failures();
        if by.is_empty() {
            assert_eq!((failures, report.passed()), (vec![], report.verdicts.len()), "{fault:?}\n{report}");
            continue;
        }
        for case in by {
            assert!(failures.contains(case), "{fault:?} is not seen by {case}\n{report}");
        }
        // What has nothing to do with it passes.
        assert!(report.passed() > 0 || fault == Fault::ForgetsCids, "{fault:?}\n{report}");
    }
}
