//! Requests of administrators that change the fleet itself, over the wire: who votes in its quorum (KIP-853), and what its brokers have agreed on
//! (KIP-584).

use std::time::Duration;

use flotilla_protocol::messages::update_features_request::FeatureUpdateKey;
use flotilla_protocol::messages::{
    AddRaftVoterRequest, ApiVersionsRequest, RemoveRaftVoterRequest, UpdateFeaturesRequest,
    add_raft_voter_request, describe_quorum_request,
};
use flotilla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use flotilla_protocol::{ErrorCode, Uuid};

use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::raw::Connection;

const SOON: Duration = Duration::from_secs(30);

/// A connection to that broker.
fn connect(fleet: &Fleet, broker: i64) -> Connection {
    Connection::open(&fleet.address_of(broker))
}

fn quorum(connection: &mut Connection) -> DescribeQuorumResponse {
    let request = DescribeQuorumRequest {
        topics: vec![describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![describe_quorum_request::PartitionData { partition_index: 0 }],
        }],
    };
    connection.call(2, &request).expect("an answer")
}

/// The leader, and the voters with their directories, ascending.
fn voters(described: &DescribeQuorumResponse) -> (i32, Vec<(i32, Uuid)>) {
    let partition = &described.topics[0].partitions[0];
    let voters = partition.current_voters.iter();
    let mut voters: Vec<_> = voters
        .map(|voter| (voter.replica_id, voter.replica_directory_id))
        .collect();
    voters.sort_unstable();
    (partition.leader_id, voters)
}

fn remove(
    connection: &mut Connection,
    cluster: Option<&'static str>,
    (id, directory): (i32, Uuid),
) -> ErrorCode {
    let request = RemoveRaftVoterRequest {
        cluster_id: cluster.map(Into::into),
        voter_id: id,
        voter_directory_id: directory,
    };
    let answer = connection.call(0, &request).expect("an answer");
    answer.error_code.into()
}

fn add(connection: &mut Connection, version: i16, (id, directory): (i32, Uuid), port: u16) -> ErrorCode {
    let request = AddRaftVoterRequest {
        cluster_id: None,
        timeout_ms: 30_000,
        voter_id: id,
        voter_directory_id: directory,
        listeners: vec![add_raft_voter_request::Listener {
            name: "CONTROL".into(),
            host: "127.0.0.1".into(),
            port,
        }],
        ack_when_committed: true,
    };
    let answer = connection.call(version, &request).expect("an answer");
    answer.error_code.into()
}

#[test]
fn voters_are_removed_and_added_through_any_broker() {
    let fleet = Fleet::start(&manifests(3, &[]));
    let mut any = connect(&fleet, 0);
    let described = eventually(SOON, "three voters and a leader", || {
        let described = quorum(&mut any);
        let (leader, all) = voters(&described);
        if leader >= 0 && all.len() == 3 {
            Ok(described)
        } else {
            Err(format!("{described:?}"))
        }
    });
    let (leader, all) = voters(&described);
    let leaving = *all.iter().find(|(id, _)| *id != leader).expect("a follower");
    let port = described
        .nodes
        .iter()
        .find(|node| node.node_id == leaving.0)
        .map(|node| node.listeners[0].port)
        .expect("its address");
    // Whichever broker is asked, of the three at least one has to hand the request on.
    for broker in 0..3 {
        let mut connection = connect(&fleet, broker);
        assert_eq!(
            remove(&mut connection, Some("another"), leaving),
            ErrorCode::InconsistentClusterId
        );
        let stranger = (leaving.0, Uuid([42; 16]));
        assert_eq!(remove(&mut connection, None, stranger), ErrorCode::VoterNotFound);
        for version in [0, 1] {
            let again = add(&mut connection, version, leaving, port);
            assert_eq!(again, ErrorCode::DuplicateVoter);
        }
    }
    assert_eq!(
        remove(&mut connect(&fleet, i64::from(leaving.0)), None, leaving),
        ErrorCode::None
    );
    // `flotilla up` gives it its vote again by itself: who comes second is told that it is there.
    let back = add(&mut any, 1, leaving, port);
    let welcome = [
        ErrorCode::None,
        ErrorCode::DuplicateVoter,
        ErrorCode::RequestTimedOut,
    ];
    assert!(welcome.contains(&back), "{back:?}");
    eventually(SOON, "the voters of before", || {
        let now = voters(&quorum(&mut any)).1;
        (now == all).then_some(()).ok_or_else(|| format!("{now:?}"))
    });
}

/// Sets a level and gives the code.
fn update(connection: &mut Connection, level: i16, way: i8, validate_only: bool) -> ErrorCode {
    let request = UpdateFeaturesRequest {
        timeout_ms: 30_000,
        feature_updates: vec![FeatureUpdateKey {
            feature: "transaction.version".into(),
            max_version_level: level,
            upgrade_type: way,
            ..FeatureUpdateKey::default()
        }],
        validate_only,
    };
    let answer = connection.call(2, &request).expect("an answer");
    answer.error_code.into()
}

/// The levels that clients hear of.
fn finalized(connection: &mut Connection) -> Vec<(String, i16)> {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    };
    let answer = connection.call(4, &request).expect("an answer");
    let features = answer.finalized_features.iter();
    features
        .map(|feature| (feature.name.to_string(), feature.max_version_level))
        .collect()
}

#[test]
fn features_go_down_and_up_for_all_brokers_and_stay_so() {
    let mut fleet = Fleet::start(&manifests(3, &[]));
    let of_transactions = |level| ("transaction.version".to_owned(), level);
    let flotilla = ("flotilla.version".to_owned(), 1);
    let mut first = connect(&fleet, 0);
    let before = finalized(&mut first);
    assert!(
        before.contains(&flotilla) && before.contains(&of_transactions(2)),
        "{before:?}"
    );
    assert_eq!(update(&mut first, 1, 2, true), ErrorCode::None);
    assert_eq!(finalized(&mut first), before, "a dry run changes nothing");
    assert_eq!(update(&mut first, 1, 1, false), ErrorCode::InvalidUpdateVersion);
    assert_eq!(update(&mut first, 3, 1, false), ErrorCode::InvalidUpdateVersion);
    assert_eq!(update(&mut first, 0, 2, false), ErrorCode::None);
    let is_off = |fleet: &Fleet, broker| {
        eventually(SOON, "the level on every broker", || {
            let now = finalized(&mut connect(fleet, broker));
            let is_off =
                now.contains(&flotilla) && !now.iter().any(|(name, _)| name == "transaction.version");
            is_off.then_some(()).ok_or_else(|| format!("{now:?}"))
        });
    };
    (0..3).for_each(|broker| is_off(&fleet, broker));
    // Off is said, too, and not forgotten.
    fleet.kill();
    fleet.up();
    (0..3).for_each(|broker| is_off(&fleet, broker));
    let mut last = connect(&fleet, 2);
    assert_eq!(update(&mut last, 2, 1, false), ErrorCode::None);
    assert!(finalized(&mut last).contains(&of_transactions(2)));
}
