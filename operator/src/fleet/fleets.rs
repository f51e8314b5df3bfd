use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::follow::locked;
use super::{Access, Fleet, What};
use crate::Key;

/// Changes that wait for a slow listener. One that falls further behind is told that everything may have changed.
const CHANGES_MAX: usize = 4_096;

/// Something changed in a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The Cluster.
    pub cluster: Key,
    /// What changed.
    pub what: What,
}

/// All fleets, by their Clusters. Clones are the same.
#[derive(Clone, Debug)]
pub struct Fleets {
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct Registry {
    fleets: Mutex<BTreeMap<Key, Fleet>>,
    changes: broadcast::Sender<Change>,
    counts: Arc<Counts>,
}

/// How often each call was sent.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    pub(super) fn count(&self, call: &'static str) {
        *locked(&self.0).entry(call).or_insert(0) += 1;
    }
}

impl Default for Fleets {
    fn default() -> Self {
        Self {
            registry: Arc::new(Registry {
                fleets: Mutex::default(),
                changes: broadcast::Sender::new(CHANGES_MAX),
                counts: Arc::default(),
            }),
        }
    }
}

impl Fleets {
    /// Follows a Cluster's fleet, or follows it in another way from now on. Nothing happens where the way is the same.
    pub fn reach(&self, cluster: &Key, access: Access) -> Fleet {
        let mut fleets = locked(&self.registry.fleets);
        if let Some(fleet) = fleets.get(cluster)
            && fleet.access().cluster_id == access.cluster_id
        {
            fleet.reach(access);
            return fleet.clone();
        }
        let news = Some((cluster.clone(), self.registry.changes.clone()));
        let fleet = Fleet::new(access, news, self.registry.counts.clone());
        fleets.insert(cluster.clone(), fleet.clone());
        fleet
    }

    /// Follows a Cluster's fleet no longer.
    pub fn forget(&self, cluster: &Key) {
        locked(&self.registry.fleets).remove(cluster);
    }

    /// The fleet of a Cluster, once somebody has said how to reach it.
    #[must_use]
    pub fn get(&self, cluster: &Key) -> Option<Fleet> {
        locked(&self.registry.fleets).get(cluster).cloned()
    }

    /// The Clusters whose fleets are followed.
    #[must_use]
    pub fn known(&self) -> Vec<Key> {
        locked(&self.registry.fleets).keys().cloned().collect()
    }

    /// All changes from now on, of all fleets, those that are reached later too.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            receiver: self.registry.changes.subscribe(),
            fleets: self.clone(),
            pending: VecDeque::new(),
        }
    }

    /// How often each call was sent to brokers since the start, by name.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.registry.counts.0).clone()
    }
}

/// A listener to changes.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Change>,
    fleets: Fleets,
    pending: VecDeque<Change>,
}

impl Changes {
    /// The next change. A listener that was too slow is told of every fleet that anything in it may have changed.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return change;
            }
            match self.receiver.recv().await {
                Ok(change) => return change,
                Err(RecvError::Lagged(_)) => {
                    let everything = |cluster| Change {
                        cluster,
                        what: What::Connected,
                    };
                    self.pending
                        .extend(self.fleets.known().into_iter().map(everything));
                }
                // `self.fleets` holds a sender.
                Err(RecvError::Closed) => std::future::pending::<()>().await,
            }
        }
    }

    /// The same as a stream without end.
    #[cfg(feature = "kubernetes")]
    pub fn into_stream(self) -> impl futures::Stream<Item = Change> + Send {
        futures::stream::unfold(self, |mut changes| async move {
            let change = changes.next().await;
            Some((change, changes))
        })
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::Uuid;
    use flotilla_control::tls::Credentials;

    use super::*;

    fn access(cluster_id: u8) -> Access {
        Access {
            cluster_id: Uuid([cluster_id; 16]),
            credentials: Credentials::from_pem("test", vec![], vec![], vec![]),
            brokers: vec![],
        }
    }

    fn change(topic: usize) -> Change {
        Change {
            cluster: Key::new("a", "b"),
            what: What::Topic(topic.to_string()),
        }
    }

    #[tokio::test]
    async fn slow_listener_is_told_that_everything_may_have_changed() {
        let fleets = Fleets::default();
        for cluster in ["one", "two"] {
            fleets.reach(&Key::new("a", cluster), access(1));
        }
        let mut changes = fleets.changes();
        for topic in 0..=CHANGES_MAX {
            fleets.registry.changes.send(change(topic)).unwrap();
        }
        for cluster in ["one", "two"] {
            let everything = Change {
                cluster: Key::new("a", cluster),
                what: What::Connected,
            };
            assert_eq!(changes.next().await, everything);
        }
        assert_eq!(changes.next().await, change(1));
    }

    #[tokio::test]
    async fn fleet_stays_the_same_until_its_cluster_is_another() {
        let fleets = Fleets::default();
        let key = Key::new("a", "b");
        assert!(fleets.get(&key).is_none());
        let same = |one: &Fleet, two: &Fleet| Arc::ptr_eq(&one.shared, &two.shared);
        let first = fleets.reach(&key, access(1));
        assert!(same(&first, &fleets.reach(&key, access(1))));
        assert!(!same(&first, &fleets.reach(&key, access(2))));
        assert_eq!(
            first.seen().await.unwrap_err().to_string(),
            "no broker answers: no broker is known"
        );
        fleets.forget(&key);
        assert!(fleets.known().is_empty());
    }
}
