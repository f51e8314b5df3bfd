//! `__consumer_offsets`, which is created when somebody first looks for a coordinator.

use std::time::Duration;

use flotilla_control::proto::metadata::{self as proto, Refusal, request};
use flotilla_control::settings::BrokerSettings;
use tracing::{info, warn};

use super::Groups;
use crate::coordination::Controller;
use crate::group::TOPIC;
use crate::metadata::Image;

/// How long after its start a broker waits for the others that it knows of, before it creates the topic with fewer
/// replicas than asked for: a fleet that starts should not end up with groups on one broker alone.
const FLEET_GRACE: Duration = Duration::from_secs(10);
/// How long a request waits for the topic. Its client asks again.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2);

impl Groups {
    /// Sees to it that `__consumer_offsets` exists. `fleet_size` is how many brokers are known to belong to the fleet,
    /// whether they run or not. True: it is there.
    pub async fn ensure_topic(
        &self,
        controller: &Controller,
        settings: &BrokerSettings,
        fleet_size: usize,
    ) -> bool {
        if self.metadata.image().topic(TOPIC).is_some() {
            return true;
        }
        // Whoever comes meanwhile waits here, and finds it done.
        let _one_at_a_time = self.creating.lock().await;
        let image = self.metadata.image();
        if image.topic(TOPIC).is_some() {
            return true;
        }
        let Some(replicas) = self.replicas(&image, settings, fleet_size) else {
            return false;
        };
        match controller
            .submit_within(creation(settings, replicas), CREATE_TIMEOUT)
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
                        partitions = settings.offsets_topic_num_partitions,
                        "created __consumer_offsets"
                    );
                } else {
                    let message = item.map_or("", |item| item.message.as_str());
                    warn!(
                        ?refusal,
                        message, "__consumer_offsets cannot be created; groups have to wait"
                    );
                }
            }
            Err(error) => warn!(%error, "__consumer_offsets cannot be created now; groups have to wait"),
        }
        self.metadata.image().topic(TOPIC).is_some()
    }

    /// `offsets.topic.replication.factor`, or as many as there are brokers. `None`: others are expected any moment.
    fn replicas(&self, image: &Image, settings: &BrokerSettings, fleet_size: usize) -> Option<i32> {
        let wanted = usize::try_from(settings.offsets_topic_replication_factor)
            .unwrap_or(1)
            .max(1);
        let alive = image.brokers().filter(|broker| image.is_alive(broker.id)).count();
        let expected = wanted.min(fleet_size.max(image.brokers().count()));
        if alive == 0 || (alive < expected && self.started.elapsed() < FLEET_GRACE) {
            return None;
        }
        i32::try_from(wanted.min(alive)).ok()
    }
}

fn creation(settings: &BrokerSettings, replicas: i32) -> proto::Request {
    let config = |key: &str, value: String| proto::KeyValue {
        key: key.to_owned(),
        value: Some(value),
    };
    let topic = proto::CreateTopic {
        name: TOPIC.to_owned(),
        partitions: settings.offsets_topic_num_partitions,
        replication_factor: replicas,
        assignments: Vec::new(),
        configs: vec![
            config("cleanup.policy", "compact".to_owned()),
            config("compression.type", "producer".to_owned()),
            config("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
        ],
    };
    proto::Request {
        validate_only: false,
        request: Some(request::Request::CreateTopics(proto::CreateTopics {
            topics: vec![topic],
        })),
    }
}
