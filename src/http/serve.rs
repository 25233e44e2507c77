//! Owns listening: plain or TLS, until the token says stop, then as long as the grace allows.
//! Invariant: connections are bounded in number, so that they never take the descriptors that sending and the store need;
//! whoever sends no request is dropped (I16).

use std::{
    fs, future,
    io::{self, ErrorKind, IoSlice},
    net::{IpAddr, SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use axum_server::{Handle, Server, accept::Accept};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{
    Edge, Parts, address,
    hearing::Listening,
    known_addresses::KnownAddresses,
    places::{Holder, Place, Places},
    router,
    tls::{Introduced, Tls},
};
use crate::{network::Network, telemetry::metrics as meter};

/// Where more wait, a proxy stands in front; and never more than half of the descriptors the process may open.
const CONNECTIONS_MAX: usize = 8_192;
/// Below this the page and the bureaus could not be served beside each other.
const CONNECTIONS_MIN: usize = 64;
/// What one customer of the net may have of all: an eighth; where somebody known has asked from, a duty room behind one address, a half.
const SHARE_OF_STRANGERS: usize = 8;
const SHARE_OF_KNOWN: usize = 2;
/// An eighth of all is kept for addresses from which somebody known has asked.
const RESERVED: usize = 8;
/// With fewer there is no room for a county's phones beside its bureaus.
const DESCRIPTORS_ENOUGH: usize = 4_096;
/// Soft limit of a Linux process that nobody has changed.
const DESCRIPTORS_USUAL: usize = 1_024;
/// A request's head is a few packets. The same holds for an idle connection, so it must outlast a short pause of a posting system.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// No browser and no bureau's system sends more of a head.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEAD_LINES_MAX: usize = 64;
/// Requests of one connection of HTTP/2 at a time: a page with its files and its stream, or a system that pages through a list.
const REQUESTS_OF_CONNECTION: u32 = 20;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    head_within: Duration,
}

impl Bounds {
    fn of_this_process() -> Self {
        let descriptors = descriptors(&fs::read_to_string("/proc/self/limits").unwrap_or_default()).unwrap_or(DESCRIPTORS_USUAL);
        if descriptors < DESCRIPTORS_ENOUGH {
            tracing::warn!(
                descriptors,
                "this process may open few files and connections; set LimitNOFILE=65536 in its service file, or ulimit -n 65536"
            );
        }
        Self { connections: (descriptors / 2).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX), head_within: HEAD_WITHIN }
    }
}

/// The soft limit of open files, as the kernel tells it.
fn descriptors(limits: &str) -> Option<usize> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Serves until it is shut down, then lets requests end within `grace`.
pub async fn serve(listener: TcpListener, parts: Parts, tls: Option<Tls>, grace: Duration) -> io::Result<()> {
    let (stop, edge) = (parts.shutdown.clone(), Edge::new(parts));
    let bounds = Bounds::of_this_process();
    let room = Room::new(bounds, edge.known_addresses.clone(), &edge.settings.trusted_proxies);
    serve_within(bounds, room, listener, router(edge), tls, stop, grace).await
}

async fn serve_within(
    bounds: Bounds,
    room: Room,
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
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
    let within = bounds.head_within;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => {
            patient(axum_server::from_tcp(listener)?.acceptor(Listening { acceptor: room, within }).handle(handle), bounds)
                .serve(service)
                .await
        }
        Some(tls) => {
            let server = axum_server::from_tcp_rustls(listener, tls.config)?;
            let server = server.map(|acceptor| Listening { acceptor: Introduced(acceptor.acceptor(room)), within });
            patient(server.handle(handle), bounds).serve(service).await
        }
    }
}

fn patient<A>(mut server: Server<SocketAddr, A>, bounds: Bounds) -> Server<SocketAddr, A> {
    server.http_builder().http1().header_read_timeout(bounds.head_within).max_buf_size(HEAD_BYTES_MAX).max_headers(HEAD_LINES_MAX);
    let mut http2 = server.http_builder().http2();
    // A silent connection of HTTP/2 is asked whether it is still there.
    http2.keep_alive_interval(bounds.head_within).keep_alive_timeout(bounds.head_within);
    http2.max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX)).max_concurrent_streams(REQUESTS_OF_CONNECTION);
    server
}

/// Places for connections; who finds none is refused at once instead of holding a descriptor while it waits.
#[derive(Clone)]
struct Room {
    places: Arc<Places>,
    all: usize,
    known: KnownAddresses,
    /// Their connections carry other people's requests, who are told apart there.
    proxies: Arc<[Network]>,
}

impl Room {
    fn new(bounds: Bounds, known: KnownAddresses, proxies: &[Network]) -> Self {
        Self { places: Places::new(bounds.connections, bounds.connections), all: bounds.connections, known, proxies: proxies.into() }
    }

    fn take(&self, peer: IpAddr) -> Option<Place> {
        let is_known = self.known.knows(peer);
        let holder = (!address::is_among(peer, &self.proxies)).then(|| Holder::at(peer));
        let part = if is_known { SHARE_OF_KNOWN } else { SHARE_OF_STRANGERS };
        let reserve = if is_known { 0 } else { self.all / RESERVED };
        self.places.take_within(holder, self.all.div_ceil(part), reserve)
    }
}

impl<S> Accept<TcpStream, S> for Room {
    type Stream = Placed;
    type Service = S;
    type Future = future::Ready<io::Result<(Placed, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Some(place) = stream.peer_addr().ok().and_then(|peer| self.take(peer.ip())) else {
            meter::connection_refused();
            return future::ready(Err(io::Error::new(ErrorKind::ConnectionRefused, "no place for another connection")));
        };
        // A live event must not wait for the acknowledgement of the one before.
        future::ready(stream.set_nodelay(true).map(|()| (Placed { stream, _place: place }, service)))
    }
}

