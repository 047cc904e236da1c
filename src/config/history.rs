use std::fmt;
use std::path::PathBuf;

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
