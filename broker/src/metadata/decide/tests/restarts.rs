use super::*;
use crate::metadata::{Batch, Blocked, Plan, plan_restart};

fn prepare(brokers: &[i32], grant_ms: i64) -> Asked {
    Asked::PrepareRestart(proto::PrepareRestart {
        broker_ids: brokers.to_vec(),
        grant_ms,
        release: false,
    })
}

fn release(brokers: &[i32]) -> Asked {
    Asked::PrepareRestart(proto::PrepareRestart {
        broker_ids: brokers.to_vec(),
        grant_ms: 0,
        release: true,
    })
}

fn named(topic: &str) -> proto::TopicPartition {
    proto::TopicPartition {
        topic: topic.to_owned(),
        partition: 0,
    }
}

fn plan(fleet: &Fleet, brokers: &[i32], voters: &[i32]) -> Plan {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    plan_restart(&fleet.image, &ids(brokers), &ids(voters), fleet.now_ms, &|_| None)
}

#[test]
fn a_grant_is_given_once_leadership_has_been_handed_over() {
    let mut fleet = Fleet::with_topic("2");
    assert_eq!(
        fleet.show(prepare(&[0], 500)),
        ["t-0: 0 1 2 isr 0 1 2 leader 1 epochs 1/1", "grant 0 until 1500"]
    );
    assert_eq!(
        fleet.show(prepare(&[1], 500)),
        [
            "NotSafeNow: 1 partitions would fall below their minimum of in-sync replicas, such as t-0; \
          wait until the other brokers are back and in sync"
        ]
    );
    let back = Asked::ElectLeaders(proto::ElectLeaders {
        unclean: false,
        partitions: vec![],
        all_partitions: true,
    });
    assert_eq!(
        fleet.show(back.clone()),
        ["t PreferredLeaderNotAvailable: the preferred leader is not alive and in sync"],
        "leadership does not go back to a broker that is about to go"
    );
    assert_eq!(fleet.show(release(&[0, 1])), ["grant 0 until 0"]);
    assert_eq!(
        fleet.show(back),
        ["t-0: 0 1 2 isr 0 1 2 leader 0 epochs 2/2", "t done"]
    );
}

#[test]
fn an_expired_grant_counts_no_more() {
    let mut fleet = Fleet::with_topic("2");
    fleet.ask(prepare(&[0], 500));
    fleet.now_ms += 500;
    assert_eq!(
        fleet.show(prepare(&[1], 500)),
        ["t-0: 0 1 2 isr 0 1 2 leader 0 epochs 2/2", "grant 1 until 2000"]
    );
}

#[test]
fn a_grant_needs_a_known_broker_and_a_time() {
    let mut fleet = Fleet::of(1, "1");
    assert_eq!(
        fleet.show(prepare(&[9], 1)),
        ["BrokerNotRegistered: broker 9 is not registered"]
    );
    assert_eq!(
        fleet.show(prepare(&[0], 0)),
        ["InvalidRequest: a grant holds 1 to 86400000 ms, not 0"]
    );
    assert_eq!(
        fleet.ask(prepare(&[0], i64::MAX)).response.refusal(),
        Refusal::InvalidRequest
    );
}

#[test]
fn a_restart_must_leave_the_quorum_its_majority() {
    let mut fleet = Fleet::of(3, "1");
    fleet.voters = vec![BrokerId(0), BrokerId(1), BrokerId(2)];
    fleet.fence(&[2]);
    assert_eq!(
        fleet.show(prepare(&[0], 1)),
        ["NotSafeNow: the quorum would lose its majority; wait until the other brokers are back and in sync"]
    );
    assert_eq!(
        fleet.show(prepare(&[2], 1)),
        ["grant 2 until 1001"],
        "it is down already"
    );
    fleet.voters = vec![BrokerId(0)];
    assert_eq!(
        fleet.show(prepare(&[0], 1)),
        ["grant 0 until 1001"],
        "a quorum of one"
    );
}

