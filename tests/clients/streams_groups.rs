//! Streams groups (KIP-1071), as Kafka's tool for them sees and changes them.

use std::collections::BTreeSet;
use std::time::Duration;

use flotilla_protocol::messages::OffsetFetchRequest;
use flotilla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

use crate::fleet::{Fleet, manifests, partition_of};
use crate::kafka;
use crate::raw::Connection;
use crate::streams_member::{Reads, StreamsMember, coordinator};
use crate::tools::{Ran, java};

const TOOL: &str = "org.apache.kafka.tools.streams.StreamsGroupCommand";
const GROUP: &str = "counts";
const READS: Reads = Reads {
    input: "orders",
    repartition: "counts-words-repartition",
    partitions: 2,
};
const RECORDS: usize = 100;
const COMMITTED: i64 = 10;
/// The last version that names topics.
const OFFSET_FETCH: i16 = 9;

#[test]
fn kafka_streams_groups_are_listed_described_reset_and_deleted() {
    let fleet = Fleet::start(&manifests(3, &[(READS.input, 2, 3)]));
    let ends = write(&fleet);
    let mut member = StreamsMember::join(fleet.bootstrap(), GROUP, &READS);
    member.commit(READS.input, READS.partitions, COMMITTED);
    listed_and_described(&fleet, &mut member, ends);
    neither_reset_nor_deleted_while_it_has_a_member(&fleet, &mut member);
    member.leave();
    reset(&fleet);
    deleted(&fleet);
}

/// The ends of the input's partitions.
fn write(fleet: &Fleet) -> [i64; 2] {
    let keys: Vec<_> = (0..RECORDS).map(|n| format!("key-{n}")).collect();
    let records: Vec<_> = keys.iter().map(|key| (Some(key.as_str()), key.clone())).collect();
    let stored = kafka::produce(fleet.bootstrap(), READS.input, &records, "none");
    [0, 1].map(|partition| {
        let there = stored.iter().filter(|record| record.partition == partition);
        there.count() as i64
    })
}

fn listed_and_described(fleet: &Fleet, member: &mut StreamsMember, ends: [i64; 2]) {
    assert_eq!(lines(&tool(fleet, &["--list"])), [[GROUP]]);
    let listed = tool(fleet, &["--list", "--state"]);
    assert_eq!(lines(&listed), [["GROUP", "STATE"], [GROUP, "Stable"]]);
    member.beat();
    let state = tool(fleet, &["--describe", "--group", GROUP, "--state"]);
    let state = lines(&state).pop().expect("a line of the group");
    assert!(
        state.starts_with(&[GROUP]) && state.ends_with(&["Stable", "1"]),
        "{state:?}"
    );
    let members = tool(fleet, &["--describe", "--group", GROUP, "--members"]);
    let members = lines(&members);
    let tasks = ["ACTIVE:", "0:[0,1];", "1:[0,1];"];
    let expected = [&[GROUP, "a-member", "a-process", "raw"], &tasks[..]].concat();
    assert_eq!(members[1..], [expected]);
    member.beat();
    let offsets = tool(fleet, &["--describe", "--group", GROUP]);
    let lags: BTreeSet<_> = lines(&offsets).split_off(1).into_iter().collect();
    let [first, second] = ends.map(|end| (end - COMMITTED).to_string());
    let expected = [
        [GROUP, READS.input, "0", first.as_str()],
        [GROUP, READS.input, "1", second.as_str()],
        [GROUP, READS.repartition, "0", "0"],
        [GROUP, READS.repartition, "1", "0"],
    ];
    assert_eq!(lags, BTreeSet::from(expected.map(Vec::from)));
}

