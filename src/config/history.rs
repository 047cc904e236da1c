use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::{Deserialize, Serialize};

/// What was said, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Records that wait for the journal.
    pub queue: usize,
    /// Records in one transaction.
    pub batch: usize,
    pub write_timeout_ms: u64,
    /// The journal's size; 0: no limit but the disk's.
    pub max_mb: u64,
    /// Empty: the warm tier is in this process.
    pub redis_url: String,
    /// PEM; empty: what the system trusts.
    pub redis_ca: PathBuf,
    pub redis_timeout_ms: u64,
    /// Of the warm tier in this process.
    pub warm_mb: usize,
    /// In a prompt; 0: NPCs remember nothing but the conversation's end.
    pub recall_tokens: usize,
    pub recall_mb: usize,
}

impl History {
    /// What is wrong with the settings of Redis: the setting, and what is wanted of it.
    pub(super) fn check_redis(&self) -> Result<(), (&'static str, String)> {
        let wanted = "empty, or a URL such as redis://user:password@redis.example:6379/0, rediss:// for TLS";
        if self.redis_url.is_empty() {
            return Ok(());
        }
        let info = self.redis_url.as_str().into_connection_info();
        match info.as_ref().map(ConnectionInfo::addr) {
            // "#insecure" would take any certificate.
            Err(_) | Ok(ConnectionAddr::TcpTls { insecure: true, .. }) => {
                Err(("history.redis_url", wanted.into()))
            }
            Ok(ConnectionAddr::TcpTls { .. }) => Ok(()),
            Ok(_) if self.redis_ca.as_os_str().is_empty() => Ok(()),
            Ok(_) => {
                Err(("history.redis_ca", "empty, unless history.redis_url begins with rediss://".into()))
            }
        }
    }
}
