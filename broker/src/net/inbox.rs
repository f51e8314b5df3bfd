//! Frames out of a stream of bytes. Between frames it holds no memory, so that idle connections are cheap; inside one it
//! takes what arrives, never what a length merely announces.

use super::budget::{Budget, Reservation, UNCOUNTED_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use flotilla_protocol::frame::{self, FrameError};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// What is read at a time while the size of a frame is not known, or it is small.
const CHUNK_BYTES: usize = 4096;
/// The most that is allocated ahead of what has arrived.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// A whole frame, without its length.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// Ends when the request is answered.
    pub(super) reservation: Option<Reservation>,
}

/// Why no frame comes any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the client left in the middle of a request")]
    Truncated,
}

#[derive(Default)]
pub(super) struct Inbox {
    received: BytesMut,
    reservation: Option<Reservation>,
    waiting: Option<BoxFuture<'static, Reservation>>,
}

impl Inbox {
    /// Whether a frame has begun to arrive.
    pub(super) fn is_inside_frame(&self) -> bool {
        !self.received.is_empty()
    }

    /// Whether it is ours to read on, because there is no memory for the frame yet.
    pub(super) fn is_waiting_for_memory(&self) -> bool {
        self.waiting.is_some()
    }

    /// The next frame, of at most `size_max` bytes; `None` when the client has left between two frames.
    pub(super) fn poll_frame<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        size_max: usize,
        budget: Option<&Budget>,
    ) -> Poll<Result<Option<Frame>, Error>> {
        loop {
            let read = match frame::peek_size(&self.received, size_max)? {
                None => ready!(self.poll_chunk(cx, stream))?,
                Some(size) => {
                    if let Some(bytes) = frame::split(&mut self.received, size_max)? {
                        if self.received.is_empty() {
                            self.received = BytesMut::new();
                        }
                        let reservation = self.reservation.take();
                        return Poll::Ready(Ok(Some(Frame { bytes, reservation })));
                    }
                    if let Some(budget) = budget.filter(|_| size > UNCOUNTED_BYTES_MAX) {
                        ready!(self.poll_reserve(cx, size, budget));
                    }
                    let missing = size_of::<i32>() + size - self.received.len();
                    if missing > CHUNK_BYTES || self.received.capacity() - self.received.len() >= missing {
                        self.received.reserve(missing.min(AHEAD_BYTES_MAX));
                        ready!(pin!(stream.read_buf(&mut self.received)).poll_unpin(cx))?
                    } else {
                        ready!(self.poll_chunk(cx, stream))?
                    }
                }
            };
            if read == 0 {
                let end = if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err(Error::Truncated)
                };
                return Poll::Ready(end);
            }
        }
    }

    /// Through the stack, so that nothing is allocated before something is there.
    fn poll_chunk<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(stream).poll_read(cx, &mut chunk))?;
        self.received.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    fn poll_reserve(&mut self, cx: &mut Context<'_>, size: usize, budget: &Budget) -> Poll<()> {
        if self.reservation.is_none() {
            let waiting = self
                .waiting
                .get_or_insert_with(|| budget.clone().reserve(size).boxed());
            self.reservation = Some(ready!(waiting.poll_unpin(cx)));
            self.waiting = None;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::poll_fn;
    use tokio::io::{AsyncWriteExt, duplex};

    async fn next(
        inbox: &mut Inbox,
        stream: &mut (impl AsyncRead + Unpin),
        max: usize,
    ) -> Result<Option<Bytes>, Error> {
        let frame = poll_fn(|cx| inbox.poll_frame(cx, stream, max, None)).await?;
        Ok(frame.map(|frame| frame.bytes))
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        frame
    }

    #[tokio::test]
    async fn frames_of_every_size_come_out_as_they_went_in() {
        let bodies: Vec<Vec<u8>> = [0, 1, 4091, 4092, 4093, 70_000, 3, 2_500_000]
            .iter()
            .map(|size| (0..*size).map(|byte: usize| byte as u8).collect())
            .collect();
        let sent = bodies.clone();
        let (mut client, mut server) = duplex(8192);
        tokio::spawn(async move {
            for body in sent {
                client.write_all(&framed(&body)).await.expect("open");
            }
        });
        let mut inbox = Inbox::default();
        for body in bodies {
            assert_eq!(
                next(&mut inbox, &mut server, 1 << 22).await.expect("sent"),
                Some(body.into())
            );
        }
        assert_eq!(
            next(&mut inbox, &mut server, 1 << 22)
                .await
                .expect("closed in order"),
            None
        );
        assert_eq!(inbox.received.capacity(), 0, "idle connections hold no buffer");
    }

    #[tokio::test]
    async fn announced_size_alone_allocates_little() {
        let (mut client, mut server) = duplex(64);
        client.write_all(&[0x06, 0, 0, 0, 1]).await.expect("open");
        let mut inbox = Inbox::default();
        let waiting =
            poll_fn(|cx| Poll::Ready(inbox.poll_frame(cx, &mut server, 104_857_600, None).is_pending()));
        assert!(waiting.await);
        assert!(inbox.received.capacity() <= 2 * AHEAD_BYTES_MAX);
    }

    #[tokio::test]
    async fn frame_waits_for_memory_and_gives_it_back() {
        let budget = Budget::new(64 * 1024);
        let held = budget.clone().reserve(60 * 1024).await;
        let (mut client, mut server) = duplex(1 << 20);
        client.write_all(&framed(&[7; 50_000])).await.expect("open");
        let mut inbox = Inbox::default();
        let pending = poll_fn(|cx| {
            Poll::Ready(
                inbox
                    .poll_frame(cx, &mut server, 1 << 20, Some(&budget))
                    .is_pending(),
            )
        });
        assert!(pending.await);
        assert!(inbox.is_waiting_for_memory());
        drop(held);
        let frame = poll_fn(|cx| inbox.poll_frame(cx, &mut server, 1 << 20, Some(&budget))).await;
        assert!(frame.expect("sent").expect("whole").reservation.is_some());
    }

    #[tokio::test]
    async fn frames_that_cannot_be_are_refused() {
        for (bytes, expected) in [
            (
                &[0x80, 0, 0, 0][..],
                "the length of a frame is negative: -2147483648",
            ),
            (
                &[0x7f, 0xff, 0xff, 0xff],
                "Frame too large: it announces 2147483647 bytes, and the limit is 1000",
            ),
            (&[0, 0, 0, 9, 1], "the client left in the middle of a request"),
            (&[0, 0], "the client left in the middle of a request"),
        ] {
            let (mut client, mut server) = duplex(64);
            client.write_all(bytes).await.expect("open");
            drop(client);
            let error = next(&mut Inbox::default(), &mut server, 1000)
                .await
                .expect_err("refused");
            assert_eq!(error.to_string(), expected);
        }
    }
}
