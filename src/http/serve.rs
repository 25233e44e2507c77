//! Owns listening: plain or TLS, until the token says stop, then as long as the grace allows.

use std::{io, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

/// Serves until `stop`, then lets requests end within `grace`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsFiles>,
    stop: CancellationToken,
    grace: Duration,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let closing = handle.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        closing.graceful_shutdown(Some(grace));
    });
    let service = router.into_make_service();
    match tls {
        None => axum_server::from_tcp(listener)?.handle(handle).serve(service).await,
        Some(files) => {
            let config = RustlsConfig::from_config(Arc::new(server_config(&files)?));
            axum_server::from_tcp_rustls(listener, config)?.handle(handle).serve(service).await
        }
    }
}

fn server_config(files: &TlsFiles) -> io::Result<ServerConfig> {
    let bad = |what: &str, error: &dyn std::fmt::Display| io::Error::other(format!("{what}: {error}"));
    let certs = |path: &PathBuf| -> io::Result<Vec<CertificateDer<'static>>> {
        let list = CertificateDer::pem_file_iter(path).map_err(|error| bad(&path.display().to_string(), &error))?;
        list.collect::<Result<_, _>>().map_err(|error| bad(&path.display().to_string(), &error))
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad(&files.key.display().to_string(), &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS", &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for cert in certs(path)? {
                roots.add(cert).map_err(|error| bad(&path.display().to_string(), &error))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| bad("client_ca", &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(certs(&files.cert)?, key).map_err(|error| bad("certificate and key", &error))
}
