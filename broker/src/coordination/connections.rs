//! Which brokers are connected to this one. When the last connection of a broker breaks, its process is likely gone: the
//! system closes what a killed process had open. The controller then waits for a shorter time before it fences.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use flotilla_protocol::BrokerId;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tonic::transport::server::Connected;

/// The connections from other brokers.
#[derive(Debug, Default)]
pub struct Connections {
    brokers: Mutex<BTreeMap<BrokerId, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    open: usize,
    broken: Option<Instant>,
}

impl Connections {
    /// A connection of a broker is open until what is returned is dropped.
    #[must_use]
    pub fn open(self: &Arc<Self>, broker: BrokerId) -> Open {
        let mut brokers = self.brokers.lock();
        let line = brokers.entry(broker).or_default();
        line.open += 1;
        line.broken = None;
        Open {
            connections: self.clone(),
            broker,
        }
    }

    /// Brokers that had connections and have none now, and since when.
    #[must_use]
    pub fn broken(&self) -> BTreeMap<BrokerId, Instant> {
        let brokers = self.brokers.lock();
        brokers
            .iter()
            .filter_map(|(broker, line)| Some((*broker, line.broken?)))
            .collect()
    }

    fn closed(&self, broker: BrokerId) {
        if let Some(line) = self.brokers.lock().get_mut(&broker) {
            line.open = line.open.saturating_sub(1);
            if line.open == 0 {
                line.broken = Some(Instant::now());
            }
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Open {
    connections: Arc<Connections>,
    broker: BrokerId,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.closed(self.broker);
    }
}

/// A connection that is counted while it is open.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    _open: Option<Open>,
}

impl<S> Counted<S> {
    /// `open` is none for those that are no brokers.
    pub fn new(stream: S, open: Option<Open>) -> Self {
        Self { stream, _open: open }
    }
}

impl<S: Connected> Connected for Counted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_gone_when_its_last_connection_is() {
        let connections = Arc::new(Connections::default());
        let (one, two) = (connections.open(BrokerId(1)), connections.open(BrokerId(1)));
        drop(one);
        assert_eq!(connections.broken(), BTreeMap::new());
        drop(two);
        assert_eq!(
            connections.broken().into_keys().collect::<Vec<_>>(),
            [BrokerId(1)]
        );
        let _again = connections.open(BrokerId(1));
        assert_eq!(connections.broken(), BTreeMap::new());
    }
}
