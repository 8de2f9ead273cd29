//! TLS as a probe sees it: checked as anywhere else, and the certificates' expiry noted even when they are refused.

use std::sync::{Arc, Mutex, PoisonError};

use model::probe::Trust;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::look::{Notes, Reason, Trouble, plain};

/// Checks as rustls does, and looks at what it is shown.
#[derive(Debug)]
struct Watching {
    checks: Arc<WebPkiServerVerifier>,
    /// The earliest end of validity, in seconds since 1970.
    expires: Mutex<Option<i64>>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        let expires = shown.filter_map(|certificate| expiry(certificate)).min();
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = expires;
        self.checks.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.checks.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.checks.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.checks.supported_verify_schemes()
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Speaks TLS with whoever is at the other end, if it is `host` or whom the probe names instead.
pub(crate) async fn wrap(
    stream: TcpStream,
    host: &str,
    trust: &Trust,
    protocols: &[&[u8]],
    notes: &mut Notes,
) -> Result<TlsStream<TcpStream>, Trouble> {
    notes.doing = "shaking hands";
    let host = trust.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Trouble::Unable(format!("`{host}` is no name of a server")))?;
    let file = trust.ca_file.clone();
    let watching = tokio::task::spawn_blocking(move || watching(file.as_deref()));
    let watching = watching.await.map_err(|error| error.to_string()).flatten().map_err(Trouble::Unable)?;
    let watching = Arc::new(watching);
    let mut config = config(Arc::clone(&watching)).map_err(|error| Trouble::Unable(error.to_string()))?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let begun = Instant::now();
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    notes.phases.tls += begun.elapsed();
    if let Some(expires) = *watching.expires.lock().unwrap_or_else(PoisonError::into_inner) {
        notes.expires(expires);
    }
    let stream = shaken.map_err(|error| trouble(&error, host))?;
    notes.tls_version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some("TLS 1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("TLS 1.3"),
        Some(_) | None => None,
    };
    Ok(stream)
}

/// Read anew for each look: who replaces a certificate need not start anything again.
fn watching(ca_file: Option<&str>) -> Result<Watching, String> {
    let roots = Arc::new(tls::roots(ca_file)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let checks = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    Ok(Watching { checks: checks.map_err(|error| error.to_string())?, expires: Mutex::new(None) })
}

fn config(watching: Arc<Watching>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(watching).with_no_client_auth())
}

fn trouble(error: &std::io::Error, host: &str) -> Trouble {
    let (reason, what) = match tls::Failure::of(error, host) {
        tls::Failure::Certificate(what) => (Reason::Certificate, what),
        tls::Failure::Other(what) => (Reason::Tls, what),
    };
    Trouble::Failed(reason, plain(&what))
}
