//! Writes down the frames of sessions, so that they can be played again (`npc-gateway replay`).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::Subprotocol;

/// Lines that wait for the disk; past it lines are lost, which their numbers show.
const QUEUE: usize = 4096;

/// One frame of a log, a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Counts from 1, without gaps.
    pub n: u64,
    /// Milliseconds since 1970, UTC.
    pub at_ms: u64,
    pub from: From,
    /// As it is in JSON.
    pub frame: Value,
}

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    Client,
    Server,
}

/// Writes logs, one file a session, in a thread of its own.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    lines: SyncSender<(PathBuf, String)>,
    complained: AtomicBool,
}

/// The log of one session.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// The last number.
    n: Mutex<u64>,
    subprotocol: Subprotocol,
}

impl Recorder {
    /// Writes into this folder, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made, or the thread not started.
    pub fn start(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (lines, queue) = sync_channel(QUEUE);
        std::thread::Builder::new().name("session log".into()).spawn(move || write_all(&queue))?;
        Ok(Self { folder: folder.to_owned(), lines, complained: AtomicBool::new(false) })
    }

    /// The log of a session of this name.
    pub fn log(&self, session: &str, subprotocol: Subprotocol) -> Log {
        Log { path: self.folder.join(format!("{session}.jsonl")), n: Mutex::new(0), subprotocol }
    }

    /// Notes a frame.
    pub fn note(&self, log: &Log, from: From, mut frame: Value) {
        if let Some(d) = frame.get_mut("d").and_then(Value::as_object_mut) {
            // Whoever has it can take the session over.
            d.remove("resume_token");
        }
        // Held while it is queued: the numbers are the order in the file.
        let mut n = log.n.lock();
        *n += 1;
        let logged = Logged { n: *n, at_ms: crate::turn::now_ms(), from, frame };
        let line = serde_json::to_string(&logged).unwrap_or_default();
        if self.lines.try_send((log.path.clone(), line)).is_err()
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the disk is too slow for the logs of sessions: they have gaps");
        }
    }

    /// Notes a frame as it goes over the socket.
    pub fn note_message(&self, log: &Log, from: From, message: &[u8]) {
        let frame = match log.subprotocol {
            Subprotocol::Json => serde_json::from_slice(message).ok(),
            Subprotocol::Msgpack => rmp_serde::from_slice(message).ok().map(in_json),
        };
        self.note(log, from, frame.unwrap_or(Value::Null));
    }
}

/// A frame as `npc.v1.json` has it.
fn in_json(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Map(pairs) => Value::Object(
            // Frames have no other keys.
            pairs
                .into_iter()
                .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), in_json(value))))
                .collect(),
        ),
        rmpv::Value::Array(items) => items.into_iter().map(in_json).collect(),
        rmpv::Value::Binary(bytes) => bytes.into_iter().map(Value::from).collect(),
        // The shortest digits that mean this number, not those of a longer one.
        rmpv::Value::F32(number) => {
            number.to_string().parse().map_or(Value::Null, |number: f64| number.into())
        }
        other => serde_json::to_value(other).unwrap_or_default(),
    }
}

fn write_all(queue: &Receiver<(PathBuf, String)>) {
    while let Ok((path, line)) = queue.recv() {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "a session's log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_is_the_same_in_both_subprotocols() {
        let frame = rmpv::Value::Map(vec![
            ("op".into(), "face.key".into()),
            ("s".into(), u64::MAX.into()),
            ("p".into(), rmpv::Value::F32(0.326)),
            ("w".into(), rmpv::Value::Binary(vec![0, 255])),
            ("au".into(), rmpv::Value::Map(vec![("AU12".into(), rmpv::Value::F32(1.0))])),
            (
                "more".into(),
                rmpv::Value::Array(vec![rmpv::Value::Nil, (-1).into(), true.into(), rmpv::Value::F64(0.1)]),
            ),
        ]);
        let expected = json!({
            "op": "face.key", "s": u64::MAX, "p": 0.326, "w": [0, 255], "au": {"AU12": 1.0}, "more": [null, -1, true, 0.1],
        });
        assert_eq!(in_json(frame), expected);
    }
}
