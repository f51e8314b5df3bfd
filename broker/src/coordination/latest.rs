//! The newest image that this broker knows, for everyone in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use flotilla_protocol::{BrokerEpoch, BrokerId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::metadata::{Broker, Image};

/// An image and the index of the quorum's log that it stands at.
#[derive(Clone, Debug, Default)]
pub struct Indexed {
    /// Of the last entry folded into it; 0 before any.
    pub index: u64,
    /// All metadata up to there.
    pub image: Arc<Image>,
}

/// Who was fenced last in which epoch, and when.
type Fencings = BTreeMap<BrokerId, (BrokerEpoch, Instant)>;

/// Reads the newest image. Clones are cheap and see the same.
#[derive(Clone, Debug)]
pub struct Metadata {
    latest: Arc<ArcSwap<Indexed>>,
    fenced: Arc<Mutex<Fencings>>,
    changes: watch::Receiver<u64>,
}

/// Why waiting for an index ended without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The deadline passed.
    #[error("the metadata here has not reached index {0} in time")]
    Timeout(u64),
    /// The broker is stopping.
    #[error("this broker is stopping")]
    Stopped,
}

impl Metadata {
    /// The newest image.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.latest.load().image.clone()
    }

    /// The index that the newest image stands at.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.latest.load().index
    }

    /// The newest image together with its index.
    #[must_use]
    pub fn latest(&self) -> Indexed {
        Indexed::clone(&self.latest.load())
    }

    /// When a broker was fenced last in its present epoch, as far as this process has seen it. It may serve again.
    #[must_use]
    pub fn fenced_at(&self, broker: &Broker) -> Option<Instant> {
        let fenced = self.fenced.lock();
        let (epoch, at) = fenced.get(&broker.id)?;
        (*epoch == broker.epoch).then_some(*at)
    }

    /// Follows the images from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            metadata: self.clone(),
        }
    }

    /// Waits until the image here stands at `index` or later.
    ///
    /// # Errors
    /// When the deadline passes first, or the broker stops.
    pub async fn wait_for(&self, index: u64, deadline: Instant) -> Result<(), WaitError> {
        let mut changes = self.changes.clone();
        let reached = changes.wait_for(|reached| *reached >= index);
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::Timeout(index)),
        }
    }
}

/// Follows the images; those that come faster than they are asked for are skipped over.
#[derive(Clone, Debug)]
pub struct Subscription {
    metadata: Metadata,
}

impl Subscription {
    /// The newest image, as soon as it is newer than the last one that was asked for here. `None`: the broker stops, and
    /// no other will come.
    pub async fn changed(&mut self) -> Option<Indexed> {
        self.metadata.changes.changed().await.ok()?;
        Some(self.latest())
    }

    /// The newest image, marked as seen.
    pub fn latest(&mut self) -> Indexed {
        self.metadata.changes.mark_unchanged();
        self.metadata.latest()
    }
}

/// Puts out images. A broker can learn the same entry twice, from its own Raft log and by observing another broker: the
/// index only ever grows.
#[derive(Clone, Debug)]
pub struct Publisher {
    latest: Arc<ArcSwap<Indexed>>,
    fenced: Arc<Mutex<Fencings>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Publisher {
    /// Begins with an image, and hands out what reads it.
    #[must_use]
    pub fn new(first: Indexed) -> (Self, Metadata) {
        let (sender, changes) = watch::channel(first.index);
        let latest = Arc::new(ArcSwap::from_pointee(first));
        let fenced: Arc<Mutex<Fencings>> = Arc::default();
        let metadata = Metadata {
            latest: latest.clone(),
            fenced: fenced.clone(),
            changes,
        };
        (
            Self {
                latest,
                fenced,
                changes: Arc::new(sender),
            },
            metadata,
        )
    }

    /// Puts out an image unless a newer one, or one as new, is out already.
    pub fn publish(&self, indexed: Indexed) {
        let index = indexed.index;
        self.changes.send_if_modified(|reached| {
            let newer = index > *reached;
            if newer {
                self.note_fenced(&indexed.image);
                self.latest.store(Arc::new(indexed));
                *reached = index;
            }
            newer
        });
    }

    /// Notes who is fenced by an image that is about to be put out, and forgets who is not registered in it.
    fn note_fenced(&self, image: &Image) {
        let before = self.latest.load();
        let mut fenced = self.fenced.lock();
        fenced.retain(|id, _| image.broker(*id).is_some());
        let now = Instant::now();
        let served = before.image.brokers().filter(|broker| !broker.fenced);
        let served_before =
            served.filter(|broker| image.broker(broker.id).is_some_and(|broker| broker.fenced));
        fenced.extend(served_before.map(|broker| (broker.id, (broker.epoch, now))));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flotilla_control::proto::metadata as proto;

    use super::*;
    use crate::metadata::Fact;
    use crate::request::testing::broker_record;

    fn at(index: u64) -> Indexed {
        Indexed {
            index,
            image: Arc::default(),
        }
    }

    #[test]
    fn when_a_broker_was_fenced_is_known_as_long_as_it_is_registered() {
        let id = BrokerId(1);
        let with = |fenced| {
            let mut image = Image::default();
            let record = Some(Fact::Broker(broker_record(id.0, fenced)));
            image.fold(&proto::Record { record }).expect("a known record");
            Arc::new(image)
        };
        let (publisher, metadata) = Publisher::new(at(1));
        let mut put_out = {
            let mut index = 1;
            move |image| {
                index += 1;
                publisher.publish(Indexed { index, image });
            }
        };
        let fenced_at = || {
            metadata
                .image()
                .broker(id)
                .and_then(|broker| metadata.fenced_at(broker))
        };
        put_out(with(true));
        assert_eq!(fenced_at(), None, "it has never served");
        put_out(with(false));
        assert_eq!(fenced_at(), None);
        put_out(with(true));
        let first = fenced_at();
        assert!(first.is_some_and(|at| at <= Instant::now()));
        put_out(with(true));
        put_out(with(false));
        assert_eq!(fenced_at(), first, "it was fenced once");
        let again = Image::clone(&with(true));
        let registered = again.broker(id).expect("it is registered");
        let mut later = Broker::clone(registered);
        later.epoch.0 += 1;
        assert_eq!(metadata.fenced_at(&later), None, "it has registered again");
        put_out(Arc::default());
        put_out(with(true));
        assert_eq!(fenced_at(), None, "it was unregistered");
    }

    #[tokio::test]
    async fn an_older_image_never_replaces_a_newer_one() {
        let (publisher, metadata) = Publisher::new(at(3));
        let mut subscription = metadata.subscribe();
        publisher.publish(at(5));
        publisher.publish(at(4));
        assert_eq!(metadata.index(), 5);
        assert_eq!(subscription.changed().await.map(|latest| latest.index), Some(5));
        let deadline = Instant::now() + Duration::from_millis(10);
        assert_eq!(metadata.wait_for(5, deadline).await, Ok(()));
        assert_eq!(metadata.wait_for(6, deadline).await, Err(WaitError::Timeout(6)));
        drop(publisher);
        assert!(subscription.changed().await.is_none());
        assert_eq!(metadata.wait_for(6, deadline).await, Err(WaitError::Stopped));
    }
}
