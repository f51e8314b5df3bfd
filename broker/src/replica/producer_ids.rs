//! Producer ids, by blocks that the controller hands out (KIP-98).

use crate::coordination::{Controller, SubmitError};
use flotilla_control::proto::metadata::{AllocateProducerIds, Refusal, Request, request};
use flotilla_protocol::{BrokerEpoch, BrokerId, ProducerId};
use std::ops::Range;
use tokio::sync::Mutex;

/// The rest of the block that this broker holds. What it does not use is lost when it stops, which is of no concern: there
/// are 2^63.
#[derive(Debug, Default)]
pub struct ProducerIds {
    left: Mutex<Range<i64>>,
}

/// Why no producer id was given.
#[derive(Debug, thiserror::Error)]
pub enum NoProducerId {
    /// No controller answered.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The controller refused.
    #[error("the controller gave no producer ids: {0}")]
    Refused(String),
}

impl ProducerIds {
    /// A producer id that no other producer has or will have.
    ///
    /// # Errors
    /// A new block was needed and did not come.
    pub async fn next(
        &self,
        controller: &Controller,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<ProducerId, NoProducerId> {
        // Those who wait while a block is fetched all get theirs from it.
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(ProducerId(id));
        }
        let request = Request {
            validate_only: false,
            request: Some(request::Request::AllocateProducerIds(AllocateProducerIds {
                broker_id: broker.0,
                broker_epoch: epoch.0,
            })),
        };
        let response = controller.submit(request).await?;
        let first = response.first_producer_id;
        if response.refusal() != Refusal::None || response.producer_id_count <= 0 {
            return Err(NoProducerId::Refused(response.message));
        }
        *left = first + 1..first + i64::from(response.producer_id_count);
        Ok(ProducerId(first))
    }
}
