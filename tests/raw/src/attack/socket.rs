//! An attacker's view of its socket.

use serde_json::Value;

use crate::peer::Peer;

/// An open socket and what was heard on it.
pub(super) struct Socket {
    pub peer: Peer,
    pub identified: bool,
    /// The last `s`; every further one must be one more.
    pub last_s: u64,
}

impl Socket {
    /// Holds what the server says to the protocol.
    pub fn heard(&mut self, said: Option<&Value>) -> Result<(), String> {
        let Some(said) = said else { return Err("an answer that is no frame".to_owned()) };
        let Some(op) = said["op"].as_str() else { return Err(format!("an answer without an op: {said}")) };
        if op == "ready" {
            (self.identified, self.last_s) = (true, 0);
        }
        match said["s"].as_u64() {
            Some(s) if s == self.last_s + 1 && self.identified => self.last_s = s,
            None if ["heartbeat_ack", "resumed", "resume_failed"].contains(&op) => {}
            None if op == "error" && !self.identified => {}
            s => return Err(format!("{s:?} behind {}: {said}", self.last_s)),
        }
        Ok(())
    }
}
