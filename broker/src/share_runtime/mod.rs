//! Share partitions at work (KIP-932): the deliveries of the partitions that this broker leads to the members that fetch
//! from it, and their sessions.
//!
//! A delivery is loaded when the first member fetches, and goes when the last one is gone, or the leadership. What has to
//! outlive it is stored by the share partition's coordinator: one write at a time, each with all that has come meanwhile.

mod acknowledge;
mod client;
mod fetch;
mod load;
mod settings;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use flotilla_protocol::{LeaderEpoch, PartitionIndex};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::broker::Broker;
use crate::group::Text;
use crate::replica::{PartitionKey, ReadError, Unavailable};
use crate::share::{self, Delivery, Opened, SessionRefused, Sessions, SharePartition};

pub use client::ask;
pub use fetch::{Given, Want};
pub use settings::{isolation, limits};

/// Whose session: the group and the member.
pub type SessionKey = (Text, Text);

/// The share partitions of a broker, and who fetches from them.
#[derive(Default)]
pub struct Shares {
    sessions: Mutex<Sessions>,
    hosted: Mutex<BTreeMap<(Text, PartitionKey), Arc<Slot>>>,
    clock: Clock,
}

/// The place of a delivery.
#[derive(Default)]
struct Slot {
    /// Held while the delivery is being loaded, so that one request does it and the others wait.
    loading: tokio::sync::Mutex<()>,
    hosted: Mutex<Option<Arc<Hosted>>>,
}

impl Slot {
    /// What is there, if it still takes anything.
    fn hosted(&self) -> Option<Arc<Hosted>> {
        self.hosted.lock().clone().filter(|hosted| !hosted.is_over())
    }
}

