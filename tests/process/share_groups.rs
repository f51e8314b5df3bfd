//! Share groups (KIP-932) over the wire, while brokers are killed: what members said of records outlives the broker that leads
//! the partition, and the one that stores it.

use std::time::Duration;

use flotilla_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use flotilla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use flotilla_protocol::messages::metadata_request::MetadataRequestTopic;
use flotilla_protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use flotilla_protocol::messages::share_fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::messages::{
    DescribeShareGroupOffsetsRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
    MetadataRequest, ShareAcknowledgeRequest, ShareFetchRequest, ShareGroupHeartbeatRequest,
};
use flotilla_protocol::{ErrorCode, Str, Uuid};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::kafka;
use crate::raw::Connection;

const SOON: Duration = Duration::from_secs(60);
const TOPIC: &str = "jobs";
const GROUP: &str = "workers";
const MEMBER: &str = "a-member";
/// Kinds of coordinators, as FindCoordinator counts.
const GROUP_KEY: i8 = 0;
const SHARE_KEY: i8 = 2;
/// What is said of a record.
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;

/// An offset, and how often it has been delivered.
type Delivered = (i64, i16);

fn connect(fleet: &Fleet, broker: i64) -> Result<Connection, String> {
    Connection::try_open(&fleet.address_of(broker)).map_err(|error| error.to_string())
}

/// Some broker that runs.
fn any(fleet: &Fleet) -> Result<Connection, String> {
    let mut tried = (0..3).map(|broker| connect(fleet, broker));
    tried
        .find(Result::is_ok)
        .unwrap_or_else(|| Err("no broker takes connections".to_owned()))
}

fn checked(code: i16) -> Result<(), String> {
    match ErrorCode::from(code) {
        ErrorCode::None => Ok(()),
        error => Err(error.name().to_owned()),
    }
}

fn coordinator(fleet: &Fleet, key_type: i8, key: &str) -> Result<i64, String> {
    let request = FindCoordinatorRequest {
        key_type,
        coordinator_keys: vec![Str::copy_from(key)],
        ..Default::default()
    };
    let answer = any(fleet)?.call(6, &request).map_err(|error| error.to_string())?;
    let found = answer.coordinators.first().ok_or("nothing is answered")?;
    checked(found.error_code).map(|()| found.node_id.into())
}