fn neither_reset_nor_deleted_while_it_has_a_member(fleet: &Fleet, member: &mut StreamsMember) {
    let refused = change_offsets(fleet, &["--to-earliest", "--execute"]);
    assert!(
        refused.contains("Assignments can only be reset if the group 'counts' is inactive"),
        "{refused}"
    );
    assert_eq!(committed(fleet), [(0, COMMITTED), (1, COMMITTED)]);
    member.beat();
    let refused = tool(fleet, &["--delete", "--group", GROUP]);
    assert!(
        refused.contains("Streams group 'counts' is not EMPTY"),
        "{refused}"
    );
    member.beat();
}

fn reset(fleet: &Fleet) {
    let planned = change_offsets(fleet, &["--to-earliest", "--dry-run"]);
    assert_eq!(planned_offsets(&planned), new_offsets("0"), "{planned}");
    assert_eq!(committed(fleet), [(0, COMMITTED), (1, COMMITTED)]);
    change_offsets(fleet, &["--to-earliest", "--execute"]);
    assert_eq!(committed(fleet), [(0, 0), (1, 0)]);
    let shifted = change_offsets(fleet, &["--shift-by", "5", "--execute"]);
    assert_eq!(planned_offsets(&shifted), new_offsets("5"), "{shifted}");
    assert_eq!(committed(fleet), [(0, 5), (1, 5)]);
    let deleted = tool(
        fleet,
        &["--delete-offsets", "--group", GROUP, "--input-topic", "orders:1"],
    );
    assert!(
        lines(&deleted).contains(&vec![READS.input, "1", "Successful"]),
        "{deleted}"
    );
    assert_eq!(committed(fleet), [(0, 5)]);
}

fn deleted(fleet: &Fleet) {
    let delete = ["--delete", "--group", GROUP, "--delete-all-internal-topics"];
    let said = tool(fleet, &delete);
    assert!(
        said.contains("Deletion of requested streams groups ('counts') was successful")
            && said.contains(
                "Deletion of associated internal topics of the streams groups ('counts') was successful"
            ),
        "{said}"
    );
    fleet.wait_for_status(
        Duration::from_secs(20),
        "the internal topic to be gone",
        |status| partition_of(status, READS.repartition, 0).is_none(),
    );
    let listed = tool(fleet, &["--list"]);
    assert!(lines(&listed).is_empty(), "{listed}");
}

fn tool(fleet: &Fleet, args: &[&str]) -> String {
    println!("{TOOL} {}", args.join(" "));
    let Ran { stdout, .. } = java(TOOL, &[&["--bootstrap-server", fleet.bootstrap()], args].concat());
    stdout
}

fn change_offsets(fleet: &Fleet, to: &[&str]) -> String {
    let change = ["--reset-offsets", "--group", GROUP, "--input-topic", READS.input];
    tool(fleet, &[&change[..], to].concat())
}

/// The lines of the offsets that a reset prints.
fn planned_offsets(text: &str) -> BTreeSet<Vec<&str>> {
    lines(text).into_iter().skip(1).collect()
}

fn new_offsets(offset: &str) -> BTreeSet<Vec<&str>> {
    BTreeSet::from(["0", "1"].map(|partition| vec![GROUP, READS.input, partition, offset]))
}

/// What the tool printed, word by word, without empty lines.
fn lines(text: &str) -> Vec<Vec<&str>> {
    let words = text.lines().map(|line| line.split_whitespace().collect());
    words.filter(|words: &Vec<_>| !words.is_empty()).collect()
}

/// What the group has committed: partition and offset of the input.
fn committed(fleet: &Fleet) -> Vec<(i32, i64)> {
    let mut connection = Connection::open(&coordinator(fleet.bootstrap(), GROUP));
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            topics: None,
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    };
    let answer = connection.call(OFFSET_FETCH, &request).expect("an answer");
    let topics = answer.groups.iter().flat_map(|group| &group.topics);
    let partitions = topics.flat_map(|topic| &topic.partitions);
    let mut offsets: Vec<_> = partitions
        .map(|partition| (partition.partition_index, partition.committed_offset))
        .collect();
    offsets.sort_unstable();
    offsets
}
