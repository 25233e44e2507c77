//! Owns the certificates of connections: the listener's, read at start and again on request while connections stand; and the client's,
//! carried from the handshake to each of its requests. Refuses to know where the file names come from, and who needs a certificate.
//! Invariant: files at fault change nothing; a certificate that is carried was issued by the configured authority.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum_server::{accept::Accept, tls_rustls::RustlsConfig};
use futures::future::BoxFuture;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower_http::add_extension::AddExtension;

use super::serve::Placed;

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whose certificates are asked for; a client without one is let in, as browsers have none.
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

/// SHA-256 of the certificate that the client of a connection has shown; every request over TLS bears it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientCertificate(pub(super) Option<[u8; 32]>);

/// Tells each request whose certificate came with its connection.
#[derive(Clone)]
pub(super) struct Introduced<A>(pub(super) A);

impl<S, A> Accept<TcpStream, S> for Introduced<A>
where
    A: Accept<TcpStream, S, Stream = TlsStream<Placed>>,
    A::Service: Send + 'static,
    A::Future: Send + 'static,
{
    type Stream = A::Stream;
    type Service = AddExtension<A::Service, ClientCertificate>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepting = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let client = ClientCertificate(shown.map(|certificate| Sha256::digest(certificate).into()));
            Ok((stream, AddExtension::new(service, client)))
        })
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
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build();
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
