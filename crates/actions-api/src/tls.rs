//! TLS of the HTTP interface: the certificate and its key from two files, read again when they
//! change or on SIGHUP. Connections that are open go on with what they began with.
//!
//! Files that cannot be used stop a start. Later they are told of once and change nothing: whoever
//! replaces one file after the other makes a pair that does not match for a moment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actions_domain::ports::clock::Clock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// How often it is looked whether the files are other ones.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Of each file: a chain has some kilobytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The server's certificate first, then those that lead to a root.
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What is wrong with the files, and which one it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{setting}: {} cannot be read", path.display())]
    Read {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{setting}: {} has more than 1 MiB", path.display())]
    TooLarge { setting: &'static str, path: PathBuf },
    #[error("{CERT}: {} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate { path: PathBuf },
    #[error(
        "{KEY}: {} holds no private key in PEM form that is not encrypted (-----BEGIN PRIVATE KEY-----)",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error("{} and {} do not make a pair that can be used: {reason}", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, reason: String },
}

const CERT: &str = "ACTIONS_TLS_CERT";
const KEY: &str = "ACTIONS_TLS_KEY";

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate that new connections are shown.
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files. The crypto provider of the process is installed by then.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let texts = Texts::read(&files)?;
        let config = RwLock::new(Arc::new(config(&files, &texts)?));
        Ok(Self { files, config })
    }

    /// What the next connection begins with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Looks at the files for as long as it is polled.
    pub(crate) async fn keep_fresh(&self, clock: Arc<dyn Clock>) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut seen = Texts::read(&self.files).ok();
        loop {
            let is_told = tokio::select! {
                () = clock.sleep(LOOK_EVERY) => false,
                () = next(hangups.as_mut()) => true,
            };
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || Texts::read(&files)).await;
            let Ok(read) = read else { continue };
            if !is_told && read.as_ref().ok() == seen.as_ref() {
                continue;
            }
            let made = match &read {
                Ok(texts) => config(&self.files, texts).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            seen = read.ok();
            match made {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    info!(file = %self.files.cert.display(), "the certificate was read again");
                }
                Err(error) => {
                    warn!(error, "the new certificate cannot be used; the one before stays");
                }
            }
        }
    }
}

async fn next(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

impl Texts {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { cert: read(CERT, &files.cert)?, key: read(KEY, &files.key)? })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let text = std::fs::read(path).map_err(|source| TlsError::Read {
        setting,
        path: path.to_owned(),
        source,
    })?;
    if text.len() > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { setting, path: path.to_owned() });
    }
    Ok(text)
}

/// How TLS 1.2 and 1.3 are spoken with this pair, over HTTP/2 or HTTP/1.1.
fn config(files: &TlsFiles, texts: &Texts) -> Result<ServerConfig, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&texts.cert).collect();
    let no_certificate = || TlsError::NoCertificate { path: files.cert.clone() };
    let chain = chain.map_err(|_| no_certificate())?;
    if chain.is_empty() {
        return Err(no_certificate());
    }
    let key = PrivateKeyDer::from_pem_slice(&texts.key)
        .map_err(|_| TlsError::NoKey { path: files.key.clone() })?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| TlsError::Pair {
        cert: files.cert.clone(),
        key: files.key.clone(),
        reason: error.to_string(),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
