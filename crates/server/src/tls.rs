//! Certificate and key of a server that speaks HTTPS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// What HTTP/2 is called when client and server choose a protocol.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// How a connection becomes an encrypted one.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of certificates.
    #[error(
        "the certificate {path} cannot be used: {reason}. It is a PEM file with the server's certificate first, and then \
         those that signed it."
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of the key.
    #[error(
        "the key {path} cannot be used: {reason}. It is a PEM file with the private key of the certificate, without a \
         pass phrase."
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Each is fine, but not with the other.
    #[error("the certificate {certificate} and the key {key} do not belong together: {reason}")]
    Pair {
        /// The file of certificates.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What TLS says.
        reason: String,
    },
}

impl Tls {
    /// Reads a chain of certificates and the key of the first, both PEM.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::with_protocols(certificate, key, vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()])
    }

    /// The same, for a server that speaks HTTP/1.1 only.
    pub fn read_http1(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::with_protocols(certificate, key, vec![b"http/1.1".to_vec()])
    }

    fn with_protocols(certificate: &Path, key: &Path, protocols: Vec<Vec<u8>>) -> Result<Self, TlsError> {
        let bad_certificate = |reason: String| TlsError::Certificate { path: certificate.to_owned(), reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| bad_certificate(told(error, "it has no certificate")))?;
        if chain.is_empty() {
            return Err(bad_certificate("it has no certificate".into()));
        }
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError::Key { path: key.to_owned(), reason: told(error, "it has no private key") })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
            .map_err(|error| TlsError::Pair {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                reason: error.to_string(),
            })?;
        config.alpn_protocols = protocols;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// What takes connections.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.0
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn told(error: pem::Error, nothing: &str) -> String {
    match error {
        pem::Error::NoItemsFound => nothing.to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
