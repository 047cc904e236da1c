//! Good frames, and ways to damage them.

use std::path::Path;
use std::{fs, io};

use serde_json::{Map, Value, json};

use crate::Rng;
use crate::encoding::{Encoding, heartbeat, identify};

/// Frames of clients.
#[derive(Debug, Clone)]
pub struct Corpus {
    frames: Vec<Value>,
}

impl Corpus {
    /// One frame of every kind.
    pub fn own() -> Self {
        let say = json!({
            "npc": "v:1", "turn": "t1", "text": "Grüße, who are you? 🦇", "context": "A crypt.",
            "actions": [{"name": "bow", "description": "bows deeply"}, {"name": "flee", "description": "runs"}],
            "generation": {"max_tokens": 4, "temperature": 0.7, "top_p": 0.9, "min_p": 0.05, "seed": 7,
                "greedy": true, "stop": ["\n"]},
            "mix": {"dialogue_style": 1.0, "personality": -0.5}, "audience": ["mina", "van helsing"],
        });
        let join = json!({"npc": "v:1", "archetype": "vampire", "name": "Vlad", "seed": 9,
            "personality": {"neo_modesty": 0.75}});
        let event = json!({"npc": "v:1", "event": "e1", "kind": "gift", "text": "A rose.", "importance": 0.5,
            "witnesses": ["mina"]});
        let act = json!({"npc": "v:1", "act": "a1", "tasks": ["action_policy"], "context": "Dusk."});
        let frames = [
            identify("mina"),
            json!({"op": "resume", "cid": 2, "d":
                {"session": "s", "resume_token": "r", "epoch": "e", "seq": 12}}),
            heartbeat("beat"),
            json!({"op": "heartbeat", "cid": 7, "d": {"seq": 1}}),
            json!({"op": "npc.join", "cid": 3, "d": join}),
            json!({"op": "npc.focus", "cid": "f", "d": {"npc": "v:1"}}),
            json!({"op": "npc.leave", "d": {"npc": "v:1"}}),
            json!({"op": "say", "cid": 4, "d": say}),
            json!({"op": "cancel", "cid": 5, "d": {"turn": "t1", "heard_offset": 3}}),
            json!({"op": "playback", "d": {"turn": "t1", "heard_offset": 3}}),
            json!({"op": "action.result", "d": {"turn": "t1", "action": "a", "ok": false, "reason": "too far"}}),
            json!({"op": "event", "d": event}),
            json!({"op": "npc.act", "d": act}),
            json!({"op": "no.such.op", "d": {"x": [1, -1, 1.5, null, true, {"y": "z"}]}}),
        ];
        Self { frames: frames.into() }
    }

    /// The JSON files of a folder.
    ///
    /// # Errors
    /// The folder's, or a file that is no JSON.
    pub fn from_folder(folder: &Path) -> io::Result<Self> {
        let mut files: Vec<_> = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        // The same seed is to do the same everywhere.
        files.sort_by_key(fs::DirEntry::file_name);
        let paths = files.into_iter().map(|file| file.path());
        let json = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let read = |path: std::path::PathBuf| Ok(serde_json::from_slice(&fs::read(path)?)?);
        let frames: Vec<Value> = json.map(read).collect::<io::Result<_>>()?;
        if frames.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no .json in {}", folder.display())));
        }
        Ok(Self { frames })
    }

    /// One of the frames.
    pub(super) fn pick(&self, rng: &mut Rng) -> Value {
        rng.pick(&self.frames).clone()
    }

    /// One of the frames that may not come before `identify`.
    pub(super) fn pick_early(&self, rng: &mut Rng) -> Value {
        loop {
            let frame = self.pick(rng);
            if frame["op"] != "identify" && frame["op"] != "resume" {
                return frame;
            }
        }
    }

    /// The bytes of one of the frames.
    pub(super) fn bytes(&self, encoding: Encoding, rng: &mut Rng) -> Vec<u8> {
        encoding.encode(&self.pick(rng))
    }

    /// A frame in which one value is another one.
    pub(super) fn twisted(&self, rng: &mut Rng) -> Value {
        let mut frame = self.pick(rng);
        twist(&mut frame, rng);
        frame
    }
}

/// Replaces one value, as far down as it goes or not.
fn twist(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Object(map) if !map.is_empty() && !rng.once_in(6) => {
            let i = rng.below(map.len());
            if let Some(inner) = map.values_mut().nth(i) {
                twist(inner, rng);
            }
        }
        Value::Array(items) if !items.is_empty() && !rng.once_in(3) => {
            let i = rng.below(items.len());
            twist(&mut items[i], rng);
        }
        other => *other = any_value(rng, 3),
    }
}

fn any_value(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 9 } else { 11 }) {
        0 => Value::Null,
        1 => true.into(),
        2 => rng.number().into(),
        3 => (rng.number() as i64).into(),
        4 => (-1).into(),
        5 => (f64::from(rng.byte()) / 64.0 - 2.0).into(),
        6 => f64::MAX.into(),
        7 => {
            let length = rng.below(80);
            let letters = "aZ09_.:-\u{0}\n\"\\ßé\u{ffff}🦇";
            let letters: Vec<char> = letters.chars().collect();
            (0..length).map(|_| *rng.pick(&letters)).collect::<String>().into()
        }
        8 => "x".repeat(rng.below(if depth == 3 { 5000 } else { 100 })).into(),
        9 => (0..rng.below(8)).map(|_| any_value(rng, depth - 1)).collect(),
        _ => {
            const KEYS: [&str; 12] =
                ["op", "cid", "d", "s", "npc", "turn", "text", "seq", "token", "client", "name", "x"];
            let entries =
                (0..rng.below(8)).map(|_| ((*rng.pick(&KEYS)).to_owned(), any_value(rng, depth - 1)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// Damages bytes in a few places: other values, bytes that are gone, doubled or inserted, and a new end.
pub fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        if bytes.is_empty() {
            bytes.push(rng.byte());
            continue;
        }
        let at = rng.below(bytes.len());
        match rng.below(7) {
            0 => bytes[at] = rng.byte(),
            1 => bytes[at] ^= 1 << rng.below(8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, rng.byte()),
            4 => bytes.truncate(at),
            5 => {
                let end = at + rng.below(bytes.len() - at + 1);
                let piece = bytes[at..end].to_vec();
                bytes.extend(piece);
            }
            // What MessagePack reads as huge lengths.
            _ => bytes[at] = *rng.pick(&[0xc1, 0xc6, 0xc9, 0xdb, 0xdd, 0xdf, 0xff]),
        }
    }
}
