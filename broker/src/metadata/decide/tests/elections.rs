use super::*;

fn elect(unclean: bool, partitions: &[(&str, i32)]) -> Asked {
    let named = |(topic, partition): &(&str, i32)| proto::TopicPartition {
        topic: (*topic).to_owned(),
        partition: *partition,
    };
    Asked::ElectLeaders(proto::ElectLeaders {
        unclean,
        partitions: partitions.iter().map(named).collect(),
        all_partitions: partitions.is_empty(),
    })
}

#[test]
fn the_leader_shrinks_and_grows_the_isr() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.alter_isr(&[0, 2]),
        ["t-0: 0 1 2 isr 0 2 leader 0 epochs 0/1", "t done"]
    );
    assert_eq!(fleet.alter_isr(&[0, 2]), ["t done"]);
    assert_eq!(
        fleet.alter_isr(&[0, 2, 1]),
        ["t-0: 0 1 2 isr 0 2 1 leader 0 epochs 0/2", "t done"]
    );
}

#[test]
fn an_isr_change_tells_the_state_that_holds_now() {
    let mut fleet = Fleet::with_topic("1");
    let request = fleet.isr_request(&[0, 2]);
    let decision = fleet.ask(Asked::AlterPartitions(request));
    let state = decision.response.items[0].partition_state.clone().unwrap();
    assert_eq!(Some(&Fact::Partition(state)), decision.records[0].record.as_ref());
}

#[test]
fn a_fenced_stopping_or_reborn_broker_is_not_added_to_isr_kip_903() {
    let mut fleet = Fleet::with_topic("1");
    fleet.fence(&[1]);
    assert_eq!(
        fleet.alter_isr(&[0, 1]),
        ["t IneligibleReplica: broker 1 is fenced"]
    );
    fleet.beat(1);
    let stop = proto::BrokerHeartbeat {
        want_shut_down: true,
        ..fleet.heartbeat(1)
    };
    fleet.ask(Asked::BrokerHeartbeat(stop));
    assert_eq!(
        fleet.alter_isr(&[0, 1]),
        ["t IneligibleReplica: broker 1 is stopping"]
    );
    let mut seen_before = fleet.isr_request(&[0, 1]);
    fleet.start(1);
    let epoch = fleet.heartbeat(1).broker_epoch;
    assert_eq!(
        fleet.show(Asked::AlterPartitions(seen_before.clone())),
        [format!(
            "t IneligibleReplica: broker 1 has registered anew, with the epoch {epoch}"
        )]
    );
    seen_before.partitions[0].new_isr[1].broker_epoch = -1;
    assert_eq!(
        fleet.show(Asked::AlterPartitions(seen_before)),
        ["t-0: 0 1 2 isr 0 1 leader 0 epochs 0/2", "t done"]
    );
}

#[test]
fn an_isr_change_by_whoever_does_not_lead_now_is_refused() {
    let mut fleet = Fleet::with_topic("1");
    let good = fleet.isr_request(&[0, 1]);
    let mut with = |change: &dyn Fn(&mut proto::AlterPartition)| {
        let mut request = good.clone();
        change(&mut request.partitions[0]);
        fleet.show(Asked::AlterPartitions(request)).concat()
    };
    assert_eq!(
        with(&|p| p.leader_epoch = 5),
        "t NotController: the leader knows more than this controller"
    );
    assert_eq!(
        with(&|p| p.partition_epoch = 5),
        "t NotController: the leader knows more than this controller"
    );
    assert_eq!(
        with(&|p| p.leader_epoch = -1),
        "t FencedLeaderEpoch: the leader epoch is 0"
    );
    assert_eq!(
        with(&|p| p.partition_epoch = -1),
        "t InvalidUpdateVersion: the partition epoch is 0"
    );
    assert_eq!(
        with(&|p| p.topic_id = vec![9; 16]),
        " UnknownTopicId: no topic has this id"
    );
    assert_eq!(
        with(&|p| p.partition = 9),
        "t-9 UnknownPartition: topic `t` has no partition 9"
    );
}

