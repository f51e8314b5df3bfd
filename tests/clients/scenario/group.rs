//! A group of two members, twice.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::RECORDS;
use super::expected::{self, Number, Record};
use super::program::{About, Program};
use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::kafka;

const TOPIC: &str = "group";

/// Two members share the partitions, read each record once and commit; the next two go on from there.
pub fn shared_and_resumed(
    writer: &mut Program,
    reader: &mut Program,
    about: &About,
    fleet: &Fleet,
) -> Vec<String> {
    round(writer, reader, about, fleet, 0..RECORDS);
    round(writer, reader, about, fleet, RECORDS..2 * RECORDS);
    let mut ran = vec!["group of two, resumed from its commit".to_owned()];
    if about.can("headers") {
        ran.insert(0, "headers".to_owned());
    }
    ran
}

/// Records are written once both members have partitions, so that none is read in a generation that has yet to end.
fn round(writer: &mut Program, reader: &mut Program, about: &About, fleet: &Fleet, numbers: Range<Number>) {
    let command = format!("consume {TOPIC} readers {}", numbers.len());
    reader.tell(&command);
    wait_for_two_members(fleet);
    writer.produce(TOPIC, "none", numbers.clone());
    let read = Record::all(&reader.rest(&command));
    expected::assert_each_once(&read, numbers, about.can("headers"));
    let members: BTreeSet<_> = read.iter().map(|record| record.member).collect();
    assert_eq!(members, BTreeSet::from([0, 1]), "both members read");
}

fn wait_for_two_members(fleet: &Fleet) {
    let observer: BaseConsumer = kafka::config(fleet.bootstrap())
        .create()
        .expect("create a client that asks");
    eventually(Duration::from_secs(60), "two members with partitions", || {
        let groups = observer
            .fetch_group_list(Some("readers"), Duration::from_secs(5))
            .map_err(|error| error.to_string())?;
        let group = groups.groups().first().ok_or("there is no such group")?;
        let members: Vec<_> = group
            .members()
            .iter()
            .map(|member| member.assignment().map_or(0, <[u8]>::len))
            .collect();
        // An assignment without partitions is ten bytes or fewer: version, an empty array, empty user data.
        if group.state() == "Stable" && members.len() == 2 && members.iter().all(|size| *size > 10) {
            Ok(())
        } else {
            Err(format!("{} with assignments of {members:?} bytes", group.state()))
        }
    });
}
