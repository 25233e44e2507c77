//! Owns the certificate of the listener: read at start, read again on request while connections stand.
//! Refuses to know where the file names come from. Invariant: files at fault change nothing.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whose certificates a client must show, when any.
    pub client_ca: Option<PathBuf>,
}

/// The certificate in use; clones share it.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    pub(super) config: RustlsConfig,
}

impl Tls {
    pub fn load(files: TlsFiles) -> io::Result<Self> {
        let config = RustlsConfig::from_config(Arc::new(server_config(&files)?));
        Ok(Self { files, config })
    }

    /// New connections get what the files hold now.
    pub fn reload(&self) -> io::Result<()> {
        self.config.reload_from_config(Arc::new(server_config(&self.files)?));
        Ok(())
    }
}

fn server_config(files: &TlsFiles) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault("TLS", &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for cert in certificates(path)? {
                roots.add(cert).map_err(|error| fault(path.display(), &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| fault(path.display(), &error))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| fault(files.key.display(), &error))?;
    let pair = builder.with_single_cert(certificates(&files.cert)?, key);
    let mut config = pair.map_err(|error| fault(format_args!("{} with {}", files.cert.display(), files.key.display()), &error))?;
    // Live streams each hold a connection of HTTP/1.1, of which a browser opens six.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let list = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let list = list.map_err(|error| fault(path.display(), &error))?;
    // A file without a certificate in it is read without an error.
    if list.is_empty() { Err(fault(path.display(), &"holds no certificate")) } else { Ok(list) }
}

fn fault(what: impl Display, error: &dyn Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}"))
}