#[test]
fn an_isr_of_strangers_doubles_or_without_the_leader_is_refused() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.alter_isr(&[0, 7]),
        ["t InvalidRequest: broker 7 is not a replica, or is named twice"]
    );
    assert_eq!(
        fleet.alter_isr(&[0, 1, 1]),
        ["t InvalidRequest: broker 1 is not a replica, or is named twice"]
    );
    assert_eq!(
        fleet.alter_isr(&[1, 2]),
        ["t InvalidRequest: the leader 0 is not in the in-sync set"]
    );
    let other = proto::AlterPartitions {
        broker_id: 1,
        broker_epoch: fleet.heartbeat(1).broker_epoch,
        ..fleet.isr_request(&[0, 1])
    };
    assert_eq!(
        fleet.show(Asked::AlterPartitions(other.clone())),
        ["t InvalidRequest: broker 1 does not lead the partition"]
    );
    let stale = proto::AlterPartitions {
        broker_epoch: 1,
        ..other
    };
    assert_eq!(
        fleet.ask(Asked::AlterPartitions(stale)).response.refusal(),
        Refusal::StaleBrokerEpoch
    );
}

#[test]
fn a_lower_minimum_ends_eligibility_at_once_kip_966() {
    let mut fleet = Fleet::with_topic("3");
    assert_eq!(
        fleet.fence(&[2]),
        ["broker 2 fenced", "t-0: 0 1 2 isr 0 1 elr 2 leader 0 epochs 0/1"]
    );
    assert_eq!(
        fleet.set(proto::ResourceType::Broker, "", "min.insync.replicas", Some("2")),
        [
            "config Broker `` min.insync.replicas=2",
            "t-0: 0 1 2 isr 0 1 leader 0 epochs 0/2",
            " done"
        ]
    );
}

#[test]
fn the_preferred_leader_is_elected_when_it_is_in_sync() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.show(elect(false, &[("t", 0)])),
        ["t ElectionNotNeeded: the partition has the leader that it should have"]
    );
    fleet.fence(&[0]);
    fleet.beat(0);
    assert_eq!(
        fleet.show(elect(false, &[("t", 0)])),
        ["t PreferredLeaderNotAvailable: the preferred leader is not alive and in sync"]
    );
    fleet.alter_isr(&[1, 2, 0]);
    assert_eq!(
        fleet.show(elect(false, &[("t", 0), ("t", 1), ("x", 0)])),
        [
            "t-0: 0 1 2 isr 1 2 0 leader 0 epochs 2/3",
            "t done",
            "t-1 UnknownPartition: topic `t` has no partition 1",
            "x UnknownTopic: topic `x` does not exist"
        ]
    );
}

#[test]
fn an_election_for_all_answers_only_for_those_that_needed_one() {
    let mut fleet = Fleet::with_topic("1");
    fleet.create("u", &[&[1, 0], &[0, 1]]);
    fleet.fence(&[1]);
    fleet.beat(1);
    assert_eq!(fleet.state("u", 0), "1 0 isr 0 leader 0 epochs 1/1");
    assert_eq!(
        fleet.show(elect(false, &[])),
        ["u PreferredLeaderNotAvailable: the preferred leader is not alive and in sync"]
    );
}

#[test]
fn an_unclean_election_needs_a_leaderless_partition_and_a_living_replica() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.show(elect(true, &[("t", 0)])),
        ["t ElectionNotNeeded: the partition has the leader that it should have"]
    );
    fleet.fence(&[1, 2, 0]);
    assert_eq!(fleet.state("t", 0), "0 1 2 elr 0 last 0 leader - epochs 1/3");
    assert_eq!(
        fleet.show(elect(true, &[("t", 0)])),
        ["t EligibleLeadersNotAvailable: no replica of the partition is alive"]
    );
    fleet.beat(2);
    assert_eq!(
        fleet.show(elect(true, &[("t", 0)])),
        ["t-0: 0 1 2 isr 2 leader 2 epochs 2/4", "t done"]
    );
}

