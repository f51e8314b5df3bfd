//! Reading ahead of TLS: rustls asks a socket for 4 KiB at a time, so that a batch of 1 MiB would take 256 system calls.
//! Memory for what was read ahead is lent by the thread that reads, and given back as soon as nothing is left in it: a
//! connection on which nothing arrives holds none.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once: four records of TLS (RFC 8446, 5.1).
const BUFFER_BYTES: usize = 64 * 1024;
/// How many a thread keeps that nobody uses.
const KEPT_MAX: usize = 8;

thread_local! {
    static KEPT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A stream that is read in large pieces, however small those are that are asked of it. Writes pass.
#[derive(Debug)]
pub struct ReadAhead<S> {
    stream: S,
    ahead: Option<Ahead>,
}

/// What was read and not asked for yet; never empty.
#[derive(Debug)]
struct Ahead {
    buffer: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    /// Reads ahead of what is asked for.
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: None }
    }

    /// Hands out what is there. Whether there was anything.
    fn hand_out(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let Some(ahead) = &mut self.ahead else {
            return false;
        };
        let length = out.remaining().min(ahead.end - ahead.begin);
        out.put_slice(&ahead.buffer[ahead.begin..ahead.begin + length]);
        ahead.begin += length;
        if ahead.begin == ahead.end
            && let Some(ahead) = self.ahead.take()
        {
            give_back(ahead.buffer);
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hand_out(out) {
            return Poll::Ready(Ok(()));
        }
        if out.remaining() >= BUFFER_BYTES {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let mut buffer = borrow();
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        let end = read.filled().len();
        if end == 0 {
            give_back(buffer);
            return polled;
        }
        ready!(polled)?;
        self.ahead = Some(Ahead {
            buffer,
            begin: 0,
            end,
        });
        self.hand_out(out);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A buffer of the thread's.
pub(super) fn borrow() -> Box<[u8]> {
    KEPT.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
}

pub(super) fn give_back(buffer: Box<[u8]>) {
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Counts how often it is read.
    struct Counted<S> {
        stream: S,
        reads: usize,
    }

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            Pin::new(&mut self.stream).poll_read(cx, out)
        }
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn many_small_reads_are_few_of_the_stream() {
        let sent = bytes(3 * BUFFER_BYTES);
        let counted = Counted {
            stream: sent.as_slice(),
            reads: 0,
        };
        let mut stream = ReadAhead::new(counted);
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let length = stream.read(&mut piece).await.expect("memory can be read");
            if length == 0 {
                break;
            }
            read.extend_from_slice(&piece[..length]);
        }
        assert_eq!(read, sent);
        assert_eq!(
            stream.stream.reads, 4,
            "three that brought something, and the end"
        );
    }

    #[tokio::test]
    async fn buffer_is_held_only_while_something_is_left_in_it() {
        let (mut client, server) = duplex(BUFFER_BYTES);
        let mut stream = ReadAhead::new(server);
        let mut piece = [0; 4];
        let nothing = futures::poll!(std::pin::pin!(stream.read(&mut piece)));
        assert!(nothing.is_pending());
        assert!(stream.ahead.is_none());
        client.write_all(b"abcdef").await.expect("open");
        stream.read_exact(&mut piece).await.expect("sent");
        assert_eq!(&piece, b"abcd");
        assert!(stream.ahead.is_some());
        assert_eq!(stream.read(&mut piece).await.expect("sent"), 2);
        assert_eq!(&piece[..2], b"ef");
        assert!(stream.ahead.is_none());
        drop(client);
        assert_eq!(stream.read(&mut piece).await.expect("closed in order"), 0);
    }

    #[tokio::test]
    async fn writes_pass_and_large_reads_are_not_copied_twice() {
        let (mut client, server) = duplex(4 * BUFFER_BYTES);
        let mut stream = ReadAhead::new(server);
        stream.write_all(b"answer").await.expect("open");
        stream.flush().await.expect("open");
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.expect("sent");
        assert_eq!(&answer, b"answer");
        let sent = bytes(2 * BUFFER_BYTES);
        client.write_all(&sent).await.expect("open");
        let mut read = vec![0; 2 * BUFFER_BYTES];
        assert_eq!(stream.read(&mut read).await.expect("sent"), read.len());
        assert_eq!(read, sent);
        assert!(stream.ahead.is_none());
    }

    #[tokio::test]
    async fn error_of_the_stream_is_the_readers() {
        struct Broken;
        impl AsyncRead for Broken {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::Error::other("gone")))
            }
        }
        let mut stream = ReadAhead::new(Broken);
        let error = stream.read(&mut [0; 10]).await.expect_err("it is broken");
        assert_eq!(error.to_string(), "gone");
        assert!(stream.ahead.is_none());
    }
}
