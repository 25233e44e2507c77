//! Owns the time in which a new connection must say which HTTP it speaks.
//! Refuses to read what it says. Invariant: nobody holds a place by silence: until the first bytes decide between HTTP/1 and HTTP/2, when
//! their own time-outs begin, only this one runs (I16).

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How a client of HTTP/2 begins (RFC 9113, section 3.4); whatever differs from it is HTTP/1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Listens to each connection that the acceptor below has made, so to what stands inside of TLS.
#[derive(Clone)]
pub(super) struct Listening<A> {
    pub(super) acceptor: A,
    pub(super) within: Duration,
}

impl<S, A> Accept<TcpStream, S> for Listening<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
{
    type Stream = Heard<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (accepting, within) = (self.acceptor.accept(stream, service), self.within);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            Ok((Heard { stream, silence: Some(Silence { heard: 0, ends: Box::pin(sleep(within)) }) }, service))
        })
    }
}

/// A connection that must say something in time.
pub(super) struct Heard<S> {
    stream: S,
    silence: Option<Silence>,
}

struct Silence {
    /// Bytes that may still be either HTTP.
    heard: usize,
    ends: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(silence) = &mut self.silence else { return read };
        if read.is_pending() {
            ready!(silence.ends.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "it has not said what it wants")));
        }
        let said = &buffer.filled()[before..];
        silence.heard += said.len();
        let is_open = PREFACE[..PREFACE.len() - 1].get(silence.heard - said.len()..silence.heard) == Some(said);
        if !is_open {
            self.silence = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
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
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;

    const WITHIN: Duration = Duration::from_millis(50);
    /// A silence that has not ended by then never does.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn heard<S>(stream: S) -> Heard<S> {
        Heard { stream, silence: Some(Silence { heard: 0, ends: Box::pin(sleep(WITHIN)) }) }
    }

    /// A connection that has said this, one byte at a time: how it is cut up must not matter. It goes on as long as the second is held.
    async fn after(said: &[u8]) -> (Heard<DuplexStream>, DuplexStream) {
        let (ours, mut theirs) = duplex(1_024);
        let mut ours = heard(ours);
        for byte in said {
            theirs.write_all(&[*byte]).await.expect("room");
            ours.read_exact(&mut [0]).await.expect("what was said");
        }
        (ours, theirs)
    }

    #[tokio::test]
    async fn silence_ends_in_time_until_it_is_clear_which_http_is_spoken() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut ours, _theirs) = after(said).await;
            let read = timeout(PATIENCE, ours.read_u8()).await.expect("an end of the silence");
            assert_eq!(read.expect_err("nobody says more").kind(), ErrorKind::TimedOut, "after {:?}", String::from_utf8_lossy(said));
        }
        for said in [&b"G"[..], b"POST", b"PRI * HTTP/1", PREFACE] {
            let (ours, _theirs) = after(said).await;
            assert!(ours.silence.is_none(), "still listening after {:?}", String::from_utf8_lossy(said));
        }
    }

    #[tokio::test]
    async fn whoever_leaves_without_a_word_has_left() {
        let (ours, theirs) = duplex(1_024);
        drop(theirs);
        assert_eq!(heard(ours).read(&mut [0; 8]).await.expect("an end"), 0);
    }
}
