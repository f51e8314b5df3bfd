//! From a Topic, and what is known of the fleet, to the command that makes the topic so, to what users are told, and to what
//! becomes of the topic when the Topic is deleted.

mod allowed;
mod departure;
mod desired;
mod news;
mod observed;
mod owners;
mod plan;
mod rising;
mod status;
#[cfg(test)]
mod testing;

pub use allowed::{allowed, may_adopt};
pub use departure::{Departing, Departure, Home, Outcome, Reached, Said, depart, outcome};
pub use desired::{Existing, apply};
pub use news::{News, turn};
pub use observed::{Found, Observed};
pub use owners::{Claim, conflict, eldest, settle};
pub use plan::{Known, Plan, plan};
pub use rising::is_rising;
pub use status::{Settings, status, status_paused};

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
