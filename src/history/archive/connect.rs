//! Connections to Postgres.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use futures_util::FutureExt;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use uuid::Uuid;

use super::ArchiveError;
use super::error::root;
use crate::config::{self, read_file};

/// Largest file of certificates, in bytes: a whole system's is a quarter of it.
const MAX_CA: u64 = 1 << 20;
/// When a connection is silent for so long, it is asked whether the other end is still there.
const SILENT: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(5);
const ASKED: u32 = 3;

/// Where Postgres is and how it is talked to.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
}

impl Target {
    /// # Errors
    /// [`ArchiveError::Url`], [`ArchiveError::Ca`].
    pub fn new(settings: &config::History) -> Result<Self, ArchiveError> {
        let parsed = settings.postgres_url.parse::<Config>();
        let mut config = parsed.map_err(|error| ArchiveError::Url(root(&error)))?;
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(tls(&settings.postgres_ca)?),
            // Nobody asked for it, and what is not checked is not worth much.
            _ => None,
        };
        let timeout = Duration::from_millis(settings.postgres_timeout_ms);
        config.application_name("npc-gateway").connect_timeout(timeout);
        config
            .keepalives(true)
            .keepalives_idle(SILENT)
            .keepalives_interval(ASK_AGAIN)
            .keepalives_retries(ASKED);
        Ok(Self { config, tls, timeout })
    }

    /// What Postgres calls this server's sessions from now on.
    pub fn name(&mut self, store: Uuid) -> String {
        let name = format!("npc-gateway {}", store.simple());
        self.config.application_name(&name);
        name
    }

    /// Whether passwords and what is said go over a network in the clear.
    pub fn is_open(&self) -> bool {
        use tokio_postgres::config::Host;
        let here = |host: &Host| match host {
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            Host::Unix(_) => true,
        };
        self.tls.is_none() && !self.config.get_hosts().iter().all(here)
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Result<AsyncPgConnection, ArchiveError> {
        match tokio::time::timeout(self.timeout, self.establish()).await {
            Ok(connected) => connected.map_err(|error| ArchiveError::Connect(root(&error))),
            Err(_) => Err(ArchiveError::Late(self.timeout.as_millis() as u64)),
        }
    }

    async fn establish(&self) -> ConnectionResult<AsyncPgConnection> {
        let failed = |error: tokio_postgres::Error| ConnectionError::BadConnection(root(&error));
        if let Some(tls) = self.tls.clone() {
            let (client, connection) = self.config.connect(tls).await.map_err(failed)?;
            return AsyncPgConnection::try_from_client_and_connection(client, connection).await;
        }
        let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }

    /// At most `size` connections, each made when it is needed.
    pub fn pool(&self, size: usize) -> Result<Pool<AsyncPgConnection>, ArchiveError> {
        let target = Arc::new(self.clone());
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |_| {
            let target = Arc::clone(&target);
            async move { target.establish().await }.boxed()
        });
        // Whether a connection is closed is known without asking.
        config.recycling_method = RecyclingMethod::Fast;
        // The URL is with the target.
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(self.timeout))
            .create_timeout(Some(self.timeout))
            .recycle_timeout(Some(self.timeout))
            .build();
        pool.map_err(|error| ArchiveError::Connect(root(&error)))
    }
}

fn tls(ca: &Path) -> Result<MakeRustlsConnect, ArchiveError> {
    let bad = |reason: String| ArchiveError::Ca { path: ca.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    if ca.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(bad("this system has no certificates that vouch for others: name a file".into()));
        }
    } else {
        let pem = read_file(ca, MAX_CA).map_err(|error| bad(error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad("there is no certificate in it".into()));
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
