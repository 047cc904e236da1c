use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::{Deserialize, Serialize};

/// What was said, and how it is kept.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Records that wait for the journal.
    pub queue: usize,
    /// Records in one transaction.
    pub batch: usize,
    pub write_timeout_ms: u64,
    /// The journal's size; 0: no limit but the disk's.
    pub max_mb: u64,
    /// The archive; empty: the journal is the archive.
    pub postgres_url: String,
    /// Certificates that vouch for Postgres; empty: the system's.
    pub postgres_ca: PathBuf,
    pub postgres_connections: usize,
    pub postgres_timeout_ms: u64,
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

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, batch, max_mb, .. } = self;
        // Without the URL, which has a password.
        f.debug_struct("History")
            .field("queue", queue)
            .field("batch", batch)
            .field("max_mb", max_mb)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the URL of an archive; `None`: it can be used.
pub(super) fn bad_postgres_url(url: &str) -> Option<String> {
    let example = "a URL such as postgres://user:password@host:5432/database";
    match url.parse::<tokio_postgres::Config>() {
        _ if url.is_empty() => None,
        Ok(config) if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() => {
            Some(format!("{example}, with a host"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("{example} ({error})")),
    }
}