/// Why nothing is given of a partition, or an acknowledgement of it does not count.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Not led here, or not to be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored of the delivery cannot be read or changed.
    #[error(transparent)]
    State(#[from] share::Error),
    /// What the member says is not so.
    #[error(transparent)]
    Refused(#[from] share::Refused),
    /// Nobody has fetched from the partition.
    #[error("the group has not fetched from this partition here")]
    NotFetched,
}

/// The delivery of a partition to a group, in one epoch of this broker's leadership.
struct Hosted {
    of: SharePartition,
    key: PartitionKey,
    leader_epoch: LeaderEpoch,
    state_epoch: i32,
    state: Mutex<State>,
    /// Something may be available that was not.
    changed: Notify,
}

struct State {
    delivery: Delivery,
    /// Who waits for which write.
    waiting: BTreeMap<u64, Vec<oneshot::Sender<Result<(), share::Error>>>>,
    /// Another one has taken its place: it takes nothing any more.
    is_over: bool,
}

/// Time that never goes back, in milliseconds.
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Hosted {
    fn new(
        of: SharePartition,
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
        state_epoch: i32,
        delivery: Delivery,
    ) -> Self {
        Self {
            of,
            key,
            leader_epoch,
            state_epoch,
            state: Mutex::new(State {
                delivery,
                waiting: BTreeMap::new(),
                is_over: false,
            }),
            changed: Notify::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.state.lock().is_over
    }
}

impl Shares {
    /// A fetch of a session: which partitions it is about.
    ///
    /// # Errors
    /// It is not the next one of the session.
    pub fn fetches(
        &self,
        key: &SessionKey,
        epoch: i32,
        connection: u64,
        changes: (&[PartitionKey], &[PartitionKey]),
        sessions_max: usize,
    ) -> Result<Opened, SessionRefused> {
        let plain = |keys: &[PartitionKey]| keys.iter().map(plain).collect::<Vec<_>>();
        let (added, forgotten) = (plain(changes.0), plain(changes.1));
        let mut sessions = self.sessions.lock();
        sessions.fetch(key, epoch, connection, (&added, &forgotten), sessions_max)
    }

    /// A request of a session that only acknowledges.
    ///
    /// # Errors
    /// It is not the next one of the session.
    pub fn acknowledges(&self, key: &SessionKey, epoch: i32) -> Result<Opened, SessionRefused> {
        self.sessions.lock().acknowledge(key, epoch)
    }

    /// The delivery of a partition that was fetched from already.
    fn find(&self, group: &Text, key: PartitionKey) -> Option<Arc<Hosted>> {
        let slot = self.hosted.lock().get(&(group.clone(), key)).cloned();
        slot?.hosted()
    }

    fn slot(&self, group: &Text, key: PartitionKey) -> Arc<Slot> {
        let mut hosted = self.hosted.lock();
        hosted.entry((group.clone(), key)).or_default().clone()
    }

    /// Lets a delivery go that nobody fetches from any more, once all is stored.
    fn retire(&self, group: &Text, key: PartitionKey) {
        // Held until it is gone, so that nobody begins to fetch from it meanwhile.
        let sessions = self.sessions.lock();
        if sessions.is_fetched(group, plain(&key)) {
            return;
        }
        let mut hosted = self.hosted.lock();
        let place = (group.clone(), key);
        let Some(slot) = hosted.get(&place) else {
            return;
        };
        // Who loads it wants it.
        let is_idle = slot.loading.try_lock().is_ok_and(|_not_loading| {
            slot.hosted.lock().as_ref().is_none_or(|hosted| {
                let mut state = hosted.state.lock();
                state.is_over |= state.delivery.is_idle();
                state.is_over
            })
        });
        if is_idle {
            hosted.remove(&place);
        }
    }

    /// How many deliveries there are, for tests and metrics.
    #[must_use]
    pub fn hosted_count(&self) -> usize {
        self.hosted.lock().len()
    }
}

impl Broker {
    /// A connection has ended: what its members hold goes to others.
    pub(crate) fn share_disconnected(self: &Arc<Self>, connection: u64) {
        let gone = self.shares.sessions.lock().disconnected(connection);
        for (key, partitions) in gone {
            self.share_released(&key, &partitions);
        }
    }

    /// A member has no session any more with these partitions: what it holds of them goes to others. A session that closes
    /// is gone with it.
    pub(crate) fn share_released(self: &Arc<Self>, session: &SessionKey, partitions: &[share::Partition]) {
        self.shares.sessions.lock().closed(session);
        let (group, member) = session;
        let image = self.metadata.image();
        let limits = limits(self, &image, group);
        for (topic_id, partition) in partitions {
            let key = PartitionKey {
                topic_id: *topic_id,
                partition: PartitionIndex(*partition),
            };
            if let Some(hosted) = self.shares.find(group, key) {
                let released = hosted.state.lock().delivery.release(member, &limits);
                if released {
                    store::pump(self, &hosted);
                    hosted.changed.notify_waiters();
                }
            }
            self.shares.retire(group, key);
        }
    }

    /// The delivery of a partition that this broker leads to a group.
    async fn share_hosted(self: &Arc<Self>, group: &Text, key: PartitionKey) -> Result<Arc<Hosted>, Failure> {
        let not_leader = Failure::Read(ReadError::Unavailable(Unavailable::NotLeader));
        let leader_epoch = self.replicas.led(key).ok_or(not_leader)?;
        let current = |slot: &Slot| slot.hosted().filter(|hosted| hosted.leader_epoch == leader_epoch);
        loop {
            let slot = self.shares.slot(group, key);
            if let Some(hosted) = current(&slot) {
                return Ok(hosted);
            }
            let _loading = slot.loading.lock().await;
            if let Some(hosted) = current(&slot) {
                return Ok(hosted);
            }
            // It may have been let go while this waited: then another place counts.
            if !Arc::ptr_eq(&slot, &self.shares.slot(group, key)) {
                continue;
            }
            let hosted = Arc::new(load::load(self, group, key, leader_epoch).await?);
            *slot.hosted.lock() = Some(hosted.clone());
            store::pump(self, &hosted);
            return Ok(hosted);
        }
    }
}

fn plain(key: &PartitionKey) -> share::Partition {
    (key.topic_id, key.partition.0)
}
