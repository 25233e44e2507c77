//! Owns how a far end's certificate is judged: web roots, a county's own authority, or (named so) nothing at all.
//! Refuses to know protocols and accounts.
//! Invariant: the ring provider is named here, so no driver depends on which one the process installed.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Whom we believe to be the far end.
pub(crate) enum Trust<'a> {
    /// The authorities that browsers trust.
    WebRoots,
    /// Only the authorities of this PEM file.
    Only(&'a [u8]),
    /// Whoever answers; for a test bench or a far end whose certificate cannot be repaired.
    Anyone,
}

/// A client's TLS settings (1.2 and 1.3), or in words why they cannot be made.
pub(crate) fn client_config(trust: &Trust<'_>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS versions: {error}"))?;
    let config = match trust {
        Trust::WebRoots => {
            let mut roots = RootCertStore::empty();
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Only(pem) => builder.with_root_certificates(authorities(pem)?).with_no_client_auth(),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })).with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("not a PEM certificate: {error}"))?;
        roots.add(certificate).map_err(|error| format!("not a certificate authority: {error}"))?;
    }
    if roots.is_empty() { Err("holds no PEM certificate".to_owned()) } else { Ok(roots) }
}

/// Whether a handshake failed because of who the far end is, and not because the line broke.
pub(crate) fn is_distrust(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).is_some_and(|inner| {
        matches!(
            inner,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::UnsupportedNameType | Error::PeerIncompatible(_)
        )
    })
}

/// Takes every certificate, yet still demands that the far end holds its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
