use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the server listens and writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Origins besides the server's own: `scheme://host` with an optional port, nothing after it.
    pub allowed_origins: Vec<String>,
    /// Folder for everything that the server writes.
    pub data: PathBuf,
    /// The certificate and its chain, PEM; empty: no TLS.
    pub tls_cert: PathBuf,
    /// Its private key, PEM; empty if and only if there is no certificate.
    pub tls_key: PathBuf,
    /// Milliseconds after which key files are read again.
    pub reread_ms: u64,
    /// Whether `GET /` answers with the console.
    pub console: bool,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
}

/// Who may read the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Who has the scope `admin`, as for `/api/v1`.
    Admin,
    /// Everybody who reaches the port.
    Open,
}

/// The base model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A model folder or a checkpoint; empty: the default model.
    pub path: PathBuf,
}

/// The archetype packs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Packs {
    /// A folder of packs; empty: the ones built into the binary.
    pub path: PathBuf,
    /// Milliseconds after which the folder is looked through again.
    pub rescan_ms: u64,
}

/// The end of the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Time that running turns get to finish.
    pub grace_ms: u64,
    /// Sockets that are closed every 100 ms.
    pub batch: usize,
}
