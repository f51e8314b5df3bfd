//! The topics of coordinators, which are created when somebody first looks for one.

use std::time::Duration;

use flotilla_control::proto::metadata::{self as proto, Refusal, request};
use flotilla_control::settings::BrokerSettings;
use tracing::{info, warn};

use super::Coordinators;
use super::machine::{Machine, TopicShape};
use crate::coordination::Controller;
use crate::metadata::Image;

/// How long after its start a broker waits for the others that it knows of, before it creates the topic with fewer
/// replicas than asked for: a fleet that starts should not end up with groups on one broker alone.
const FLEET_GRACE: Duration = Duration::from_secs(10);
/// How long a request waits for the topic. Its client asks again.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2);

impl<M: Machine> Coordinators<M> {
    /// Sees to it that the topic exists. `fleet_size` is how many brokers are known to belong to the fleet,
    /// whether they run or not. True: it is there.
    pub async fn ensure_topic(
        &self,
        controller: &Controller,
        settings: &BrokerSettings,
        fleet_size: usize,
    ) -> bool {
        if self.metadata.image().topic(M::TOPIC).is_some() {
            return true;
        }
        // Whoever comes meanwhile waits here, and finds it done.
        let _one_at_a_time = self.creating.lock().await;
        let image = self.metadata.image();
        if image.topic(M::TOPIC).is_some() {
            return true;
        }
        let shape = M::topic_shape(settings);
        let Some(replicas) = self.replicas(&image, &shape, fleet_size) else {
            return false;
        };
        match controller
            .submit_within(creation(M::TOPIC, &shape, replicas), CREATE_TIMEOUT)
            .await
        {
            Ok(response) => {
                let item = response.items.first();
                let refusal = match response.refusal() {
                    Refusal::None => item.map_or(Refusal::None, proto::ItemResult::refusal),
                    refusal => refusal,
                };
                let created = matches!(refusal, Refusal::None | Refusal::TopicExists);
                if created {
                    info!(
                        replicas,
                        partitions = shape.partitions,
                        topic = M::TOPIC,
                        "created an internal topic"
                    );
                } else {
                    let message = item.map_or("", |item| item.message.as_str());
                    warn!(
                        ?refusal,
                        message,
                        topic = M::TOPIC,
                        "an internal topic cannot be created; who needs it has to wait"
                    );
                }
            }
            Err(error) => {
                warn!(%error, topic = M::TOPIC, "an internal topic cannot be created now; who needs it has to wait");
            }
        }
        self.metadata.image().topic(M::TOPIC).is_some()
    }

    /// The topic's replication factor, or as many as there are brokers. `None`: others are expected any moment.
    fn replicas(&self, image: &Image, shape: &TopicShape, fleet_size: usize) -> Option<i32> {
        let wanted = usize::try_from(shape.replication_factor).unwrap_or(1).max(1);
        let alive = image.brokers().filter(|broker| image.is_alive(broker.id)).count();
        let expected = wanted.min(fleet_size.max(image.brokers().count()));
        if alive == 0 || (alive < expected && self.started.elapsed() < FLEET_GRACE) {
            return None;
        }
        i32::try_from(wanted.min(alive)).ok()
    }
}

fn creation(name: &str, shape: &TopicShape, replicas: i32) -> proto::Request {
    let config = |key: &str, value: String| proto::KeyValue {
        key: key.to_owned(),
        value: Some(value),
    };
    let mut configs = vec![
        config("cleanup.policy", "compact".to_owned()),
        config("compression.type", "producer".to_owned()),
        config("segment.bytes", shape.segment_bytes.to_string()),
    ];
    if let Some(min) = shape.min_insync_replicas {
        configs.push(config("min.insync.replicas", min.to_string()));
    }
    let topic = proto::CreateTopic {
        name: name.to_owned(),
        partitions: shape.partitions,
        replication_factor: replicas,
        assignments: Vec::new(),
        configs,
    };
    proto::Request {
        validate_only: false,
        request: Some(request::Request::CreateTopics(proto::CreateTopics {
            topics: vec![topic],
        })),
    }
}
