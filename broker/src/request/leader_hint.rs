//! Where the leader is, told along with the refusal, so that clients need not ask for metadata first (KIP-951).

use super::Context;
use crate::metadata::Image;
use flotilla_protocol::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, Str};
use std::collections::BTreeSet;
use std::time::Duration;

/// Brokers hear of what concerns them all at about the same time: some milliseconds apart, where all is busy. Who is sent to another
/// broker for its news, or comes with news of its own, gets there when the news is there.
pub(super) const NEWS: Duration = Duration::from_millis(10);

/// A leader's address on the listener that the client came in on.
pub(super) struct Node {
    pub id: i32,
    pub host: Str,
    pub port: i32,
    pub rack: Option<Str>,
}

/// The leaders that one response names.
pub(super) struct LeaderHints<'a> {
    ctx: &'a Context,
    image: &'a Image,
    brokers: BTreeSet<BrokerId>,
}

impl<'a> LeaderHints<'a> {
    pub fn new(ctx: &'a Context, image: &'a Image) -> Self {
        Self {
            ctx,
            image,
            brokers: BTreeSet::new(),
        }
    }

    /// The leader and its epoch, where `error` says that the client asked the wrong broker and the metadata here knows a
    /// better one, which is not known to be gone.
    pub fn hint(
        &mut self,
        error: ErrorCode,
        topic: &str,
        partition: PartitionIndex,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        if !matches!(
            error,
            ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
        ) {
            return None;
        }
        let partition = self.image.partition(topic, partition)?;
        let leader = partition
            .leader
            .filter(|id| self.ctx.broker.present(self.image, *id).is_some())?;
        self.brokers.insert(leader);
        Some((leader, partition.leader_epoch))
    }

    /// The addresses of all that were named.
    pub fn nodes(&self) -> Vec<Node> {
        let node = |id: &BrokerId| {
            let broker = self.image.broker(*id)?;
            let endpoint = broker.endpoint(&self.ctx.session.listener)?;
            Some(Node {
                id: id.0,
                host: Str::copy_from(&endpoint.host),
                port: i32::try_from(endpoint.port).ok()?,
                rack: broker.rack().map(Str::copy_from),
            })
        };
        self.brokers.iter().filter_map(node).collect()
    }
}
