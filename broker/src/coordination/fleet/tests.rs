use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_control::proto::coordination::LogEnd;
use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::proto::metadata::{ApplyTopic, Owner};
use flotilla_control::tls::Identity;
use parking_lot::Mutex;
use tonic::transport::Channel;

use flotilla_control::proto::metadata::ScramMechanism;
use flotilla_protocol::Uuid;

use super::credential::SALT_BYTES;
use super::*;
use crate::coordination::testing::{CLUSTER, Fleet as Brokers, deadline, directory, set};
use crate::coordination::{Lifecycle, Tls};

/// The operator's client of one broker.
fn operator_of(brokers: &Brokers, cluster: Uuid, broker: i32) -> FleetClient<Channel> {
    let tls = Tls::load(&brokers.authority.issue(cluster, Identity::Operator)).unwrap();
    let running = &brokers.running[&broker];
    let address = BTreeMap::from([(BrokerId(broker), running.address().to_string())]);
    Peers::new(CLUSTER, BrokerId(99), address, running.metadata(), tls).fleet(BrokerId(broker))
}

async fn joined(brokers: &Brokers, broker: i32) -> Lifecycle {
    let lifecycle = brokers.running[&broker].join(brokers.registration(broker));
    lifecycle.set_ready(true);
    assert!(lifecycle.unfenced(deadline()).await);
    lifecycle
}

fn owner(name: &str, deletion_policy: &str) -> Option<Owner> {
    Some(Owner {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        deletion_policy: deletion_policy.to_owned(),
    })
}

fn topic(name: &str) -> ApplyTopicRequest {
    let topic = ApplyTopic {
        name: name.to_owned(),
        partitions: 2,
        replicas: 1,
        owner: owner(name, "Delete"),
        ..ApplyTopic::default()
    };
    ApplyTopicRequest {
        topic: Some(topic),
        dry_run: false,
    }
}