#[test]
fn a_plan_restarts_as_many_together_as_keeps_every_partition_at_its_minimum() {
    let mut fleet = Fleet::of(4, "2");
    fleet.create("t", &[&[0, 1, 2]]);
    fleet.create("single", &[&[3]]);
    let batch = |brokers: &[i32], unavailable: Vec<proto::TopicPartition>| Batch {
        brokers: brokers.iter().copied().map(BrokerId).collect(),
        unavailable,
    };
    assert_eq!(
        plan(&fleet, &[0, 1, 2, 3, 0], &[]),
        Plan {
            batches: vec![
                batch(&[0, 3], vec![named("single")]),
                batch(&[1], vec![]),
                batch(&[2], vec![])
            ],
            blocked: vec![]
        }
    );
    fleet.fence(&[2]);
    let blocked = |id| {
        Blocked {
        broker: BrokerId(id),
        reason: "1 partitions would fall below their minimum of in-sync replicas: wait until their other replicas \
                 are in sync"
            .to_owned(),
        partitions: vec![named("t")],
    }
    };
    assert_eq!(
        plan(&fleet, &[0, 1, 2, 3], &[]),
        Plan {
            batches: vec![batch(&[2, 3], vec![named("single")])],
            blocked: vec![blocked(0), blocked(1)]
        }
    );
}

#[test]
fn a_plan_keeps_the_quorums_majority() {
    let fleet = Fleet::of(3, "1");
    let ids = |plan: Plan| {
        plan.batches
            .into_iter()
            .map(|batch| batch.brokers)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(plan(&fleet, &[0, 1, 2], &[0, 1, 2])),
        [[BrokerId(0)], [BrokerId(1)], [BrokerId(2)]]
    );
    assert_eq!(
        ids(plan(&fleet, &[0, 1, 2], &[0])),
        [[BrokerId(0), BrokerId(1), BrokerId(2)]]
    );
}

#[test]
fn a_drained_broker_gets_no_new_replicas() {
    let mut fleet = Fleet::of(2, "1");
    let drain = |draining| {
        Asked::SetDrain(proto::SetDrain {
            broker_id: 0,
            draining,
        })
    };
    let decision = fleet.ask(drain(true));
    assert_eq!(
        decision.records,
        [Record {
            record: Some(Fact::Drain(proto::Drain {
                broker_id: 0,
                draining: true
            }))
        }]
    );
    assert_eq!(fleet.show(drain(true)), [""; 0]);
    let topic = |factor| proto::CreateTopic {
        name: "t".to_owned(),
        partitions: 1,
        replication_factor: factor,
        ..Default::default()
    };
    let create = |factor| {
        Asked::CreateTopics(proto::CreateTopics {
            topics: vec![topic(factor)],
        })
    };
    assert_eq!(
        fleet.show(create(2)),
        [
            "t InvalidReplicationFactor: 2 replicas need 2 brokers, but only 1 of 2 can take replicas (1 being drained)"
        ]
    );
    fleet.ask(create(1));
    assert_eq!(fleet.state("t", 0), "1 isr 1 leader 1 epochs 0/0");
    let stranger = Asked::SetDrain(proto::SetDrain {
        broker_id: 9,
        draining: true,
    });
    assert_eq!(
        fleet.show(stranger),
        ["BrokerNotRegistered: broker 9 is not registered"]
    );
}

#[test]
fn a_placement_is_kept_once_also_for_a_broker_that_comes_later() {
    let mut fleet = Fleet::empty("1");
    let placement = proto::BrokerPlacement {
        broker_id: 0,
        rack: "b".to_owned(),
        endpoints: vec![],
    };
    let decision = fleet.ask(Asked::ApplyBroker(placement.clone()));
    assert_eq!(
        decision.records,
        [Record {
            record: Some(Fact::BrokerPlacement(placement.clone()))
        }]
    );
    assert_eq!(fleet.ask(Asked::ApplyBroker(placement)).records, []);
    fleet.start(0);
    assert_eq!(fleet.image.broker(BrokerId(0)).unwrap().rack(), Some("b"));
    let broken = proto::BrokerPlacement {
        broker_id: -1,
        ..Default::default()
    };
    assert_eq!(
        fleet.show(Asked::ApplyBroker(broken)),
        ["InvalidRequest: -1 is not a broker id"]
    );
}
