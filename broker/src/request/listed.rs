//! Which brokers clients are shown: those that serve, and for a moment those that do not any more.
//!
//! A client forgets a broker that is not listed, and ends what it has to do with it. Some lose thereby what the same answer told them of
//! new leaders (librdkafka 2.12 does, and then asks again only a second later). A broker that restarts is back before that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use flotilla_protocol::BrokerId;
use parking_lot::Mutex;

use crate::metadata::{Broker, Image};

/// For so long a broker is listed after it was fenced. Kafka's are listed for as long as a session lasts: nine seconds.
const LISTED_FOR: Duration = Duration::from_secs(5);

/// Remembers who served until when.
#[derive(Debug, Default)]
pub struct Listed(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    serving: BTreeSet<BrokerId>,
    left: BTreeMap<BrokerId, Instant>,
}

impl Listed {
    /// Notes who serves now. To be called with each image, as soon as it is there.
    pub fn note(&self, image: &Image, now: Instant) {
        let mut seen = self.0.lock();
        for broker in image.brokers() {
            if !broker.fenced {
                seen.left.remove(&broker.id);
                seen.serving.insert(broker.id);
            } else if seen.serving.remove(&broker.id) {
                seen.left.insert(broker.id, now);
            }
        }
        seen.left
            .retain(|_, left| now.saturating_duration_since(*left) < LISTED_FOR);
    }

    /// The brokers that clients are shown, in order.
    pub fn of<'a>(&self, image: &'a Image, now: Instant) -> Vec<&'a Broker> {
        self.note(image, now);
        let seen = self.0.lock();
        image
            .brokers()
            .filter(|broker| !broker.fenced || seen.left.contains_key(&broker.id))
            .map(AsRef::as_ref)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Fact;
    use crate::request::testing::{broker_record, image};

    #[test]
    fn a_broker_that_was_fenced_is_listed_a_while_longer_and_one_that_never_served_is_not() {
        let of = |fenced: bool| {
            image([
                Fact::Broker(broker_record(0, false)),
                Fact::Broker(broker_record(1, fenced)),
                Fact::Broker(broker_record(2, true)),
            ])
        };
        let (serving, fenced) = (of(false), of(true));
        let listed = Listed::default();
        let ids =
            |image, now| -> Vec<i32> { listed.of(image, now).iter().map(|broker| broker.id.0).collect() };
        let start = Instant::now();
        assert_eq!(ids(&serving, start), [0, 1]);
        assert_eq!(ids(&fenced, start), [0, 1]);
        let late = start + LISTED_FOR;
        assert_eq!(ids(&fenced, late - Duration::from_millis(1)), [0, 1]);
        assert_eq!(ids(&fenced, late), [0]);
        assert_eq!(ids(&serving, late), [0, 1]);
        assert_eq!(ids(&fenced, late), [0, 1], "it served again in between");
    }
}