async fn said<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> T {
    answer.await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_password_is_unchanged_is_not_written_again() {
    let mut brokers = Brokers::of(1, 1);
    brokers.start(0).await;
    let mut fleet = operator_of(&brokers, CLUSTER, 0);
    let user = |password: &str, dry_run| ApplyUserRequest {
        name: "checkout".to_owned(),
        authentication: "scram-sha-512".to_owned(),
        password: password.to_owned(),
        owner: owner("checkout", ""),
        dry_run,
        ..ApplyUserRequest::default()
    };
    let without = said(fleet.apply_user(user("", false))).await;
    assert_eq!(without.refusal(), Refusal::UnacceptableCredential);
    let (mut changed, mut credentials) = (Vec::new(), Vec::new());
    for (password, dry_run) in [
        ("one", true),
        ("one", false),
        ("one", false),
        ("", false),
        ("two", true),
        ("two", false),
        ("two", true),
    ] {
        let answer = said(fleet.apply_user(user(password, dry_run))).await;
        assert_eq!((answer.refusal(), answer.message.as_str()), (Refusal::None, ""));
        changed.push(answer.changed);
        credentials.push(answer.credential);
    }
    assert_eq!(changed, [true, true, false, false, true, true, false]);
    assert_eq!(credentials[1], credentials[2]);
    assert_eq!(credentials[5], credentials[6]);
    assert_ne!(credentials[2], credentials[5]);
    let image = brokers.running[&0].metadata().image();
    let stored = image.scram("checkout", ScramMechanism::ScramSha512).unwrap();
    assert_eq!((stored.salt.len(), stored.iterations), (SALT_BYTES, 4096));
    let gone = DeleteUserRequest {
        name: "checkout".to_owned(),
        owner: owner("checkout", ""),
        dry_run: false,
    };
    assert!(said(fleet.delete_user(gone.clone())).await.changed);
    assert!(!said(fleet.delete_user(gone)).await.changed);
    brokers.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_deleted_only_as_its_policy_says() {
    let mut brokers = Brokers::of(1, 1);
    brokers.start(0).await;
    let _alive = joined(&brokers, 0).await;
    let mut fleet = operator_of(&brokers, CLUSTER, 0);
    assert!(said(fleet.apply_topic(topic("orders"))).await.changed);
    assert!(!said(fleet.apply_topic(topic("orders"))).await.changed);
    let delete = |policy: &str, by: &str| DeleteTopicRequest {
        name: "orders".to_owned(),
        owner: owner(by, policy),
        dry_run: false,
    };
    let kept = said(fleet.delete_topic(delete("Retain", "orders"))).await;
    assert_eq!((kept.refusal(), kept.changed), (Refusal::None, false));
    let unknown = said(fleet.delete_topic(delete("DeleteIfEmpty", "orders"))).await;
    assert_eq!(unknown.refusal(), Refusal::NotEmpty);
    assert!(
        unknown
            .message
            .ends_with("this broker has not opened its logs yet"),
        "{}",
        unknown.message
    );
    let ends = Arc::new(Mutex::new(vec![(0, 3, 8), (1, 0, 0)]));
    let reported = ends.clone();
    brokers.running[&0].answer_log_ends(Arc::new(move |_| {
        let end = |(partition, log_start_offset, log_end_offset): &(i32, i64, i64)| LogEnd {
            partition: *partition,
            log_start_offset: *log_start_offset,
            log_end_offset: *log_end_offset,
        };
        reported.lock().iter().map(end).collect()
    }));
    let full = said(fleet.delete_topic(delete("DeleteIfEmpty", "orders"))).await;
    assert_eq!(
        (full.refusal(), full.message.as_str()),
        (Refusal::NotEmpty, "topic `orders` is kept: it holds 5 records")
    );
    ends.lock().pop();
    let partly = said(fleet.delete_topic(delete("DeleteIfEmpty", "orders"))).await;
    assert_eq!(
        partly.refusal(),
        Refusal::NotEmpty,
        "one partition is not told of"
    );
    *ends.lock() = vec![(0, 8, 8), (1, 0, 0)];
    assert_eq!(
        said(fleet.delete_topic(delete("Delete", "other")))
            .await
            .refusal(),
        Refusal::OwnedByAnother
    );
    assert_eq!(
        said(fleet.delete_topic(delete("Perhaps", "orders")))
            .await
            .refusal(),
        Refusal::InvalidRequest
    );
    let gone = said(fleet.delete_topic(delete("DeleteIfEmpty", "orders"))).await;
    assert_eq!((gone.refusal(), gone.changed), (Refusal::None, true));
    let again = said(fleet.delete_topic(delete("Delete", "orders"))).await;
    assert_eq!((again.refusal(), again.changed), (Refusal::None, false));
    brokers.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_the_whole_fleet_and_then_what_changes() {
    let mut brokers = Brokers::of(2, 1);
    brokers.start_all().await;
    let alive = [joined(&brokers, 0).await, joined(&brokers, 1).await];
    brokers
        .until(1, |image| {
            image.is_alive(BrokerId(0)) && image.is_alive(BrokerId(1))
        })
        .await;
    let mut fleet = operator_of(&brokers, CLUSTER, 1);
    let mut watched = said(fleet.watch(WatchRequest {})).await;
    let first = watched.message().await.unwrap().unwrap();
    assert!(first.snapshot);
    let unfenced: Vec<(i32, bool)> = first
        .brokers
        .iter()
        .map(|broker| (broker.broker_id, broker.fenced))
        .collect();
    assert_eq!((unfenced, first.topics), (vec![(0, false), (1, false)], vec![]));
    assert!(said(fleet.apply_topic(topic("orders"))).await.changed);
    let mut next = async || loop {
        let response = watched.message().await.unwrap().unwrap();
        assert!(!response.snapshot);
        if response.brokers.len() + response.topics.len() + response.removed_topics.len() > 0 {
            return response;
        }
    };
    let created = next().await;
    let topics: Vec<(String, usize)> = created
        .topics
        .iter()
        .map(|state| (state.topic.as_ref().unwrap().name.clone(), state.partitions.len()))
        .collect();
    assert_eq!(
        (topics, created.brokers),
        (vec![("orders".to_owned(), 2)], vec![])
    );
    alive[1].stop();
    let fenced = next().await;
    assert_eq!(
        fenced
            .brokers
            .iter()
            .map(|broker| (broker.broker_id, broker.fenced))
            .collect::<Vec<_>>(),
        [(1, true)]
    );
    let delete = DeleteTopicRequest {
        name: "orders".to_owned(),
        owner: owner("orders", "Delete"),
        dry_run: false,
    };
    assert!(said(fleet.delete_topic(delete)).await.changed);
    let mut removed = next().await;
    while removed.removed_topics.is_empty() {
        removed = next().await;
    }
    assert_eq!(removed.removed_topics, ["orders"]);

    let ids = said(fleet.read_tree(ReadTreeRequest {
        path: "/brokers/ids".to_owned(),
    }))
    .await;
    assert_eq!(
        (ids.found, ids.children),
        (true, vec!["0".to_owned(), "1".to_owned()])
    );
    assert!(
        !said(fleet.read_tree(ReadTreeRequest {
            path: "/nowhere".to_owned()
        }))
        .await
        .found
    );
    let plan = said(fleet.plan_restart(PlanRestartRequest { broker_ids: vec![1] })).await;
    assert_eq!(
        plan.batches
            .iter()
            .map(|batch| batch.broker_ids.clone())
            .collect::<Vec<_>>(),
        [[1]]
    );
    brokers.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_are_added_and_removed_one_at_a_time_from_any_broker() {
    let mut brokers = Brokers::of(3, 1);
    brokers.start_all().await;
    for broker in 1..3 {
        brokers.config(broker).bootstrapped = true;
    }
    let mut fleet = operator_of(&brokers, CLUSTER, 2);
    let voter = |broker: i32, dry_run| VoterRequest {
        broker_id: broker,
        directory_id: directory(broker).0.to_vec(),
        address: brokers.running[&broker].address().to_string(),
        dry_run,
    };
    brokers.running[&2]
        .controller()
        .submit(set("log.retention.ms", "1"))
        .await
        .unwrap();
    assert!(said(fleet.add_voter(voter(1, true))).await.changed);
    for broker in [1, 2] {
        let answer = said(fleet.add_voter(voter(broker, false))).await;
        assert_eq!(
            (answer.refusal(), answer.message.as_str(), answer.changed),
            (Refusal::None, "", true)
        );
        assert!(!said(fleet.add_voter(voter(broker, false))).await.changed);
    }
    let mut other_directory = voter(1, false);
    other_directory.directory_id = vec![42; 16];
    assert_eq!(
        said(fleet.add_voter(other_directory)).await.refusal(),
        Refusal::DuplicateResource
    );
    let described = said(fleet.describe_quorum(DescribeQuorumRequest {})).await;
    assert_eq!(
        described
            .voters
            .iter()
            .map(|voter| voter.broker_id)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );

    // The first voter leads; it goes, and the others go on without it.
    assert!(said(fleet.remove_voter(voter(0, false))).await.changed);
    brokers.running[&2]
        .controller()
        .submit(set("log.retention.ms", "2"))
        .await
        .unwrap();
    let mut leadership = brokers.running[&0].leadership();
    leadership
        .wait_for(|leadership| !leadership.leading)
        .await
        .unwrap();
    let leader = brokers.leader().await;
    assert_ne!(leader, 0);
    brokers.running[&2]
        .controller()
        .submit(set("log.retention.ms", "3"))
        .await
        .unwrap();
    // What is no voter any more observes.
    brokers
        .until(0, |image| image.cluster_setting("log.retention.ms") == Some("3"))
        .await;
    let last = said(operator_of(&brokers, CLUSTER, leader).remove_voter(voter(3 - leader, false))).await;
    assert!(last.changed);
    let refused = said(operator_of(&brokers, CLUSTER, leader).remove_voter(voter(leader, false))).await;
    assert_eq!(refused.refusal(), Refusal::InvalidRequest);
    brokers.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_are_added_and_removed_by_clients_of_any_broker() {
    let mut brokers = Brokers::of(2, 1);
    brokers.start_all().await;
    brokers.config(1).bootstrapped = true;
    let voter = VoterRequest {
        broker_id: 1,
        directory_id: directory(1).0.to_vec(),
        address: brokers.running[&1].address().to_string(),
        dry_run: false,
    };
    let limit = Duration::from_secs(30);
    // The one that observes hands on to the one that leads.
    let observer = brokers.running[&1].controller();
    for (add, changed) in [(true, true), (true, false), (false, true), (false, false)] {
        let answer = observer.change_voters(voter.clone(), add, limit).await.unwrap();
        assert_eq!(
            (answer.refusal(), answer.changed),
            (Refusal::None, changed),
            "add: {add}"
        );
    }
    let no_directory = VoterRequest {
        directory_id: vec![1; 3],
        ..voter.clone()
    };
    let unanswered = observer
        .change_voters(no_directory, true, limit)
        .await
        .unwrap_err();
    assert!(
        unanswered.to_string().contains("a directory id has 16 bytes"),
        "{unanswered}"
    );
    brokers.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_of_another_fleet_is_refused() {
    let mut brokers = Brokers::of(1, 1);
    brokers.start(0).await;
    let mut fleet = operator_of(&brokers, Uuid([3; 16]), 0);
    let refused = fleet.apply_topic(topic("orders")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(fleet.watch(WatchRequest {}).await.is_err());
    let mut own = operator_of(&brokers, CLUSTER, 0);
    let incomplete = own.apply_topic(ApplyTopicRequest::default()).await.unwrap_err();
    assert_eq!(
        (incomplete.code(), incomplete.message()),
        (tonic::Code::InvalidArgument, "`topic` is missing")
    );
    brokers.stop_all().await;
}
