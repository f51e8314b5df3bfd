//! Sending what lies in a file: from the page cache to the socket without copying through this process (sendfile(2)), or, where it has to be
//! encrypted, in pieces that stay in the processor's cache until they are.

use super::read_ahead::{ReadAhead, borrow, give_back};
use flotilla_protocol::wire::Region;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A stream that takes regions of files.
pub(super) trait SendFile: AsyncWrite + Unpin {
    /// Sends from the beginning of a region. How many bytes it took: 0 where the file has none there. Blocks for a disk where the region is
    /// not in the page cache.
    ///
    /// # Errors
    /// Those of the stream and of the file.
    fn poll_send_file(self: Pin<&mut Self>, cx: &mut Context<'_>, region: &Region)
    -> Poll<io::Result<usize>>;
}

impl SendFile for TcpStream {
    fn poll_send_file(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        region: &Region,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let mut position = region.position;
            let sent = self.try_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(
                    &*self,
                    &region.file,
                    Some(&mut position),
                    region.length,
                )?)
            });
            match sent {
                // The socket was not ready after all: it is asked again, and says when it is.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl SendFile for TlsStream<ReadAhead<TcpStream>> {
    fn poll_send_file(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        region: &Region,
    ) -> Poll<io::Result<usize>> {
        // Nothing is read that would have to wait for what was encrypted before.
        ready!(self.as_mut().poll_flush(cx))?;
        let mut buffer = borrow();
        let length = region.length.min(buffer.len());
        let sent = match region.file.read_at(&mut buffer[..length], region.position) {
            Ok(0) => Poll::Ready(Ok(0)),
            Ok(read) => self.poll_write(cx, &buffer[..read]),
            Err(error) => Poll::Ready(Err(error)),
        };
        give_back(buffer);
        sent
    }
}
