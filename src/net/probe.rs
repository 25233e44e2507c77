//! Owns asking a broker what it is, before anybody signs in: one CONNECT of MQTT 5 without a name, and the first bytes of the answer.
//! Refuses to know what the connection is for. Invariant: it takes seconds at most, sends no secret, and leaves nothing at the broker.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::broker::Far;

/// A broker answers a CONNECT at once or, where it does not understand it, never.
const WITHIN: Duration = Duration::from_secs(5);
/// The connection ends after this; the session with it.
const KEEP_ALIVE_S: u8 = 10;

/// What a broker says to a stranger who speaks MQTT 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It knows MQTT 3.1.1 alone.
    TooOld,
    /// It lets in whoever comes.
    LetIn,
    TurnedAway,
    /// It could not be reached, or said something else.
    Unknown,
}

pub(crate) async fn ask(far: &Far) -> Stranger {
    let asked = async {
        let stream = TcpStream::connect((far.host.as_str(), far.port)).await.ok()?;
        match &far.tls {
            None => answer(stream).await,
            Some(config) => {
                let name = ServerName::try_from(far.host.clone()).ok()?;
                answer(TlsConnector::from(std::sync::Arc::clone(config)).connect(name, stream).await.ok()?).await
            }
        }
    };
    timeout(WITHIN, asked).await.ok().flatten().map_or(Stranger::Unknown, |head| meaning(&head))
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<[u8; 4]> {
    // Clean start, no session kept, no Will, no name; an id that the broker gives.
    let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, KEEP_ALIVE_S, 0, 0, 0];
    stream.write_all(&connect).await.ok()?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    // Polite, so that a broker writes no line about a lost client; one that has hung up does not need it.
    drop(stream.write_all(&[0xe0, 0]).await);
    Some(head)
}

/// CONNACK: its type, its length, whether a session is there, the reason.
fn meaning(head: &[u8; 4]) -> Stranger {
    match (head[0], head[1], head[3]) {
        // The form of 3.1.1, which has no properties: code 1 is "unacceptable protocol version".
        (0x20, 2, 1) | (0x20, _, 0x84) => Stranger::TooOld,
        (0x20, 3.., 0) => Stranger::LetIn,
        (0x20, _, 1..) => Stranger::TurnedAway,
        _ => Stranger::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpListener;

    use super::*;

    async fn one_that_says(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut connect = [0; 15];
            stream.read_exact(&mut connect).await.expect("a CONNECT");
            stream.write_all(bytes).await.expect("written");
            // Some keep the connection open after they have refused it.
            stream.read_to_end(&mut Vec::new()).await.ok();
        });
        address
    }

    #[tokio::test]
    async fn a_broker_is_known_by_what_it_says_to_a_stranger() {
        for (bytes, meaning) in [
            (&[0x20, 2, 0, 1][..], Stranger::TooOld),
            (&[0x20, 3, 0, 0x84, 0], Stranger::TooOld),
            (&[0x20, 3, 0, 0, 0], Stranger::LetIn),
            (&[0x20, 3, 0, 0x87, 0], Stranger::TurnedAway),
            (&[0x20, 2, 0, 5], Stranger::TurnedAway),
            (b"HTTP/1.1 400 Bad Request", Stranger::Unknown),
        ] {
            let far = Far::at(one_that_says(bytes).await);
            assert_eq!(ask(&far).await, meaning, "{bytes:?}");
        }
    }
}
