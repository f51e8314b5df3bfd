//! Which brokers are connected to this one. When the last connection of a broker breaks, its process is likely gone: the
//! system closes what a killed process had open. It is knocked at then, and where its machine says that nobody listens there, it is
//! gone for certain. The controller waits for a shorter time before it fences the one, and hardly at all for the other; and clients
//! are not sent any more to who is gone for certain.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flotilla_protocol::{BrokerEpoch, BrokerId};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tonic::transport::server::Connected;

/// Between two knocks at a broker that hung up.
pub const KNOCK_INTERVAL: Duration = Duration::from_millis(50);
/// For so long after it hung up a broker is knocked at: its session ends then without that.
const KNOCKED_FOR: Duration = Duration::from_secs(1);

/// A broker is presumed gone for so long after it hung up: five knocks.
const PRESUMED_FOR: Duration = Duration::from_millis(250);

/// The connections from other brokers.
#[derive(Debug, Default)]
pub struct Connections {
    brokers: Mutex<BTreeMap<BrokerId, Line>>,
    broke: Notify,
}

#[derive(Debug, Default)]
struct Line {
    open: usize,
    broken: Option<Instant>,
    /// What was found there since.
    found: Knocked,
}

/// What a knock at a broker finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Knocked {
    /// Nobody listens where it should be, as its machine says: the process of this registration is gone.
    Gone(BrokerEpoch),
    /// Somebody listens there.
    Listens,
    /// There is no answer, from the machine neither.
    #[default]
    Silent,
}

