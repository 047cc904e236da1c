//! What must hold for the frames of every turn, whatever the case is about.

use std::collections::BTreeMap;

use serde_json::Value;

/// The turns that a session has heard of, by player and id.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    by_name: BTreeMap<(String, String), Turn>,
}

#[derive(Debug, Clone, Default)]
struct Turn {
    /// The deltas, joined.
    text: String,
    t_ms: u64,
    failed: bool,
    /// Where a cancel cut it while it ran.
    cut: Option<u64>,
    done: Option<Value>,
    /// A cancel came after its end.
    amended: bool,
}

/// Frames that go along with the dialogue.
const TRACKS: [&str; 5] = ["emotion", "face.key", "action.proposed", "social", "goal"];

impl Turns {
    /// Judges the next frame of a session.
    ///
    /// # Errors
    /// What it breaks.
    pub fn take(&mut self, frame: &Value) -> Result<(), String> {
        let (op, d) = (frame["op"].as_str().unwrap_or_default(), &frame["d"]);
        if op == "error" {
            // Whose turn it is is not said; it is marked for every player of that id.
            for ((_, turn), state) in &mut self.by_name {
                state.failed |= d["turn"] == turn.as_str();
            }
            return Ok(());
        }
        if !(TRACKS.contains(&op) || op.starts_with("turn.") || op == "dialogue.delta") {
            return Ok(());
        }
        let text = |key: &str| d[key].as_str().unwrap_or_default().to_owned();
        let name = (text("player"), text("turn"));
        let of = |problem: String| format!("turn {:?} of {:?}: {problem}", name.1, name.0);
        let is_reply = frame.get("cid").is_some();
        if op == "turn.started" {
            if self.by_name.get(&name).is_some_and(|turn| turn.done.is_none()) {
                return Err(of("turn.started comes twice".into()));
            }
            self.by_name.insert(name, Turn::default());
            return Ok(());
        }
        match (self.by_name.get_mut(&name), op) {
            (Some(turn), _) => turn.take(op, d, is_reply).map_err(of),
            // The stored end of a turn that another session spoke, and an answer to a cancel of one.
            (None, "turn.done" | "turn.cancelled") if is_reply => Ok(()),
            (None, _) => Err(of(format!("{op} comes without turn.started"))),
        }
    }
}

impl Turn {
    fn take(&mut self, op: &str, d: &Value, is_reply: bool) -> Result<(), String> {
        if self.done.is_some() {
            return self.take_late(op, d, is_reply);
        }
        if self.cut.is_some() && !matches!(op, "face.key" | "turn.cancelled" | "turn.done") {
            return Err(format!("{op} comes after turn.cancelled"));
        }
        match op {
            "dialogue.delta" => self.delta(d),
            "turn.cancelled" => {
                let offset = d["valid_through"]["text_offset"].as_u64().unwrap_or_default();
                let sent = self.text.chars().count() as u64;
                if offset > sent {
                    return Err(format!("it is valid through {offset}, and only {sent} characters came"));
                }
                self.cut = Some(offset.min(self.cut.unwrap_or(offset)));
                Ok(())
            }
            "turn.done" => self.end(d),
            _ => Ok(()),
        }
    }

    fn delta(&mut self, d: &Value) -> Result<(), String> {
        let (offset, t_ms) =
            (d["offset"].as_u64().unwrap_or_default(), d["t_ms"].as_u64().unwrap_or_default());
        let sent = self.text.chars().count() as u64;
        if offset != sent {
            return Err(format!("a delta has offset {offset} after {sent} characters"));
        }
        if t_ms < self.t_ms {
            return Err(format!("a delta has t_ms {t_ms} after {}", self.t_ms));
        }
        self.t_ms = t_ms;
        self.text += d["text"].as_str().unwrap_or_default();
        Ok(())
    }

    fn end(&mut self, d: &Value) -> Result<(), String> {
        let (reason, text) =
            (d["reason"].as_str().unwrap_or_default(), d["text"].as_str().unwrap_or_default());
        if reason == "error" && !self.failed {
            return Err("it ended with reason error, and no error frame came".into());
        }
        if self.cut.is_some() != (reason == "cancelled") {
            let was = if self.cut.is_some() { "was" } else { "was not" };
            return Err(format!("it {was} cancelled and ended with reason {reason}"));
        }
        let kept = self.cut.map_or(usize::MAX, |cut| usize::try_from(cut).unwrap_or(usize::MAX));
        let said: String = self.text.chars().take(kept).collect();
        // A line that was held back, or broke, need not be what was sent of it.
        if matches!(reason, "stop" | "length" | "cancelled") && text != said {
            return Err(format!("turn.done has the text {text:?}, and its deltas are {said:?}"));
        }
        self.done = Some(d.clone());
        Ok(())
    }

    /// After its end: the answers to cancels and repeats, and the face that a cancel brings back.
    fn take_late(&mut self, op: &str, d: &Value, is_reply: bool) -> Result<(), String> {
        match op {
            "turn.cancelled" => {
                self.amended = true;
                Ok(())
            }
            "face.key" if self.amended => Ok(()),
            "turn.done" if is_reply => match &self.done {
                Some(done) if done == d || self.amended => Ok(()),
                _ => Err("the stored turn.done differs from the one that was sent".into()),
            },
            _ => Err(format!("{op} comes after turn.done")),
        }
    }
}
