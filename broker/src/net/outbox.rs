//! Answers on their way to the client.

use super::send_file::SendFile;
use flotilla_protocol::Segment;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The segments of one write.
const SEGMENTS_MAX: usize = 64;

/// What is not sent yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// None of them is empty.
    segments: VecDeque<Segment>,
    bytes: usize,
    is_unflushed: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, segments: Vec<Segment>) {
        self.bytes += segments.iter().map(Segment::len).sum::<usize>();
        self.segments
            .extend(segments.into_iter().filter(|segment| !segment.is_empty()));
    }

    /// Whether all is sent and flushed.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty() && !self.is_unflushed
    }

    /// How many bytes are not sent yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many segments are not sent yet.
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Sends what the stream takes. None: it takes nothing more for now. Otherwise how many bytes it took, which is 0 where it was only flushed.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::WriteZero`] where it is closed, or where a file ends before what is to be sent of it does.
    pub(super) fn advance<S: SendFile>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> io::Result<Option<usize>> {
        let mut moved = None;
        while !self.segments.is_empty() {
            match self.poll_send(cx, Pin::new(&mut *stream)) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(sent)) => {
                    self.sent(sent);
                    moved = Some(moved.unwrap_or(0) + sent);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.is_unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(cx)
        {
            flushed?;
            self.is_unflushed = false;
            moved = moved.or(Some(0));
        }
        Ok(moved)
    }

    /// Sends what lies in memory up to the next region of a file, or of that region.
    fn poll_send<S: SendFile>(&self, cx: &mut Context<'_>, stream: Pin<&mut S>) -> Poll<io::Result<usize>> {
        if let Some(Segment::File(region)) = self.segments.front() {
            return stream.poll_send_file(cx, region);
        }
        let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX];
        let mut count = 0;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            let Segment::Memory(bytes) = segment else {
                break;
            };
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        stream.poll_write_vectored(cx, &slices[..count])
    }

    fn sent(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        self.is_unflushed = true;
        while let Some(first) = self.segments.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                break;
            }
            bytes -= first.len();
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            // What one large answer needed is not kept.
            self.segments = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use flotilla_protocol::wire::Region;
    use std::io::Write as _;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    /// More than the buffers of a socket take.
    const FILE_BYTES: usize = 16 << 20;

    fn file() -> (Vec<u8>, Region) {
        let bytes: Vec<u8> = (0..FILE_BYTES).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let region = Region {
            file: Arc::new(file),
            position: 1_000,
            length: FILE_BYTES - 2_000,
        };
        (bytes, region)
    }

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    async fn send(outbox: &mut Outbox, stream: &mut TcpStream) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            loop {
                match outbox.advance(cx, stream) {
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(_) if outbox.is_empty() => return Poll::Ready(Ok(())),
                    Ok(Some(_)) => {}
                    Ok(None) => return Poll::Pending,
                }
            }
        })
        .await
    }

    #[tokio::test]
    async fn memory_and_files_arrive_in_order_also_where_the_socket_takes_parts() {
        let (bytes, region) = file();
        let mut outbox = Outbox::default();
        let memory = |text: &'static str| Segment::Memory(Bytes::from_static(text.as_bytes()));
        outbox.push(vec![memory("before"), memory(""), Segment::File(region.clone())]);
        outbox.push(vec![
            memory("between"),
            Segment::File(region.clone()),
            memory("after"),
        ]);
        assert_eq!(outbox.bytes(), 2 * region.length + 18);
        let (mut stream, mut client) = connected().await;
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.map(|_| received)
        });
        send(&mut outbox, &mut stream).await.unwrap();
        assert_eq!((outbox.bytes(), outbox.segments()), (0, 0));
        drop(stream);
        let part = &bytes[1_000..FILE_BYTES - 1_000];
        let expected = [b"before", part, b"between", part, b"after"].concat();
        assert!(reading.await.unwrap().unwrap() == expected);
    }

    #[tokio::test]
    async fn file_that_ends_too_early_ends_the_connection() {
        let (_, region) = file();
        region.file.set_len(5_000).unwrap();
        let mut outbox = Outbox::default();
        outbox.push(vec![Segment::File(region)]);
        let (mut stream, _client) = connected().await;
        let sent = send(&mut outbox, &mut stream).await;
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
