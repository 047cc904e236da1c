//! Steps that are done more than once.

use std::fs;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::case::{Loop, Step as CaseStep};
use crate::stop::{Step, Stop, fail};
use crate::wire::Encoding;

use super::scene::{Scene, WaitedFor};

impl Scene<'_> {
    pub async fn repeat(&mut self, repeat: &Loop) -> Step {
        let times = self.number(&repeat.times)?;
        let frame = repeat.until.as_ref().map(|pattern| self.value(pattern)).transpose()?;
        let waits = frame.is_some() || repeat.until_close.is_some();
        let depth = self.waited_for.len();
        if waits {
            self.waited_for.push(WaitedFor { frame, close: repeat.until_close.clone() });
        }
        let mut ended = Ok(());
        for i in 0..times {
            if let Some(name) = &repeat.r#as {
                self.vars.set(name, i);
            }
            ended = self.perform(&repeat.steps).await;
            if ended.is_err() {
                break;
            }
        }
        self.waited_for.truncate(depth);
        match (ended, &repeat.else_skip) {
            (Err(Stop::Enough), _) if waits => Ok(()),
            (Err(stop), _) => Err(stop),
            (Ok(()), _) if !waits => Ok(()),
            (Ok(()), Some(reason)) => Err(Stop::Skipped(reason.clone())),
            (Ok(()), None) => fail(format!("it did not come in {times} times")),
        }
    }

    pub async fn each(&mut self, of: &Value, name: &str, steps: &[CaseStep]) -> Step {
        let Value::Array(values) = self.value(of)? else {
            return fail("the case is wrong: `of` is no list");
        };
        for value in values {
            self.vars.set(name, value);
            self.perform(steps).await?;
        }
        Ok(())
    }

    /// The bytes of golden frames, as they are. Those of the handshake are left out: there is a session.
    pub async fn golden(&mut self, on: &str) -> Step {
        let encoding = self.link(on)?.encoding;
        let folder = self.suite.options.schemas.join("golden/client");
        let broken = |error: &dyn std::fmt::Display| Stop::Failed(format!("{}: {error}", folder.display()));
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| broken(&error))? {
            paths.push(entry.map_err(|error| broken(&error))?.path());
        }
        paths.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let of_handshake = ["identify", "resume", "auth"].iter().any(|op| name.starts_with(op));
            path.extension().is_some_and(|kind| kind == encoding.name()) && !of_handshake
        });
        paths.sort();
        if paths.is_empty() {
            return fail(format!("{} holds no golden frame", folder.display()));
        }
        for path in paths {
            let bytes = fs::read(&path).map_err(|error| broken(&error))?;
            self.trace.note(format!("{on} → {}", path.display()));
            let message = match encoding {
                Encoding::Msgpack => Message::binary(bytes),
                Encoding::Json => Message::text(String::from_utf8(bytes).map_err(|error| broken(&error))?),
            };
            let frame = encoding.read(&message).map_err(|error| broken(&error))?;
            if let Some(cid) = frame.get("cid") {
                self.link(on)?.ledger.sent(cid);
            }
            self.send_message(on, message).await?;
        }
        Ok(())
    }

    pub fn drain(&self) -> Step {
        let Some(pid) = self.suite.options.drain_pid.filter(|pid| *pid > 0) else {
            return Err(Stop::Skipped("--drain-pid is needed".into()));
        };
        // SAFETY: sends a signal, and touches no memory.
        if unsafe { libc::kill(pid, libc::SIGTERM) } == 0 {
            Ok(())
        } else {
            fail(format!("the process {pid} could not be told: {}", std::io::Error::last_os_error()))
        }
    }
}
