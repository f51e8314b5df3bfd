//! Asks the controller for changes of in-sync sets, many partitions at a time, one request at a time.

use super::PartitionKey;
use super::replicas::Replicas;
use crate::coordination::{Controller, Metadata};
use crate::metadata::Image;
use crate::partition::isr::{Answer, Proposal};
use flotilla_control::proto::metadata::{
    AlterPartition, AlterPartitions, BrokerIncarnation, ItemResult, Refusal, Request, Response, request,
};
use flotilla_protocol::{BrokerEpoch, BrokerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many partitions one request carries at most.
pub(super) const BATCH_MAX: usize = 1_000;
/// How long one request is tried.
const LIMIT: Duration = Duration::from_secs(10);
/// The rest before a request that nobody answered is sent again.
const REST: Duration = Duration::from_millis(100);

/// Runs until the replicas are closed.
pub(super) async fn run(
    replicas: Arc<Replicas>,
    metadata: Metadata,
    controller: Controller,
    mut proposed: mpsc::UnboundedReceiver<(PartitionKey, Proposal)>,
) {
    let mut batch = Vec::new();
    while proposed.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let answers = match replicas.epoch(&metadata) {
            Some(epoch) => ask(&controller, (replicas.broker(), epoch), &batch).await,
            None => None,
        };
        let unanswered = answers.is_none();
        if unanswered {
            tokio::time::sleep(REST).await;
        }
        answered(&replicas, std::mem::take(&mut batch), answers);
    }
}

/// Hands each partition its answer. None: nobody knows whether the request holds.
pub(super) fn answered(
    replicas: &Replicas,
    batch: Vec<(PartitionKey, Proposal)>,
    answers: Option<Vec<ItemResult>>,
) {
    let answers = answers.unwrap_or_default();
    for (place, (key, proposal)) in batch.into_iter().enumerate() {
        let answer = answers.get(place).map_or(Answer::Unanswered, answer_of);
        if let Some(hosted) = replicas.hosted(key) {
            hosted.proposal_answered(&proposal, answer);
        }
    }
}

async fn ask(
    controller: &Controller,
    me: (BrokerId, BrokerEpoch),
    batch: &[(PartitionKey, Proposal)],
) -> Option<Vec<ItemResult>> {
    match controller.submit_within(request(me, batch), LIMIT).await {
        Ok(response) => results(response, batch.len()),
        Err(error) => {
            tracing::warn!("changes of in-sync replicas have to wait: {error}");
            None
        }
    }
}

/// What the controller is asked for.
pub(super) fn request(me: (BrokerId, BrokerEpoch), batch: &[(PartitionKey, Proposal)]) -> Request {
    let partitions = batch
        .iter()
        .map(|(key, proposal)| AlterPartition {
            topic_id: key.topic_id.0.to_vec(),
            partition: key.partition.0,
            leader_epoch: proposal.leader_epoch.0,
            partition_epoch: proposal.partition_epoch,
            new_isr: proposal
                .isr
                .iter()
                .map(|(broker, epoch)| BrokerIncarnation {
                    broker_id: broker.0,
                    broker_epoch: epoch.0,
                })
                .collect(),
        })
        .collect();
    Request {
        validate_only: false,
        request: Some(request::Request::AlterPartitions(AlterPartitions {
            broker_id: me.0.0,
            broker_epoch: me.1.0,
            partitions,
        })),
    }
}

/// The answers for `asked` partitions. None: the request as a whole was refused.
pub(super) fn results(response: Response, asked: usize) -> Option<Vec<ItemResult>> {
    if response.refusal() == Refusal::None && response.items.len() == asked {
        return Some(response.items);
    }
    tracing::warn!(
        refusal = response.refusal().as_str_name(),
        "the controller refused changes of in-sync replicas: {}",
        response.message
    );
    None
}

fn answer_of(item: &ItemResult) -> Answer {
    match item.refusal() {
        Refusal::None => match &item.partition_state {
            Some(state) => Answer::Accepted {
                partition_epoch: state.partition_epoch,
                isr: state.isr.iter().copied().map(BrokerId).collect(),
            },
            None => Answer::Superseded,
        },
        Refusal::IneligibleReplica | Refusal::OperationNotAttempted | Refusal::InvalidRequest => {
            Answer::Rejected
        }
        Refusal::Throttled | Refusal::NotController => Answer::Unanswered,
        // Another leader, another epoch, another topic: the metadata will say.
        _ => Answer::Superseded,
    }
}

impl Replicas {
    /// The epoch under which this incarnation of the broker is registered. None before it is.
    pub(super) fn epoch(&self, metadata: &Metadata) -> Option<BrokerEpoch> {
        self.epoch_in(&metadata.image())
    }

    /// The same, as an image has it.
    pub(super) fn epoch_in(&self, image: &Image) -> Option<BrokerEpoch> {
        let own = image.broker(self.broker())?;
        (own.incarnation == self.inner.incarnation).then_some(own.epoch)
    }
}