#[test]
fn a_reassignment_adds_then_removes_once_the_new_replicas_are_in_sync_kip_455() {
    let mut fleet = Fleet::with_topic("1");
    fleet.start(3);
    let to = |target: Option<&[i32]>, may_resize| {
        Asked::AlterReassignments(proto::AlterReassignments {
            partitions: vec![proto::Reassignment {
                topic: "t".to_owned(),
                partition: 0,
                target: target.map(replicas),
            }],
            allow_replication_factor_change: may_resize,
        })
    };
    assert_eq!(
        fleet.show(to(None, true)),
        ["t NoReassignmentInProgress: the replicas of the partition are not being reassigned"]
    );
    assert_eq!(
        fleet.show(to(Some(&[3, 1, 2]), false)),
        [
            "t-0: 3 1 2 0 adding 3 removing 0 isr 0 1 2 leader 0 epochs 0/1",
            "t done"
        ]
    );
    assert_eq!(
        fleet.show(to(Some(&[3, 1, 2]), false)),
        ["t done"],
        "asked again: nothing new"
    );
    assert_eq!(
        fleet.show(to(Some(&[3, 1]), false)),
        ["t InvalidReplicationFactor: the partition has 3 replicas, and the request may not make that 2"]
    );
    assert_eq!(
        fleet.alter_isr(&[0, 1, 2, 3]),
        [
            "t-0: 3 1 2 isr 1 2 3 leader 3 epochs 1/2",
            "t NewLeaderElected: the reassignment is complete, and another replica leads"
        ]
    );
    assert_eq!(
        fleet.show(to(Some(&[1, 2]), true)),
        ["t-0: 1 2 isr 1 2 leader 1 epochs 2/3", "t done"],
        "nothing to copy: at once"
    );
    assert_eq!(
        fleet.show(to(Some(&[2, 1]), true)),
        ["t-0: 2 1 isr 1 2 leader 1 epochs 2/4", "t done"],
        "another order"
    );
    for (target, why) in [
        (&[][..], "a partition needs at least one replica"),
        (&[1, 1], "broker 1 is named twice for one partition"),
        (&[1, 9], "broker 9 is not registered"),
    ] {
        assert_eq!(
            fleet.show(to(Some(target), true)),
            [format!("t InvalidReplicaAssignment: {why}")]
        );
    }
}

#[test]
fn a_cancelled_reassignment_goes_back_kip_455() {
    let mut fleet = Fleet::with_topic("1");
    fleet.start(3);
    let to = |target: Option<&[i32]>| {
        Asked::AlterReassignments(proto::AlterReassignments {
            partitions: vec![proto::Reassignment {
                topic: "t".to_owned(),
                partition: 0,
                target: target.map(replicas),
            }],
            allow_replication_factor_change: true,
        })
    };
    fleet.ask(to(Some(&[0, 3])));
    assert_eq!(
        fleet.state("t", 0),
        "0 3 1 2 adding 3 removing 1 2 isr 0 1 2 leader 0 epochs 0/1"
    );
    assert_eq!(
        fleet.show(to(None)),
        ["t-0: 0 1 2 isr 0 1 2 leader 0 epochs 1/2", "t done"]
    );
}

#[test]
fn a_changed_reassignment_still_waits_for_replicas_that_were_being_added() {
    let mut fleet = Fleet::with_topic("1");
    fleet.start(3);
    fleet.start(4);
    let mut to = |target: &[i32]| {
        fleet.show(Asked::AlterReassignments(proto::AlterReassignments {
            partitions: vec![proto::Reassignment {
                topic: "t".to_owned(),
                partition: 0,
                target: Some(replicas(target)),
            }],
            allow_replication_factor_change: true,
        }))
    };
    to(&[3, 4]);
    assert_eq!(
        to(&[3, 1]),
        [
            "t-0: 3 1 4 0 2 adding 3 removing 4 0 2 isr 0 1 2 leader 0 epochs 0/2",
            "t done"
        ]
    );
}

#[test]
fn leader_hands_over_to_a_replica_in_sync_and_to_no_other() {
    let mut fleet = Fleet::with_topic("1");
    let good = fleet.isr_request(&[0, 1]);
    let topic_id = good.partitions[0].topic_id.clone();
    let hand_over = proto::HandOver {
        broker_id: 0,
        broker_epoch: good.broker_epoch,
        topic_id,
        partition: 0,
        leader_epoch: 0,
        to: 2,
    };
    fleet.alter_isr(&[0, 2]);
    let mut with = |change: &dyn Fn(&mut proto::HandOver)| {
        let mut request = hand_over.clone();
        change(&mut request);
        let decision = fleet.ask(Asked::HandOver(request));
        assert!(decision.records.is_empty(), "{decision:?}");
        decision.response.message
    };
    for to in [0, 1, 7] {
        assert_eq!(
            with(&|ask| ask.to = to),
            format!("broker {to} is not another replica that is alive and in sync")
        );
    }
    assert_eq!(with(&|ask| ask.leader_epoch = 1), "the leader epoch is 0");
    assert_eq!(with(&|ask| ask.topic_id = vec![9; 16]), "no topic has this id");
    assert!(with(&|ask| ask.broker_epoch += 1).contains("says the epoch"));
    assert_eq!(
        fleet.show(Asked::HandOver(hand_over.clone())),
        ["t-0: 0 1 2 isr 0 2 leader 2 epochs 1/2"]
    );
    assert_eq!(
        fleet.ask(Asked::HandOver(hand_over)).response.message,
        "the leader epoch is 1"
    );
}
