//! Owns bodies that are written on a thread of their own while they are read.
//! Refuses to know what is written. Invariant: no more than a few pieces are in memory; the writer ends when the reader has gone or takes nothing
//! for too long; a body that ended early is cut off, so that nobody takes a part for the whole.

use std::{io, time::Duration};

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::{runtime::Handle, sync::mpsc};

/// One packet of the net is small against it, and a thousand readers' pieces are small against the memory.
const PIECE_BYTES: usize = 64 << 10;
/// Written ahead of the reader.
const PIECES_AHEAD: usize = 4;
/// A reader who takes not one piece in this time is stuck, and keeps others from their turn.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Nobody reads any more.
#[derive(Debug)]
pub(super) struct Gone;

pub(super) struct Pieces {
    piece: String,
    sender: mpsc::Sender<Option<Bytes>>,
    within: Duration,
}

impl Pieces {
    pub(super) fn write(&mut self, text: &str) -> Result<(), Gone> {
        self.piece.push_str(text);
        if self.piece.len() < PIECE_BYTES { Ok(()) } else { self.send_piece() }
    }

    fn send_piece(&mut self) -> Result<(), Gone> {
        let piece = std::mem::take(&mut self.piece);
        self.send(Some(piece.into()))
    }

    fn send(&self, piece: Option<Bytes>) -> Result<(), Gone> {
        let sent = Handle::current().block_on(self.sender.send_timeout(piece, self.within));
        sent.map_err(|_| Gone)
    }
}

/// A body that `write` fills, on a thread that may work for seconds.
pub(super) fn written(write: impl FnOnce(&mut Pieces) -> Result<(), Gone> + Send + 'static) -> Body {
    written_within(READ_WITHIN, write)
}

fn written_within(within: Duration, write: impl FnOnce(&mut Pieces) -> Result<(), Gone> + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    // It ends with the body: whoever drops that drops the receiver.
    drop(tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { piece: String::new(), sender, within };
        // `None` says that it is whole.
        let whole = write(&mut pieces).and_then(|()| pieces.send_piece()).and_then(|()| pieces.send(None));
        if whole.is_err() {
            tracing::info!("a report was given up: its reader has gone or takes nothing");
        }
    }));
    Body::from_stream(stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(receiver))),
            Some(None) => None,
            None => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use std::sync::atomic::Ordering;

    use axum::body::to_bytes;
    use tokio::sync::oneshot;

    use super::*;

    const ROW: &str = "a row of some hundred characters that stands for a delivery, its person, its channel and what became of it so far\n";
    const ROWS: usize = 50_000;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_that_is_written_is_read() {
        let body = written(|pieces| (0..ROWS).try_for_each(|_| pieces.write(ROW)));
        assert_eq!(to_bytes(body, usize::MAX).await.expect("whole").len(), ROWS * ROW.len());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_writer_ends_when_the_reader_has_gone_or_takes_nothing() {
        for is_dropped in [true, false] {
            let (wrote, (ended, end)) = (Arc::new(AtomicUsize::new(0)), oneshot::channel());
            let counted = Arc::clone(&wrote);
            let body = written_within(Duration::from_millis(50), move |pieces| {
                let done = (0..ROWS).try_for_each(|_| {
                    pieces.write(ROW).map(|()| {
                        counted.fetch_add(1, Ordering::Relaxed);
                    })
                });
                assert!(ended.send(done.is_err()).is_ok(), "the test waits");
                done
            });
            let held = (!is_dropped).then_some(body);
            assert!(end.await.expect("the writer ends"), "it was given up");
            assert!(wrote.load(Ordering::Relaxed) < ROWS);
            if let Some(body) = held {
                assert!(to_bytes(body, usize::MAX).await.is_err(), "a part is no whole");
            }
        }
    }
}