impl Connections {
    /// A connection of a broker is open until what is returned is dropped.
    #[must_use]
    pub fn open(self: &Arc<Self>, broker: BrokerId) -> Open {
        let mut brokers = self.brokers.lock();
        let line = brokers.entry(broker).or_default();
        line.open += 1;
        line.broken = None;
        line.found = Knocked::Silent;
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

    /// Of those that have no connection now, the ones whose process is known to be gone.
    #[must_use]
    pub fn refused(&self) -> BTreeSet<BrokerId> {
        let brokers = self.brokers.lock();
        let refused = brokers
            .iter()
            .filter(|(_, line)| line.broken.is_some() && matches!(line.found, Knocked::Gone(_)));
        refused.map(|(broker, _)| *broker).collect()
    }

    /// Whether the process that registered as `broker` with that epoch is gone: that is known, or its last connection broke this moment
    /// and nobody was found to listen there since.
    #[must_use]
    pub fn is_gone(&self, broker: BrokerId, epoch: BrokerEpoch, now: Instant) -> bool {
        let brokers = self.brokers.lock();
        brokers.get(&broker).is_some_and(|line| match line.found {
            Knocked::Gone(gone) => gone == epoch,
            Knocked::Listens => false,
            Knocked::Silent => line
                .broken
                .is_some_and(|broken| now.saturating_duration_since(broken) < PRESUMED_FOR),
        })
    }

    /// A connection to a broker broke, or was not to be had. That is of interest while it has none to this one, and counts from the first
    /// time: whoever follows it tries again all the while.
    pub fn hung_up(&self, broker: BrokerId, now: Instant) {
        let mut brokers = self.brokers.lock();
        let line = brokers.entry(broker).or_default();
        let is_known = line
            .broken
            .is_some_and(|broken| now.saturating_duration_since(broken) < KNOCKED_FOR);
        if line.open == 0 && !is_known {
            self.broke(line, now);
        }
    }

    fn broke(&self, line: &mut Line, now: Instant) {
        line.broken = Some(now);
        line.found = Knocked::Silent;
        self.broke.notify_one();
    }

    /// Knocks at brokers that hung up, without end.
    pub async fn knock(self: Arc<Self>, knock: impl AsyncFn(BrokerId) -> Knocked) {
        loop {
            let doubtful = self.doubtful(Instant::now());
            if doubtful.is_empty() {
                self.broke.notified().await;
                continue;
            }
            let knocks = doubtful.into_iter().map(async |(broker, broken)| {
                let began = Instant::now();
                let found = knock(broker).await;
                self.note(broker, broken, began, found);
            });
            join_all(knocks).await;
            sleep(KNOCK_INTERVAL).await;
        }
    }

    /// Those that broke a moment ago, and are not known to be gone.
    fn doubtful(&self, now: Instant) -> Vec<(BrokerId, Instant)> {
        let brokers = self.brokers.lock();
        let doubtful = brokers
            .iter()
            .filter(|(_, line)| !matches!(line.found, Knocked::Gone(_)));
        doubtful
            .filter_map(|(broker, line)| Some((*broker, line.broken?)))
            .filter(|(_, broken)| now.saturating_duration_since(*broken) < KNOCKED_FOR)
            .collect()
    }

    /// A knock counts for the break that it followed only. That somebody listens counts from one interval after it on: a process that is
    /// just ending may listen for a moment after its connections broke. Silence says nothing.
    fn note(&self, broker: BrokerId, broken: Instant, began: Instant, found: Knocked) {
        let counts = match found {
            Knocked::Gone(_) => true,
            Knocked::Listens => began >= broken + KNOCK_INTERVAL,
            Knocked::Silent => false,
        };
        if let Some(line) = self.brokers.lock().get_mut(&broker)
            && line.broken == Some(broken)
            && counts
        {
            line.found = found;
        }
    }

    fn closed(&self, broker: BrokerId) {
        if let Some(line) = self.brokers.lock().get_mut(&broker) {
            line.open = line.open.saturating_sub(1);
            if line.open == 0 {
                self.broke(line, Instant::now());
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

    const EPOCH: BrokerEpoch = BrokerEpoch(7);

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

    #[tokio::test]
    async fn a_broker_that_hung_up_is_knocked_at_until_it_is_known_to_be_gone_or_is_back() {
        let connections = Arc::new(Connections::default());
        let knocks = Arc::new(Mutex::new(BTreeMap::<BrokerId, u32>::new()));
        let counted = knocks.clone();
        let knocking = connections.clone().knock(async move |broker| {
            let mut knocks = counted.lock();
            let count = knocks.entry(broker).or_default();
            *count += 1;
            // The first knock finds the process about to end, still listening; broker 2 listens on.
            match (broker, *count) {
                (BrokerId(1), 2) => Knocked::Gone(EPOCH),
                _ => Knocked::Listens,
            }
        });
        let task = tokio::spawn(knocking);
        let (gone, hung_up) = (connections.open(BrokerId(1)), connections.open(BrokerId(2)));
        let broken = Instant::now();
        drop((gone, hung_up));
        assert!(connections.is_gone(BrokerId(2), EPOCH, broken), "it is presumed");
        let deadline = Instant::now() + Duration::from_secs(20);
        while connections.refused().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", knocks.lock());
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(connections.refused(), BTreeSet::from([BrokerId(1)]));
        assert_eq!(knocks.lock()[&BrokerId(1)], 2);
        assert!(knocks.lock()[&BrokerId(2)] >= 1);
        assert!(!connections.is_gone(BrokerId(2), EPOCH, broken), "it listens on");
        let _again = connections.open(BrokerId(1));
        assert_eq!(connections.refused(), BTreeSet::new());
        task.abort();
    }

    #[test]
    fn a_knock_counts_for_the_break_that_it_followed_only() {
        let connections = Arc::new(Connections::default());
        drop(connections.open(BrokerId(1)));
        let [(_, broken)] = connections.doubtful(Instant::now())[..] else {
            panic!("it broke");
        };
        assert_eq!(connections.doubtful(broken + KNOCKED_FOR), []);
        connections.note(
            BrokerId(1),
            broken - KNOCK_INTERVAL,
            broken - KNOCK_INTERVAL,
            Knocked::Gone(EPOCH),
        );
        assert_eq!(connections.refused(), BTreeSet::new());
        connections.note(BrokerId(1), broken, broken, Knocked::Gone(EPOCH));
        assert_eq!(connections.refused(), BTreeSet::from([BrokerId(1)]));
        assert_eq!(connections.doubtful(broken), []);
    }

    #[test]
    fn who_registers_again_is_not_taken_for_who_is_gone() {
        let connections = Arc::new(Connections::default());
        let broken = Instant::now();
        connections.hung_up(BrokerId(1), broken);
        let later = broken + PRESUMED_FOR;
        let is_gone = |broker, epoch, now| connections.is_gone(BrokerId(broker), epoch, now);
        assert!(is_gone(1, EPOCH, broken), "it is presumed");
        assert!(!is_gone(1, EPOCH, later), "nobody found it gone");
        connections.note(BrokerId(1), broken, broken, Knocked::Gone(EPOCH));
        assert!(is_gone(1, EPOCH, later));
        assert!(!is_gone(1, BrokerEpoch(8), later));
        assert!(!is_gone(2, EPOCH, later));
    }

    #[test]
    fn who_listens_a_moment_later_is_not_presumed_gone_any_more() {
        let connections = Arc::new(Connections::default());
        let broken = Instant::now();
        connections.hung_up(BrokerId(1), broken);
        let is_gone = |now| connections.is_gone(BrokerId(1), EPOCH, now);
        connections.note(BrokerId(1), broken, broken, Knocked::Listens);
        assert!(is_gone(broken), "it may be about to end");
        let later = broken + KNOCK_INTERVAL;
        connections.note(BrokerId(1), broken - KNOCK_INTERVAL, later, Knocked::Listens);
        assert!(is_gone(later), "that was said of an earlier break");
        connections.note(BrokerId(1), broken, later, Knocked::Listens);
        assert!(!is_gone(later));
        connections.note(BrokerId(1), broken, broken, Knocked::Gone(EPOCH));
        assert!(is_gone(later), "it ended after all");
        let again = broken + KNOCKED_FOR;
        connections.hung_up(BrokerId(1), again);
        assert!(is_gone(again), "it broke anew");
    }

    #[test]
    fn a_broken_link_says_nothing_of_a_broker_that_is_connected() {
        let connections = Arc::new(Connections::default());
        let _open = connections.open(BrokerId(1));
        connections.hung_up(BrokerId(1), Instant::now());
        assert_eq!(connections.broken(), BTreeMap::new());
        assert_eq!(connections.doubtful(Instant::now()), []);
    }

    #[test]
    fn a_broker_that_is_tried_again_and_again_has_hung_up_once_and_may_do_so_once_more() {
        let connections = Arc::new(Connections::default());
        let first = Instant::now();
        connections.hung_up(BrokerId(1), first);
        connections.note(BrokerId(1), first, first, Knocked::Gone(EPOCH));
        connections.hung_up(BrokerId(1), first + KNOCK_INTERVAL);
        assert_eq!(connections.broken(), BTreeMap::from([(BrokerId(1), first)]));
        assert_eq!(connections.refused(), BTreeSet::from([BrokerId(1)]));
        let again = first + KNOCKED_FOR;
        connections.hung_up(BrokerId(1), again);
        assert_eq!(connections.doubtful(again), [(BrokerId(1), again)]);
        assert!(connections.is_gone(BrokerId(1), BrokerEpoch(8), again));
    }
}
