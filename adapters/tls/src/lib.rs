//! TLS to a server: its certificate is always checked, against the machine's roots or those of one file, and who is refused
//! hears why. Does not live here: connecting, and what is said.

use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The largest file of certificates.
const LARGEST_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Speaks TLS with whoever is at the other end, if it is `host`. `protocols`: what is to be spoken inside, by ALPN names,
/// the best first; none leaves that open.
///
/// # Errors
/// In words: when the certificates that are trusted cannot be read, or the server is not whom it should be.
pub async fn wrap(
    stream: TcpStream,
    host: &str,
    ca_file: Option<&str>,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, String> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name of a server"))?;
    let file = ca_file.map(str::to_owned);
    let mut config = tokio::task::spawn_blocking(move || config(file.as_deref()))
        .await
        .map_err(|_| "the certificates could not be read".to_owned())??;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| Failure::of(&error, host).to_string())
}

/// Why there is no TLS with a server, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Its certificate is refused.
    Certificate(String),
    /// It does not speak TLS, or breaks off.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(what) | Self::Other(what) => f.write_str(what),
        }
    }
}

impl Failure {
    /// What went wrong in shaking hands with `host`.
    pub fn of(error: &std::io::Error, host: &str) -> Self {
        let told = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(wrong)) = told else {
            let what = told.map_or_else(|| error.to_string(), ToString::to_string);
            return Self::Other(format!("no TLS with it: {what}"));
        };
        let is_expired = matches!(wrong, CertificateError::Expired | CertificateError::ExpiredContext { .. });
        let is_early =
            matches!(wrong, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. });
        let is_anothers = matches!(
            wrong,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        );
        Self::Certificate(if is_expired {
            "the certificate has expired".to_owned()
        } else if is_early {
            "the certificate is not valid yet".to_owned()
        } else if is_anothers {
            format!("the certificate is not for {host}")
        } else if *wrong == CertificateError::UnknownIssuer {
            "the certificate is of nobody whom this machine trusts; `caFile` names others".to_owned()
        } else if *wrong == CertificateError::BadSignature {
            "who is trusted has the name of the certificate's issuer, but another key: is `caFile` out of date?"
                .to_owned()
        } else {
            format!("the certificate is refused: {wrong}")
        })
    }
}

/// Read anew for each connection: who replaces a certificate need not start anything again.
fn config(ca_file: Option<&str>) -> Result<ClientConfig, String> {
    let roots = roots(ca_file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates that are trusted: those of a file, or else the machine's.
///
/// # Errors
/// In words, when there is none.
pub fn roots(ca_file: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unreadable =
                |error: &dyn std::fmt::Display| format!("the file {path} cannot be read: {error}");
            let mut bytes = Vec::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(LARGEST_FILE_BYTES).read_to_end(&mut bytes))
                .map_err(|error| unreadable(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&bytes) {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(format!("the file {path} holds no certificate in PEM"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err("this machine trusts no certificate: name a `caFile`".to_owned());
            }
        }
    }
    Ok(roots)
}
