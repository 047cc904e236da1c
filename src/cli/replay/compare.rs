//! What is the same in two sessions that did the same.
//!
//! Ids, tokens and times are masked. Frames of a turn come in the order in which the engine had them ready, so each kind is
//! compared by itself, in its order; and of a turn that was cancelled only where it ended, for how much more was on its way is
//! chance.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Keys whose values are another one in every session: ids, tokens, what was computed before, the sequence number; and what
/// only a server with players has.
const MASKED: [&str; 10] = [
    "s",
    "session",
    "resume_token",
    "epoch",
    "interaction",
    "prompt_tokens",
    "cached_tokens",
    "at_ms",
    "limits",
    "scopes",
];
/// The one time that is not a clock's: how long a face moves.
const KEPT: &str = "ease_ms";
/// What is left of a cancelled turn.
const ENDS: [&str; 3] = ["turn.started", "turn.cancelled", "turn.done"];

/// Where the second differs from the first.
pub(super) fn difference(wanted: &[Value], came: &[Value]) -> Option<String> {
    let (wanted, came) = (sorted(wanted), sorted(came));
    for key in wanted.keys().chain(came.keys()).collect::<BTreeSet<_>>() {
        let none = Vec::new();
        let (one, other) = (wanted.get(key).unwrap_or(&none), came.get(key).unwrap_or(&none));
        let (turn, op) = key;
        let what = if turn.is_empty() { format!("`{op}`") } else { format!("`{op}` of turn {turn}") };
        for (i, pair) in one.iter().zip(other).enumerate() {
            if pair.0 != pair.1 {
                return Some(format!(
                    "{what}, number {}\n  in the log: {}\n  now:        {}",
                    i + 1,
                    pair.0,
                    pair.1
                ));
            }
        }
        if one.len() != other.len() {
            return Some(format!("{what}: {} in the log, {} now", one.len(), other.len()));
        }
    }
    None
}

/// Masked frames by turn and op.
fn sorted(frames: &[Value]) -> BTreeMap<(String, String), Vec<Value>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cancelled: BTreeSet<String> = frames
        .iter()
        .filter(|frame| frame["op"] == "turn.cancelled")
        .map(|frame| text(&frame["d"]["turn"]))
        .collect();
    let mut sorted: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for frame in frames {
        let (turn, op) = (text(&frame["d"]["turn"]), text(&frame["op"]));
        if op == "heartbeat_ack" || cancelled.contains(&turn) && !ENDS.contains(&op.as_str()) {
            continue;
        }
        let mut frame = frame.clone();
        mask(&mut frame);
        if cancelled.contains(&turn)
            && let Some(d) = frame["d"].as_object_mut()
        {
            d.remove("retracted");
            d.remove("usage");
        }
        sorted.entry((turn, op)).or_default().push(frame);
    }
    sorted
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !MASKED.contains(&key.as_str()) && (key == KEPT || !key.ends_with("_ms")));
            map.values_mut().for_each(mask);
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(op: &str, d: &Value) -> Value {
        let mut frame = json!({"op": op, "s": 3, "d": {"turn": "t", "t_ms": 5, "interaction": "x"}});
        frame["d"].as_object_mut().unwrap().extend(d.as_object().unwrap().clone());
        frame
    }

    #[test]
    fn ids_times_and_the_order_of_kinds_make_no_difference() {
        let one = [turn("dialogue.delta", &json!({"text": "a"})), turn("emotion", &json!({"label": "joy"}))];
        let mut other = [one[1].clone(), one[0].clone()];
        (other[0]["s"], other[1]["d"]["t_ms"]) = (json!(9), json!(700));
        assert_eq!(difference(&one, &other), None);
    }

    #[test]
    fn all_else_does() {
        let one = [
            turn("dialogue.delta", &json!({"text": "a"})),
            turn("face.key", &json!({"ease_ms": 80, "w": [1]})),
        ];
        let differs = |at: usize, key: &str, value: Value| {
            let mut other = one.clone();
            other[at]["d"][key] = value;
            difference(&one, &other)
        };
        assert!(differs(0, "text", json!("b")).unwrap().contains("`dialogue.delta` of turn t, number 1"));
        assert!(differs(1, "w", json!([2])).is_some());
        assert!(differs(1, "ease_ms", json!(81)).is_some());
        assert!(difference(&one, &one[..1]).unwrap().contains("1 in the log, 0 now"));
        assert!(difference(&one[..1], &one).unwrap().contains("0 in the log, 1 now"));
    }

    #[test]
    fn of_a_cancelled_turn_its_end_counts() {
        let ends = [
            turn("turn.cancelled", &json!({"valid_through": {"text_offset": 1}})),
            turn("turn.done", &json!({"text": "a"})),
        ];
        let more = [turn("dialogue.delta", &json!({"text": "abc"})), ends[0].clone(), ends[1].clone()];
        assert_eq!(difference(&ends, &more), None);
        let other = [ends[0].clone(), turn("turn.done", &json!({"text": "b"}))];
        assert!(difference(&ends, &other).is_some());
    }
}
