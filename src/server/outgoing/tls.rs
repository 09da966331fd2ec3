//! TLS as other servers expect it: the system's certification authorities, and the operator's own.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// A file of certificates or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Whose certificates are believed: the system's authorities, and the operator's own.
#[derive(Debug)]
pub struct Trust {
    own: RootCertStore,
    /// Made when a connection needs it first: not every server makes any.
    config: OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    /// Trusts the system's authorities and those in the PEM files `extra`.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be read, or holds no certificate.
    pub fn new(extra: &[impl AsRef<Path>]) -> Result<Self, TlsError> {
        let mut own = RootCertStore::empty();
        for path in extra {
            for certificate in certificates(path.as_ref())? {
                own.add(certificate).map_err(|e| TlsError::new(path.as_ref(), e))?;
            }
        }
        Ok(Self { own, config: OnceLock::new() })
    }

    /// What a connection is made with.
    ///
    /// # Errors
    /// [`TlsError`] when the cryptography at hand knows no protocol version.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = system_roots().clone();
        roots.extend(self.own.roots.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

/// Trusts the system's authorities and those in the PEM files `extra`.
///
/// # Errors
/// [`TlsError`] names the file that cannot be read, or holds no certificate.
pub fn client_config(extra: &[impl AsRef<Path>]) -> Result<Arc<ClientConfig>, TlsError> {
    Trust::new(extra)?.client_config()
}

/// The system's authorities, as they were when they were needed first: there are more than a hundred to read.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let system = rustls_native_certs::load_native_certs();
        for e in &system.errors {
            tracing::warn!(error = %e, "a certification authority of the system cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system.certs);
        roots
    })
}

/// Shows the certificate chain in `certificate`, proven by the key in `private_key` (PEM files).
///
/// # Errors
/// [`TlsError`] names the file that cannot be read or does not fit the other.
pub fn server_config(certificate: &Path, private_key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(private_key).map_err(|e| TlsError::new(private_key, e))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| TlsError::new(private_key, e))?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| TlsError::new(path, e))?.collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsError::new(path, "no certificate in this file"))
        }
        Ok(certificates) => Ok(certificates),
        Err(e) => Err(TlsError::new(path, e)),
    }
}

impl TlsError {
    fn new(path: &Path, e: impl std::fmt::Display) -> Self {
        Self(format!("{}: {e}", path.display()))
    }
}
