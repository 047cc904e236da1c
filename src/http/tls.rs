//! TLS: the certificate of `server.tls_cert`, and its handshake.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::{Server, read_file};

/// Largest file of a certificate or a key, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why TLS cannot be spoken. The messages name the setting and the file, and nothing that stands in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("setting {setting}: {path}: {problem}")]
    File { setting: &'static str, path: PathBuf, problem: String },
    #[error("settings server.tls_cert and server.tls_key: {0}")]
    Pair(rustls::Error),
}

/// The server's certificate, which may be replaced while the server runs.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    config: Arc<ServerConfig>,
    /// What the files were when `config` was made of them.
    files: Files,
    /// What the last reading failed with, so that it is said once.
    failed: Option<String>,
}

/// The contents of both files.
#[derive(PartialEq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate that the settings name; `None` if they name none.
    pub fn load(server: &Server) -> Result<Option<Arc<Self>>, TlsError> {
        if server.tls_cert.as_os_str().is_empty() {
            return Ok(None);
        }
        let (cert, key) = (server.tls_cert.clone(), server.tls_key.clone());
        let files = Files::read(&cert, &key)?;
        let config = files.config(&cert, &key)?;
        let held = Mutex::new(Held { config, files, failed: None });
        Ok(Some(Arc::new(Self { cert, key, held })))
    }

    /// Reads the files again. What cannot be used is logged, and the certificate stays as it was. Blocks on files.
    pub fn reread(&self) {
        let read = Files::read(&self.cert, &self.key).and_then(|files| {
            if self.held.lock().files == files {
                return Ok(None);
            }
            Ok(Some((files.config(&self.cert, &self.key)?, files)))
        });
        let mut held = self.held.lock();
        match read {
            Ok(None) => held.failed = None,
            Ok(Some((config, files))) => {
                tracing::info!(cert = %self.cert.display(), "the certificate has changed");
                *held = Held { config, files, failed: None };
            }
            Err(error) => {
                let message = error.to_string();
                if held.failed.as_ref() != Some(&message) {
                    tracing::error!(%error, "the certificate stays as it was");
                    held.failed = Some(message);
                }
            }
        }
    }

    /// The handshake of a connection. It may take for ever.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.held.lock().config);
        TlsAcceptor::from(config).accept(stream).await
    }
}

impl Files {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |setting, path: &Path| {
            read_file(path, MAX_FILE).map_err(|error| TlsError::File {
                setting,
                path: path.to_owned(),
                problem: error.to_string(),
            })
        };
        Ok(Self { cert: read("server.tls_cert", cert)?, key: read("server.tls_key", key)? })
    }

    fn config(&self, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        let bad = |setting, path: &Path, problem: &str| TlsError::File {
            setting,
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        let no_cert = || bad("server.tls_cert", cert, "has no certificate in PEM (BEGIN CERTIFICATE)");
        let chain = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_cert())?;
        if chain.is_empty() {
            return Err(no_cert());
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| bad("server.tls_key", key, "has no private key in PEM (BEGIN PRIVATE KEY)"))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(TlsError::Pair)?;
        // A WebSocket is opened with HTTP/1.1, and there is nothing else.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let cert = write("cert.pem", &own.cert.pem());
        let key = write("key.pem", &own.signing_key.serialize_pem());
        let other = write("other.pem", &other.serialize_pem());
        let nothing = write("nothing.pem", "nothing");
        let load = |cert: &str, key: &str| {
            let sets = [format!("server.tls_cert={cert}"), format!("server.tls_key={key}")];
            let config = Config::load(None, std::iter::empty(), &sets).unwrap();
            Tls::load(&config.server).map(|tls| tls.is_some()).map_err(|error| error.to_string())
        };
        assert_eq!(load(&cert, &key), Ok(true));
        assert_eq!(load("", ""), Ok(false));
        for (cert, key, message) in [
            ("/nowhere", key.as_str(), "setting server.tls_cert: /nowhere: No such file"),
            (&cert, "/nowhere", "setting server.tls_key: /nowhere: No such file"),
            (&nothing, &key, "setting server.tls_cert: "),
            (&nothing, &key, "nothing.pem: has no certificate in PEM"),
            (&cert, &nothing, "nothing.pem: has no private key in PEM"),
            (&cert, &cert, "cert.pem: has no private key in PEM"),
            (&cert, &other, "settings server.tls_cert and server.tls_key: "),
        ] {
            let error = load(cert, key).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