fn topic_id(fleet: &Fleet) -> Uuid {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(TOPIC.into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let answer = any(fleet).and_then(|mut any| any.call(12, &request).map_err(|error| error.to_string()));
    answer.expect("an answer").topics[0].topic_id
}

/// The group begins with the first record, and has one member.
fn begin(fleet: &Fleet) {
    let setting = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 32,
            resource_name: GROUP.into(),
            configs: vec![AlterableConfig {
                name: "share.auto.offset.reset".into(),
                value: Some("earliest".into()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let set = any(fleet).and_then(|mut any| any.call(1, &setting).map_err(|error| error.to_string()));
    assert_eq!(set.expect("an answer").responses[0].error_code, 0);
    let joins = ShareGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: MEMBER.into(),
        subscribed_topic_names: Some(vec![TOPIC.into()]),
        ..Default::default()
    };
    eventually(SOON, "the member to be assigned the partition", || {
        let mut group = connect(fleet, coordinator(fleet, GROUP_KEY, GROUP)?)?;
        let joined = group.call(1, &joins).map_err(|error| error.to_string())?;
        checked(joined.error_code)?;
        let assigned = joined
            .assignment
            .is_some_and(|it| !it.topic_partitions.is_empty());
        assigned
            .then_some(())
            .ok_or_else(|| "nothing is assigned".to_owned())
    });
}

/// What is given to the member, which opens a session on a connection of its own.
fn given(fleet: &Fleet, topic_id: Uuid) -> (Connection, Vec<Delivered>) {
    let request = ShareFetchRequest {
        group_id: Some(GROUP.into()),
        member_id: Some(MEMBER.into()),
        max_wait_ms: 500,
        max_bytes: 1 << 20,
        max_records: 500,
        batch_size: 500,
        topics: vec![FetchTopic {
            topic_id,
            partitions: vec![FetchPartition::default()],
        }],
        ..Default::default()
    };
    eventually(SOON, "records to be given", || {
        let mut leader = connect(fleet, fleet.leader(TOPIC, 0))?;
        let answer = leader.call(2, &request).map_err(|error| error.to_string())?;
        checked(answer.error_code)?;
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let mut all = Vec::new();
        for partition in partitions {
            checked(partition.error_code)?;
            for one in &partition.acquired_records {
                let offsets = one.first_offset..=one.last_offset;
                all.extend(offsets.map(|offset| (offset, one.delivery_count)));
            }
        }
        match all.is_empty() {
            false => Ok((leader, all)),
            true => Err("nothing is given".to_owned()),
        }
    })
}

/// Says what became of records, from an offset on.
fn say(leader: &mut Connection, topic_id: Uuid, first: i64, types: &[i8]) {
    let request = ShareAcknowledgeRequest {
        group_id: Some(GROUP.into()),
        member_id: Some(MEMBER.into()),
        share_session_epoch: 1,
        topics: vec![AcknowledgeTopic {
            topic_id,
            partitions: vec![AcknowledgePartition {
                partition_index: 0,
                acknowledgement_batches: vec![AcknowledgementBatch {
                    first_offset: first,
                    last_offset: first + types.len() as i64 - 1,
                    acknowledge_types: types.to_vec(),
                }],
            }],
        }],
        ..Default::default()
    };
    let answer = leader.call(2, &request).expect("an answer");
    assert_eq!(answer.error_code, 0, "{answer:?}");
    assert_eq!(answer.responses[0].partitions[0].error_code, 0, "{answer:?}");
}

/// Where the group stands in the partition.
fn start(fleet: &Fleet) -> Result<i64, String> {
    let request = DescribeShareGroupOffsetsRequest {
        groups: vec![DescribeShareGroupOffsetsRequestGroup {
            group_id: GROUP.into(),
            topics: None,
        }],
    };
    let mut group = connect(fleet, coordinator(fleet, GROUP_KEY, GROUP)?)?;
    let answer = group.call(1, &request).map_err(|error| error.to_string())?;
    let described = answer.groups.first().ok_or("nothing is answered")?;
    checked(described.error_code)?;
    let topic = described.topics.first().ok_or("nothing is stored")?;
    let partition = topic.partitions.first().ok_or("nothing is stored")?;
    checked(partition.error_code)?;
    Ok(partition.start_offset)
}

/// The offsets, once it is seen that each of them came at least that often.
fn offsets(given: &[Delivered], count: i16) -> Vec<i64> {
    assert!(given.iter().all(|(_, counted)| *counted >= count), "{given:?}");
    given.iter().map(|(offset, _)| *offset).collect()
}

#[test]
fn what_became_of_records_outlives_their_leader_and_their_coordinator() {
    let fleet = Fleet::start(&manifests(3, &[(TOPIC, 1, 3)]));
    let topic_id = topic_id(&fleet);
    begin(&fleet);
    let records: Vec<(Option<&str>, String)> = (0..6).map(|number| (None, number.to_string())).collect();
    assert_eq!(
        kafka::produce(fleet.bootstrap(), TOPIC, &records, "none").len(),
        6
    );
    let (mut leader, first) = given(&fleet, topic_id);
    assert_eq!(first, [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
    say(
        &mut leader,
        topic_id,
        0,
        &[ACCEPT, ACCEPT, RELEASE, REJECT, RELEASE, ACCEPT],
    );

    fleet.kill_broker(fleet.leader(TOPIC, 0));
    drop(leader);
    let (mut leader, second) = given(&fleet, topic_id);
    assert_eq!(offsets(&second, 2), [2, 4]);
    say(&mut leader, topic_id, 2, &[ACCEPT]);
    drop(leader);
    let (mut leader, third) = given(&fleet, topic_id);
    assert_eq!(offsets(&third, 3), [4]);
    say(&mut leader, topic_id, 4, &[RELEASE]);

    // Without a session the leader forgets the delivery, too: what comes back is what the next coordinator has read.
    let key = format!("{GROUP}:{topic_id}:0");
    let coordinator = eventually(SOON, "the coordinator", || coordinator(&fleet, SHARE_KEY, &key));
    fleet.kill_broker(coordinator);
    drop(leader);
    let (mut leader, fourth) = given(&fleet, topic_id);
    assert_eq!(offsets(&fourth, 4), [4]);
    say(&mut leader, topic_id, 4, &[ACCEPT]);
    eventually(SOON, "the group to be done", || match start(&fleet)? {
        6 => Ok(()),
        other => Err(format!("it stands at {other}")),
    });
}
