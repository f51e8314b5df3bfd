//! From a Topic, and what is known of the fleet, to the command that makes the topic so.

mod desired;
mod owners;
mod status;

pub use desired::{Existing, apply};
pub use owners::{Claim, settle};
pub use status::{Observed, status};

use flotilla_crds::Topic;

/// The name of the topic in Kafka.
#[must_use]
pub fn kafka_name(topic: &Topic) -> &str {
    topic
        .spec
        .name
        .as_deref()
        .or(topic.metadata.name.as_deref())
        .unwrap_or_default()
}
