//! Deletes a topic as its resource says: at once, never, or only if it holds nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use flotilla_control::proto::coordination::{LogEnd, LogEndsRequest};
use flotilla_control::proto::fleet::{ApplyResponse, DeleteTopicRequest};
use flotilla_control::proto::metadata::{
    DeleteTopics, Refusal, TopicRef, request::Request as Kind, topic_ref,
};
use flotilla_protocol::{BrokerId, Uuid};
use tokio::time::timeout;
use tonic::Status;

use super::Fleet;
use crate::coordination::members::refused;
use crate::coordination::peers::{Purpose, said};

/// One broker's answer about the ends of its logs.
const LOG_ENDS_TIMEOUT: Duration = Duration::from_secs(5);

impl Fleet {
    /// Deletes a topic as its resource's deletion policy says.
    pub(super) async fn delete(&self, asked: DeleteTopicRequest) -> Result<ApplyResponse, Status> {
        let image = self.service.metadata.image();
        let Some(topic) = image.topic(&asked.name).cloned() else {
            return Ok(ApplyResponse {
                message: format!("topic `{}` does not exist", asked.name),
                ..Default::default()
            });
        };
        let policy = asked
            .owner
            .as_ref()
            .map_or("", |owner| owner.deletion_policy.as_str());
        match policy {
            "" | "Delete" => {}
            "Retain" => {
                let message = format!("topic `{}` is kept, as its deletion policy says", topic.name);
                return Ok(ApplyResponse {
                    message,
                    ..ApplyResponse::default()
                });
            }
            "DeleteIfEmpty" => match self.records_in(topic.id).await {
                Ok(0) => {}
                Ok(records) => {
                    let message = format!("topic `{}` is kept: it holds {records} records", topic.name);
                    return Ok(refused(Refusal::NotEmpty, message));
                }
                Err(why) => {
                    let message = format!(
                        "topic `{}` is kept: whether it is empty cannot be told: {why}",
                        topic.name
                    );
                    return Ok(refused(Refusal::NotEmpty, message));
                }
            },
            other => {
                let message =
                    format!("`{other}` is not a deletion policy; Delete, Retain and DeleteIfEmpty are");
                return Ok(refused(Refusal::InvalidRequest, message));
            }
        }
        // By its id: a topic made anew under the name meanwhile is another one.
        let named = TopicRef {
            topic: Some(topic_ref::Topic::TopicId(topic.id.0.to_vec())),
            owner: asked.owner,
        };
        let mut answer = self
            .ask(
                Kind::DeleteTopics(DeleteTopics { topics: vec![named] }),
                asked.dry_run,
            )
            .await?;
        if let Some(item) = answer.items.first()
            && answer.refusal() == Refusal::None
            && item.refusal() != Refusal::UnknownTopicId
        {
            (answer.refusal, answer.message) = (item.refusal, item.message.clone());
        }
        Ok(answer)
    }

    /// Offsets between the begin and the end of a topic's logs, as the leaders of its partitions say.
    async fn records_in(&self, id: Uuid) -> Result<i64, String> {
        let image = self.service.metadata.image();
        let topic = image.topic_by_id(id).ok_or("it is gone")?;
        let mut open: BTreeSet<i32> = topic.partitions().map(|(index, _)| index.0).collect();
        let mut leaders = BTreeSet::new();
        for (index, partition) in topic.partitions() {
            leaders.insert(
                partition
                    .leader
                    .ok_or_else(|| format!("partition {index} has no leader"))?,
            );
        }
        let mut records = 0;
        for leader in leaders {
            for end in self.log_ends(leader, id).await? {
                if open.remove(&end.partition) {
                    records += end.log_end_offset.saturating_sub(end.log_start_offset);
                }
            }
        }
        match open.first() {
            None => Ok(records),
            Some(partition) => Err(format!("the leader of partition {partition} has just changed")),
        }
    }

    async fn log_ends(&self, broker: BrokerId, id: Uuid) -> Result<Vec<LogEnd>, String> {
        if broker == self.service.member.id().broker {
            let log_ends = self
                .service
                .log_ends
                .get()
                .ok_or("this broker has not opened its logs yet")?;
            return Ok(log_ends(id));
        }
        let asked = LogEndsRequest {
            cluster_id: self.service.cluster_id.to_string(),
            topic_id: id.0.to_vec(),
        };
        let mut client = self.peers.coordination(broker, Purpose::Requests, None);
        match timeout(LOG_ENDS_TIMEOUT, client.log_ends(asked)).await {
            Ok(answered) => answered.map(|ends| ends.into_inner().partitions).map_err(said),
            Err(_) => Err(format!("broker {broker} does not answer")),
        }
    }
}
