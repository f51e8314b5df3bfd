//! What coordinators have to do with other brokers. Of transactions: markers to the leaders of partitions, and questions to
//! coordinators whether a partition belongs to a transaction (KIP-98, KIP-890). Of share groups: what partitions' leaders have
//! stored by the coordinators of their share partitions (KIP-932).
//!
//! All of it goes over Kafka's own protocol, on the reserved listener with mutual TLS. To each broker there is one lane of each
//! kind: what comes while an exchange is under way goes together in the next.

mod lane;
mod markers;
mod peer;
mod states;

use std::collections::BTreeSet;
use std::sync::Arc;

use flotilla_protocol::{BrokerId, ErrorCode, ProducerEpoch, ProducerId};
use futures::future::BoxFuture;

use crate::coordination::Metadata;
use crate::group::Text;
use crate::share;
use crate::transaction::Partition;
use lane::Lanes;

pub use markers::run as run_markers;
pub use peer::{DialPeer, Peer};
pub use states::{StateAnswer, StateQuestion};

/// The end of a transaction, for partitions that one broker leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// The epoch of the marker.
    pub producer_epoch: ProducerEpoch,
    /// Committed, or else aborted.
    pub committed: bool,
    /// The coordinator's.
    pub coordinator_epoch: i32,
    /// Whether the marker's epoch is higher than that of the records (KIP-890).
    pub is_bumped: bool,
    /// Where.
    pub partitions: BTreeSet<Partition>,
}

/// Partitions that a producer is about to write to in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The transactional id.
    pub id: Text,
    /// The producer.
    pub producer_id: ProducerId,
    /// Its incarnation.
    pub producer_epoch: ProducerEpoch,
    /// Whether its client has added them itself, so that they need only be looked up.
    pub verify_only: bool,
    /// Which.
    pub partitions: BTreeSet<Partition>,
}

/// How it went, for each partition. One that is missing was not answered for.
pub type Outcomes = Vec<(Partition, ErrorCode)>;

/// The lanes of a broker.
pub struct Courier {
    endings: Lanes<Ending>,
    joinings: Lanes<Joining>,
    states: Lanes<states::Stating>,
}

impl Courier {
    /// Lanes that begin when they are needed, and end with this.
    #[must_use]
    pub fn new(metadata: &Metadata, dial: &Arc<dyn DialPeer>) -> Self {
        Self {
            endings: Lanes::new(metadata, dial),
            joinings: Lanes::new(metadata, dial),
            states: Lanes::new(metadata, dial),
        }
    }

    /// Has a broker write markers. None: it could not be asked, and may have written them all the same.
    pub async fn end(&self, broker: BrokerId, ending: Ending) -> Option<Outcomes> {
        self.endings.ask(broker, ending).await
    }

    /// Asks the coordinator on a broker. None: it could not be asked.
    pub async fn join(&self, broker: BrokerId, joining: Joining) -> Option<Outcomes> {
        self.joinings.ask(broker, joining).await
    }

    /// Asks the share coordinator on a broker. None: it could not be asked, and may have done it all the same.
    pub async fn share_state(&self, broker: BrokerId, request: share::Request) -> Option<share::Reply> {
        self.states.ask(broker, states::Stating(request)).await
    }
}

/// What a lane carries.
trait Parcel: Send + Sync + Sized + 'static {
    /// No two of the same are in one exchange: the answer could not be told apart.
    type Key: Ord + Send;
    /// What it is answered with.
    type Answer: Send;

    fn key(&self) -> Self::Key;

    /// One exchange; the answers in order.
    fn exchange<'a>(
        peer: &'a mut dyn Peer,
        parcels: &'a [Self],
    ) -> BoxFuture<'a, Result<Vec<Self::Answer>, crate::replica::LinkError>>;
}
