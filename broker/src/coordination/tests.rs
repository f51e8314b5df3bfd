//! The whole service: three brokers and more in one process.

use std::time::Duration;

use flotilla_control::proto::coordination::coordination_client::CoordinationClient;
use flotilla_control::proto::coordination::{DescribeQuorumRequest, SubmitRequest};
use flotilla_control::proto::metadata::{FenceBrokers, Refusal, Request, request};
use flotilla_control::tls::Identity;
use flotilla_protocol::{BrokerId, Uuid};
use futures::FutureExt as _;
use tokio::time::Instant;
use tonic::Code;

use super::peers::{Peers, Purpose, said};
use super::testing::{CLUSTER, Fleet, PATIENCE, deadline, directory, set};
use super::*;

const KEY: &str = "log.retention.ms";

fn value(image: &crate::metadata::Image) -> Option<&str> {
    image.cluster_setting(KEY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_elect_a_leader_commit_and_recover_from_its_loss() {
    let mut fleet = Fleet::of(3, 3);
    let started = Instant::now();
    fleet.start_all().await;
    let leader = fleet.leader().await;
    let follower = (0..3).find(|id| *id != leader).unwrap();
    let response = fleet.running[&follower]
        .controller()
        .submit(set(KEY, "1"))
        .await
        .unwrap();
    // A request whose answer was lost is asked again, and changes nothing the second time.
    assert_eq!(response.refusal(), Refusal::None);
    assert_eq!(
        value(&fleet.running[&follower].metadata().image()),
        Some("1"),
        "the caller sees its own change"
    );
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "answered after {:?}",
        started.elapsed()
    );
    for broker in 0..3 {
        fleet.until(broker, |image| value(image) == Some("1")).await;
    }

    let lost = Instant::now();
    fleet.stop(leader).await;
    let response = fleet.running[&follower]
        .controller()
        .submit(set(KEY, "2"))
        .await
        .unwrap();
    assert_eq!(response.refusal(), Refusal::None);
    assert!(
        lost.elapsed() < Duration::from_secs(3),
        "recovered after {:?}",
        lost.elapsed()
    );
    assert_ne!(fleet.leader().await, leader);

    fleet.start(leader).await;
    fleet.until(leader, |image| value(image) == Some("2")).await;
    let described = fleet.running[&leader].controller().quorum().await.unwrap();
    let voters: Vec<i32> = described.voters.iter().map(|voter| voter.broker_id).collect();
    assert_eq!(voters, [0, 1, 2]);
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_there_again_after_everyone_was_stopped_and_an_observer_gets_it_too() {
    let mut fleet = Fleet::of(4, 3);
    for broker in 0..3 {
        fleet.start(broker).await;
    }
    let controller = fleet.running[&0].controller();
    controller.submit(set(KEY, "1")).await.unwrap();
    // So that what is read again comes partly from a snapshot, partly from the log.
    fleet.running[&0]
        .seat
        .member
        .raft()
        .trigger()
        .snapshot()
        .await
        .unwrap();
    controller.submit(set("log.roll.ms", "5")).await.unwrap();
    fleet.stop_all().await;

    for broker in 0..3 {
        fleet.config(broker).bootstrapped = true;
        fleet.start(broker).await;
    }
    for broker in 0..3 {
        fleet
            .until(broker, |image| {
                (value(image), image.cluster_setting("log.roll.ms")) == (Some("1"), Some("5"))
            })
            .await;
    }

    fleet.start(3).await;
    fleet.until(3, |image| value(image) == Some("1")).await;
    let observer = &fleet.running[&3];
    assert!(!observer.seat.member.takes_part());
    let response = observer.controller().submit(set(KEY, "2")).await.unwrap();
    assert_eq!(response.refusal(), Refusal::None);
    assert_eq!(
        value(&observer.metadata().image()),
        Some("2"),
        "an observer sees its own change as well"
    );
    let leader = fleet.leader().await;
    fleet.stop(leader).await;
    let other = (0..3).find(|id| *id != leader).unwrap();
    fleet.running[&other]
        .controller()
        .submit(set(KEY, "3"))
        .await
        .unwrap();
    fleet.until(3, |image| value(image) == Some("3")).await;
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_disk_is_a_stranger_that_observes_and_founds_nothing() {
    let mut fleet = Fleet::of(3, 3);
    fleet.start_all().await;
    fleet.running[&1]
        .controller()
        .submit(set(KEY, "1"))
        .await
        .unwrap();
    fleet.stop(0).await;
    std::fs::remove_dir_all(&fleet.config(0).dir).unwrap();
    fleet.config(0).directory_id = Uuid([77; 16]);
    fleet.start(0).await;
    fleet.until(0, |image| value(image) == Some("1")).await;
    let stranger = &fleet.running[&0];
    assert!(!stranger.seat.member.takes_part());
    assert_eq!(stranger.seat.member.metrics().last_log_index, None);
    // Nor does it when it alone is there.
    for broker in [1, 2] {
        fleet.stop(broker).await;
    }
    let answer = fleet.running[&0]
        .controller()
        .submit_within(set(KEY, "2"), Duration::from_millis(300))
        .await;
    assert!(
        matches!(answer, Err(SubmitError::NotAvailable { .. })),
        "{answer:?}"
    );
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_register_live_are_fenced_when_silent_and_shut_down_in_order() {
    let mut fleet = Fleet::of(2, 1);
    fleet.start_all().await;
    let started = Instant::now();
    let joined: Vec<Lifecycle> = (0..2)
        .map(|broker| fleet.running[&broker].join(fleet.registration(broker)))
        .collect();
    for lifecycle in &joined {
        lifecycle.set_ready(true);
        assert!(lifecycle.unfenced(deadline()).await);
        assert!(lifecycle.epoch().is_some());
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "joined after {:?}",
        started.elapsed()
    );
    let alive = |image: &crate::metadata::Image, broker: i32| image.is_alive(BrokerId(broker));
    fleet.until(0, |image| alive(image, 0) && alive(image, 1)).await;

    let silent = Instant::now();
    joined[1].stop();
    fleet.until(0, |image| !alive(image, 1)).await;
    let fenced_after = silent.elapsed();
    assert!(
        fenced_after > Duration::from_millis(600),
        "fenced after {fenced_after:?}"
    );
    assert!(
        fenced_after < Duration::from_millis(2_000),
        "fenced after {fenced_after:?}"
    );

    // The same process goes on: it is registered still, and comes back with its next heartbeat.
    let again = fleet.running[&1].join(fleet.registration(1));
    again.set_ready(true);
    assert!(again.unfenced(deadline()).await);
    let asked = Instant::now();
    assert!(again.shut_down(deadline()).await);
    let told_after = asked.elapsed();
    let heartbeat = fleet.configs[&1].timing.heartbeat;
    assert!(
        told_after >= heartbeat,
        "clients had {told_after:?} to hear of it"
    );
    fleet.until(0, |image| !alive(image, 1)).await;
    assert!(alive(&fleet.running[&0].metadata().image(), 0));
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_has_caught_up_does_not_wait_for_its_next_heartbeat() {
    let mut fleet = Fleet::of(2, 1);
    let heartbeat = Duration::from_secs(60);
    for config in fleet.configs.values_mut() {
        config.timing = Timing {
            heartbeat,
            session: heartbeat * 3,
        };
    }
    fleet.start_all().await;
    let started = Instant::now();
    for broker in 0..2 {
        let lifecycle = fleet.running[&broker].join(fleet.registration(broker));
        lifecycle.set_ready(true);
        assert!(lifecycle.unfenced(started + heartbeat / 2).await);
    }
    fleet.stop_all().await;
}

/// Calls broker 0 with the certificate of an identity.
fn client(fleet: &Fleet, cluster: Uuid, identity: Identity) -> CoordinationClient<tonic::transport::Channel> {
    let tls = Tls::load(&fleet.authority.issue(cluster, identity)).unwrap();
    let address = fleet.running[&0].address().to_string();
    let peers = Peers::new(
        CLUSTER,
        BrokerId(9),
        [(BrokerId(0), address)].into(),
        fleet.running[&0].metadata(),
        tls,
    );
    peers.coordination(BrokerId(0), Purpose::Requests, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_are_not_of_the_fleet_are_refused_and_told_why() {
    let mut fleet = Fleet::of(1, 1);
    fleet.start(0).await;
    let describe = DescribeQuorumRequest {};

    let other = Uuid([1; 16]);
    let refused = client(&fleet, other, Identity::Broker(BrokerId(1)))
        .describe_quorum(describe)
        .await
        .unwrap_err();
    let expected =
        format!("the certificate is of cluster {other}, and this broker belongs to cluster {CLUSTER}");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::PermissionDenied, expected.as_str())
    );

    let elsewhere = tempfile::tempdir().unwrap();
    let strange = testing::Authority::new(elsewhere.path());
    let mut files = strange.issue(CLUSTER, Identity::Broker(BrokerId(1)));
    files.ca = fleet.dir.path().join("ca.pem");
    let peers = Peers::new(
        CLUSTER,
        BrokerId(9),
        [(BrokerId(0), fleet.running[&0].address().to_string())].into(),
        fleet.running[&0].metadata(),
        Tls::load(&files).unwrap(),
    );
    let refused = peers
        .coordination(BrokerId(0), Purpose::Requests, None)
        .describe_quorum(describe)
        .await;
    assert!(refused.is_err(), "a certificate of another authority");

    let mut broker = client(&fleet, CLUSTER, Identity::Broker(BrokerId(1)));
    let wrong_cluster = SubmitRequest {
        request: Some(set(KEY, "1")),
        cluster_id: other.to_string(),
    };
    let refused = broker.submit(wrong_cluster).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{}", said(refused));
    let fence = FenceBrokers { broker_ids: vec![0] };
    let fence = Request {
        validate_only: false,
        request: Some(request::Request::FenceBrokers(fence)),
    };
    let fence = SubmitRequest {
        request: Some(fence),
        cluster_id: CLUSTER.to_string(),
    };
    assert_eq!(
        broker.submit(fence).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let heartbeat = flotilla_control::proto::metadata::BrokerHeartbeat {
        broker_id: 0,
        ..Default::default()
    };
    let hand_over = flotilla_control::proto::metadata::HandOver {
        broker_id: 0,
        ..Default::default()
    };
    for request in [
        request::Request::BrokerHeartbeat(heartbeat),
        request::Request::HandOver(hand_over),
    ] {
        let asked = SubmitRequest {
            request: Some(Request {
                validate_only: false,
                request: Some(request),
            }),
            cluster_id: CLUSTER.to_string(),
        };
        let refused = broker.submit(asked).await.unwrap_err();
        assert_eq!(refused.message(), "broker 1 cannot speak for broker 0");
    }

    let mut operator = client(&fleet, CLUSTER, Identity::Operator);
    assert!(operator.describe_quorum(describe).await.is_ok());
    let own = SubmitRequest {
        request: Some(set(KEY, "1")),
        cluster_id: CLUSTER.to_string(),
    };
    assert_eq!(
        operator.submit(own).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_the_voter_that_a_disk_was_before_is_not_taken() {
    let mut fleet = Fleet::of(1, 1);
    fleet.start(0).await;
    fleet.leader().await;
    let mut broker = client(&fleet, CLUSTER, Identity::Broker(BrokerId(1)));
    let message = flotilla_control::proto::coordination::RaftMessage {
        payload: Vec::new(),
        target_broker_id: 0,
        target_directory_id: vec![5; 16],
        cluster_id: CLUSTER.to_string(),
    };
    let refused = broker.append_entries(message).await.unwrap_err();
    let own = VoterId::new(BrokerId(0), directory(0));
    let meant = VoterId::new(BrokerId(0), Uuid([5; 16]));
    assert_eq!(
        refused.message(),
        format!("the message is for voter {meant}, and this is {own}")
    );
    let garbage = flotilla_control::proto::coordination::RaftMessage {
        payload: vec![0xff; 10],
        target_broker_id: 0,
        target_directory_id: directory(0).0.to_vec(),
        cluster_id: CLUSTER.to_string(),
    };
    for refused in [
        broker.append_entries(garbage.clone()).await,
        broker.vote(garbage.clone()).await,
        broker.install_snapshot(garbage).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    let answered = fleet.running[&0]
        .controller()
        .submit_within(set(KEY, "1"), PATIENCE)
        .await;
    assert!(answered.is_ok());
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_without_the_snapshot_that_it_begins_behind_is_refused() {
    let mut fleet = Fleet::of(1, 1);
    let dir = fleet.config(0).dir.clone();
    let log = raft_log::RaftLog::open(fleet.config(0).disk.clone(), &dir).unwrap();
    let id = openraft::LogId::new(openraft::CommittedLeaderId::new(1, VoterId::default()), 7);
    log.purge(id).unwrap();
    drop(log);
    let refused = start(fleet.config(0).clone()).await.err().unwrap().to_string();
    assert!(
        refused.contains("the log begins behind entry 7, and the snapshot ends with nothing"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_has_removed_itself_changes_no_voters() {
    let mut fleet = Fleet::of(3, 3);
    fleet.start_all().await;
    let leader = fleet.leader().await;
    fleet.running[&leader]
        .controller()
        .submit(set(KEY, "1"))
        .await
        .unwrap();
    let member = fleet.running[&leader].seat.member.clone();
    let members = members::Members {
        member: &member,
        dry_run: false,
    };
    let removed = members.remove(member.id()).await;
    // Another one may lead before the answer is there.
    let is_removed = matches!(removed.refusal(), Refusal::None | Refusal::NotController);
    assert!(is_removed, "{}", removed.message);
    let node = VoterNode {
        address: fleet.config(leader).bind.to_string(),
    };
    let added = members.add(member.id(), node).await;
    assert_eq!(added.refusal(), Refusal::NotController, "{}", added.message);
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_voters_that_was_left_half_done_is_finished() {
    let mut fleet = Fleet::of(3, 2);
    fleet.start_all().await;
    let leader = fleet.leader().await;
    // The voters can be changed once their leader has committed something.
    fleet.running[&leader]
        .controller()
        .submit(set(KEY, "1"))
        .await
        .unwrap();
    let node = VoterNode {
        address: fleet.config(2).bind.to_string(),
    };
    let raft = fleet.running[&leader].seat.member.raft();
    let third = VoterId::new(BrokerId(2), directory(2));
    raft.add_learner(third, node, true).await.unwrap();
    let change = openraft::ChangeMembers::AddVoterIds([third].into());
    // The caller goes when it has asked, and so the second half is never asked for.
    assert!(raft.change_membership(change, true).now_or_never().is_none());
    let mut metrics = raft.metrics();
    let finished = metrics.wait_for(|now| {
        let membership = now.membership_config.membership();
        membership.get_joint_config().len() == 1 && membership.voter_ids().count() == 3
    });
    let finished = timeout(PATIENCE, finished).await;
    assert!(finished.is_ok_and(|finished| finished.is_ok()));
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_goes_on_as_before_while_no_controller_answers() {
    let mut fleet = Fleet::of(2, 1);
    fleet.start_all().await;
    let lifecycle = fleet.running[&1].join(fleet.registration(1));
    lifecycle.set_ready(true);
    assert!(lifecycle.unfenced(deadline()).await);
    let before = lifecycle.standing();
    fleet.stop(0).await;
    let sessions = fleet.config(1).timing.session * 3;
    let mut standing = lifecycle.watch();
    let fenced = timeout(sessions, standing.wait_for(|standing| standing.fenced)).await;
    assert!(fenced.is_err(), "{fenced:?}");
    fleet.start(0).await;
    let answered = fleet.running[&1].controller().submit(set(KEY, "1")).await;
    assert_eq!(answered.unwrap().refusal(), Refusal::None);
    assert_eq!(lifecycle.standing().epoch, before.epoch);
    drop(lifecycle);
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_that_led_the_quorum_is_fenced_soon_after_it_is_gone() {
    let mut fleet = Fleet::of(3, 3);
    fleet.start_all().await;
    let mut joined: BTreeMap<i32, Lifecycle> = (0..3)
        .map(|broker| (broker, fleet.running[&broker].join(fleet.registration(broker))))
        .collect();
    for lifecycle in joined.values() {
        lifecycle.set_ready(true);
        assert!(lifecycle.unfenced(deadline()).await);
    }
    let leader = fleet.leader().await;
    let other = (0..3).find(|id| *id != leader).unwrap();
    fleet
        .until(other, |image| {
            (0..3).all(|broker| image.is_alive(BrokerId(broker)))
        })
        .await;
    let lost = Instant::now();
    joined.remove(&leader);
    fleet.stop(leader).await;
    fleet
        .until(other, |image| !image.is_alive(BrokerId(leader)))
        .await;
    assert!(
        lost.elapsed() < Duration::from_millis(2_800),
        "fenced after {:?}",
        lost.elapsed()
    );
    // The others were heard of in time.
    let alive = |image: &crate::metadata::Image| (0..3).filter(|id| image.is_alive(BrokerId(*id))).count();
    fleet.until(other, |image| alive(image) == 2).await;
    drop(joined);
    fleet.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorum_whose_leader_left_with_nobody_hearing_of_it_finds_another_one() {
    let mut fleet = Fleet::of(2, 2);
    fleet.start_all().await;
    let leaving = fleet.leader().await;
    let staying = 1 - leaving;
    let submitted = fleet.running[&leaving].controller().submit(set(KEY, "1")).await;
    assert_eq!(submitted.unwrap().refusal(), Refusal::None);
    for broker in 0..2 {
        fleet.until(broker, |image| value(image) == Some("1")).await;
    }
    fleet.stop_all().await;

    // Both have that the leader is about to leave; that it has left, only itself.
    let logs = [leaving, staying].map(|broker| {
        let config = fleet.config(broker).clone();
        raft_log::RaftLog::open(config.disk, &config.dir).unwrap()
    });
    let last = logs[0].ends().1.max(logs[1].ends().1).unwrap();
    for log in &logs {
        let have = log.ends().1.map_or(0, |id| id.index + 1);
        let missing = logs.iter().find(|log| log.ends().1 == Some(last)).unwrap();
        let missing = missing.read(have.., usize::MAX).unwrap();
        log.append(missing).unwrap().sync().unwrap();
    }
    let voters = fleet.config(0).voters.clone();
    let all: std::collections::BTreeSet<VoterId> = voters.keys().copied().collect();
    let rest: std::collections::BTreeSet<VoterId> =
        all.iter().copied().filter(|id| id.broker.0 == staying).collect();
    let entry = |index, sets| wire::Entry {
        log_id: openraft::LogId::new(last.leader_id, index),
        payload: openraft::EntryPayload::Membership(openraft::Membership::new(sets, voters.clone())),
    };
    let leaves = entry(last.index + 1, vec![all, rest.clone()]);
    let has_left = entry(last.index + 2, vec![rest.clone()]);
    logs[1].append(vec![leaves.clone()]).unwrap().sync().unwrap();
    logs[0].append(vec![leaves, has_left]).unwrap().sync().unwrap();
    // Others have stood for election since, so that it does not lead on where it stopped.
    for log in &logs {
        let candidate = *rest.first().unwrap();
        let later = openraft::Vote::new(last.leader_id.term + 1, candidate);
        log.save_vote(later).unwrap();
    }
    drop(logs);

    fleet.start_all().await;
    assert_eq!(fleet.leader().await, staying);
    let submitted = fleet.running[&staying].controller().submit(set(KEY, "2")).await;
    assert_eq!(submitted.unwrap().refusal(), Refusal::None);
    // And it ends what was left half done.
    let mut metrics = fleet.running[&staying].seat.member.raft().metrics();
    let left = metrics.wait_for(|now| {
        let membership = now.membership_config.membership();
        membership.get_joint_config().len() == 1 && membership.voter_ids().eq(rest.iter().copied())
    });
    let left = timeout(PATIENCE, left).await;
    assert!(left.is_ok_and(|left| left.is_ok()));
    fleet.stop_all().await;
}