/// A connection with its place, which is given back when the connection is gone.
pub(super) struct Placed {
    stream: TcpStream,
    _place: Place,
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use axum::routing::get;
    use reqwest::Client;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;
    use crate::http::tls::TlsFiles;

    const PATIENCE: Duration = Duration::from_secs(20);
    const BOUNDS: Bounds = Bounds { connections: 2, head_within: Duration::from_millis(200) };

    fn start(bounds: Bounds, tls: Option<Tls>) -> (SocketAddr, CancellationToken) {
        // The clients of these tests want a provider; another test of this process may have set it.
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "here" }));
        let room = Room::new(bounds, KnownAddresses::default(), &["127.0.0.1".parse().expect("a network")]);
        tokio::spawn(serve_within(bounds, room, listener, router, tls, stop.clone(), PATIENCE));
        (address, stop)
    }

    async fn end_of(mut stream: TcpStream) -> Vec<u8> {
        let mut told = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut told)).await.expect("the connection is closed").expect("what was told");
        told
    }

    #[test]
    fn the_kernels_limit_of_open_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            65536                524288               files\n";
        assert_eq!(descriptors(limits), Some(65_536));
        assert_eq!(descriptors("Max open files            unlimited            unlimited            files"), None);
        assert_eq!(descriptors(""), None);
    }

    #[tokio::test]
    async fn one_address_has_a_share_and_known_addresses_find_room_when_strangers_are_many() {
        let known = KnownAddresses::default();
        let room = Room::new(Bounds { connections: 64, ..BOUNDS }, known.clone(), &["127.0.0.0/8".parse().expect("a network")]);
        let take = |address: &str, often: usize| -> Vec<Place> {
            (0..often).filter_map(|_| room.take(address.parse().expect("an address"))).collect()
        };
        let one = take("198.51.100.1", 64);
        assert_eq!(one.len(), 8);
        let neighbours: Vec<_> = ["2001:db8::1", "2001:db8::2"].iter().flat_map(|address| take(address, 64)).collect();
        assert_eq!(neighbours.len(), 8, "one line is one customer");
        let crowd: Vec<_> = (0..64).flat_map(|number| take(&format!("203.0.113.{number}"), 1)).collect();
        assert_eq!((crowd.len(), take("127.0.0.1", 1).len()), (40, 0), "what is left is kept for those who are known");
        known.saw("192.0.2.5".parse().expect("an address"));
        assert_eq!(take("192.0.2.5", 64).len(), 8);
        drop((crowd, neighbours, one));
        assert_eq!(
            (take("192.0.2.5", 64).len(), take("127.0.0.1", 64).len()),
            (32, 24),
            "a proxy stands for many, and takes none of what is kept"
        );
    }

    #[tokio::test]
    async fn whoever_sends_no_request_is_dropped() {
        let (address, stop) = start(BOUNDS, None);
        let mut half = TcpStream::connect(address).await.expect("a connection");
        half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.expect("half a head");
        let told = end_of(half).await;
        assert!(!told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
        stop.cancel();
    }

    #[tokio::test]
    async fn whoever_says_nothing_at_all_is_dropped() {
        let (address, stop) = start(BOUNDS, None);
        let silent = TcpStream::connect(address).await.expect("a connection");
        assert!(end_of(silent).await.is_empty());
        stop.cancel();
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_are_refused_and_places_are_given_back() {
        let (address, stop) = start(Bounds { head_within: PATIENCE, ..BOUNDS }, None);
        let mut kept = Vec::new();
        for _ in 0..BOUNDS.connections {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("a request");
            let mut first = [0; 15];
            timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("an answer").expect("bytes");
            assert_eq!(&first, b"HTTP/1.1 200 OK");
            kept.push(stream);
        }
        assert!(end_of(TcpStream::connect(address).await.expect("a connection")).await.is_empty());
        drop(kept);
        let client = Client::new();
        let answered = timeout(PATIENCE, async {
            while client.get(format!("http://{address}/")).send().await.is_err() {
                tokio::task::yield_now().await;
            }
        });
        answered.await.expect("a place is free again");
        stop.cancel();
    }

    fn write_pair(dir: &Path) -> TlsFiles {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let files = TlsFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem"), client_ca: None };
        fs::write(&files.cert, pair.cert.pem()).expect("the certificate");
        fs::write(&files.key, pair.signing_key.serialize_pem()).expect("the key");
        files
    }

    fn trusting(cert: &Path, address: SocketAddr) -> Client {
        let root = reqwest::Certificate::from_pem(&fs::read(cert).expect("the certificate")).expect("a root");
        Client::builder().tls_certs_only([root]).resolve("localhost", address).build().expect("a client")
    }

    #[tokio::test]
    async fn a_new_certificate_is_taken_while_it_runs_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = write_pair(dir.path());
        let tls = Tls::load(files.clone()).expect("a pair");
        let (address, stop) = start(BOUNDS, Some(tls.clone()));
        let url = format!("https://localhost:{}/", address.port());
        let old = trusting(&files.cert, address);
        assert!(old.get(&url).send().await.expect("an answer").status().is_success());
        write_pair(dir.path());
        tls.reload().expect("the new pair");
        let new = trusting(&files.cert, address);
        assert!(new.get(&url).send().await.expect("an answer").status().is_success());
        fs::write(&files.cert, "not a certificate").expect("a broken file");
        let told = tls.reload().expect_err("a fault").to_string();
        assert!(told.contains("cert.pem") && told.contains("holds no certificate"), "{told}");
        assert!(new.get(&url).send().await.expect("an answer").status().is_success());
        stop.cancel();
    }
}
