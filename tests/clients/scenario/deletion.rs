//! What a library takes away again.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::fleet::wait_until_gone;
use super::program::{About, Program};
use crate::fleet::Fleet;
use crate::kafka;

/// Records before this offset go.
const BEFORE: i64 = 10;

/// The first records of a partition, and a topic, by the library's own admin client, where it can.
pub fn taken_away(writer: &mut Program, about: &About, fleet: &Fleet) -> Vec<String> {
    let mut ran = Vec::new();
    if about.can("delete-records") {
        writer.ask(&format!("delete-records codec-none 1 {BEFORE}"));
        let observer: BaseConsumer = kafka::config(fleet.bootstrap())
            .create()
            .expect("create a client that asks");
        let ends = observer.fetch_watermarks("codec-none", 1, Duration::from_secs(20));
        let (begin, end) = ends.expect("the ends of the partition");
        assert!(begin == BEFORE && end > BEFORE, "{begin} to {end}");
        ran.push("records deleted".to_owned());
    }
    if about.can("delete") {
        writer.ask("delete made");
        wait_until_gone(fleet, "made");
        ran.push("topic deleted".to_owned());
    }
    ran
}
