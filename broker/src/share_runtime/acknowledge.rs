//! What members say of records, until it is stored.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Failure, limits, store};
use crate::broker::Broker;
use crate::group::Text;
use crate::replica::{PartitionKey, ReadError, Unavailable};
use crate::share::{self, Acknowledgement};

impl Broker {
    /// Takes what a member says of records of one partition, and waits until it is stored.
    ///
    /// # Errors
    /// Nothing of it counts, or it is not known whether it does.
    pub(crate) async fn share_acknowledge(
        self: &Arc<Self>,
        group: &Text,
        member: &str,
        key: PartitionKey,
        batches: &[Acknowledgement],
    ) -> Result<(), Failure> {
        if self.replicas.led(key).is_none() {
            return Err(ReadError::Unavailable(Unavailable::NotLeader).into());
        }
        let hosted = self.shares.find(group, key).ok_or(Failure::NotFetched)?;
        let limits = limits(self, &self.metadata.image(), group);
        let now_ms = self.shares.clock.now_ms();
        let stored = {
            let mut state = hosted.state.lock();
            // Nobody would store it any more.
            if state.is_over {
                return Err(Failure::NotFetched);
            }
            let released = state.delivery.tick(now_ms, &limits);
            let number = state.delivery.acknowledge(member, now_ms, &limits, batches)?;
            if released {
                hosted.changed.notify_waiters();
            }
            number.map(|number| {
                let (stored, waits) = oneshot::channel();
                state.waiting.entry(number).or_default().push(stored);
                waits
            })
        };
        store::pump(self, &hosted);
        match stored {
            Some(stored) => Ok(stored.await.unwrap_or(Err(share::Error::NotAvailable))?),
            None => Ok(()),
        }
    }
}
