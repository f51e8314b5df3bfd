use super::*;

#[test]
fn the_first_broker_registers_fenced_and_sets_the_minimum_for_all() {
    let mut fleet = Fleet::empty("2");
    let decision = fleet.register(0, 1, 10, false);
    assert_eq!(decision.response.broker_epoch, 101);
    assert_eq!(
        fleet.shown(&decision),
        [
            "feature flotilla.version 1",
            "config Broker `` min.insync.replicas=2",
            "broker 0 fenced"
        ]
    );
    let decision = fleet.register(1, 1, 11, false);
    assert_eq!(fleet.shown(&decision), ["broker 1 fenced"]);
}

#[test]
fn the_first_broker_draws_what_only_brokers_know() {
    let mut fleet = Fleet::empty("1");
    fleet.image = Image::default();
    let drawn = Fact::Secret(proto::Secret {
        bytes: [[1; 16], [2; 16]].concat(),
    });
    let decision = fleet.register(0, 1, 10, false);
    assert!(decision.records.contains(&Record { record: Some(drawn) }));
    assert_eq!(fleet.image.secret(), [[1; 16], [2; 16]].concat());
    let decision = fleet.register(1, 1, 11, false);
    assert_eq!(fleet.shown(&decision), ["broker 1 fenced"]);
}

#[test]
fn a_broker_is_unfenced_once_it_has_caught_up_with_its_registration() {
    let mut fleet = Fleet::empty("1");
    let epoch = fleet.register(0, 1, 10, false).response.broker_epoch;
    let behind = proto::BrokerHeartbeat {
        applied_index: epoch as u64 - 1,
        ..fleet.heartbeat(0)
    };
    fleet.index += 10;
    assert_eq!(fleet.show(Asked::BrokerHeartbeat(behind)), ["heartbeat: fenced"]);
    assert_eq!(fleet.beat(0), ["broker 0 alive", "heartbeat: caught up"]);
    assert_eq!(fleet.beat(0), ["heartbeat: caught up"]);
}

#[test]
fn a_full_volume_is_noted_once_and_until_there_is_room_or_another_process() {
    let mut fleet = Fleet::of(1, "1");
    let is_full = |fleet: &Fleet| fleet.image.broker(BrokerId(0)).unwrap().storage_full;
    let full = proto::BrokerHeartbeat {
        storage_full: true,
        ..fleet.heartbeat(0)
    };
    let ask = |fleet: &mut Fleet| fleet.show(Asked::BrokerHeartbeat(full));
    assert_eq!(ask(&mut fleet), ["broker 0 alive", "heartbeat: caught up"]);
    assert!(is_full(&fleet));
    assert_eq!(ask(&mut fleet), ["heartbeat: caught up"]);
    // It goes on saying so while it registers again, and a new process says it anew.
    let known = fleet.image.broker(BrokerId(0)).unwrap().clone();
    fleet.register(0, known.incarnation.0[0], known.directory_id.0[0], true);
    assert!(is_full(&fleet));
    assert_eq!(fleet.beat(0), ["broker 0 alive", "heartbeat: caught up"]);
    assert!(!is_full(&fleet));
    assert_eq!(ask(&mut fleet), ["broker 0 alive", "heartbeat: caught up"]);
    fleet.start(0);
    assert!(!is_full(&fleet));
}

#[test]
fn a_repeated_registration_of_one_process_keeps_its_epoch_and_writes_nothing() {
    let mut fleet = Fleet::of(1, "1");
    let decision = fleet.register(0, 1, 10, false);
    assert_eq!(decision.records, []);
    assert_eq!(
        decision.response,
        Response {
            broker_epoch: 101,
            ..Response::default()
        }
    );
}

#[test]
fn a_new_incarnation_fences_the_old_one_and_raises_leader_epochs() {
    let mut fleet = Fleet::with_topic("1");
    let decision = fleet.register(0, 2, 10, false);
    assert_eq!(
        fleet.shown(&decision),
        ["broker 0 fenced", "t-0: 0 1 2 isr 1 2 leader 1 epochs 1/1"]
    );
    assert_eq!(
        decision.response.broker_epoch,
        i64::try_from(fleet.index).unwrap()
    );
    assert_eq!(fleet.beat(0), ["broker 0 alive", "heartbeat: caught up"]);
}

#[test]
fn a_new_incarnation_raises_the_leader_epoch_also_where_it_is_the_only_replica() {
    let mut fleet = Fleet::of(1, "1");
    fleet.create("t", &[&[0]]);
    let decision = fleet.register(0, 2, 10, false);
    assert_eq!(
        fleet.shown(&decision),
        ["broker 0 fenced", "t-0: 0 elr 0 last 0 leader - epochs 1/1"]
    );
    assert_eq!(
        fleet.beat(0),
        [
            "broker 0 alive",
            "t-0: 0 isr 0 leader 0 epochs 2/2",
            "heartbeat: caught up"
        ]
    );
}

#[test]
fn another_process_with_another_directory_waits_until_the_session_is_over() {
    let mut fleet = Fleet::with_topic("1");
    let decision = fleet.register(0, 2, 99, false);
    assert_eq!(
        fleet.shown(&decision),
        [
            "DuplicateBroker: broker 0 is alive with another data directory; stop it, or wait until its session is over"
        ]
    );
    fleet.fence(&[0]);
    assert_eq!(fleet.register(0, 2, 99, false).response.refusal(), Refusal::None);
}

#[test]
fn an_emptied_disk_is_neither_in_sync_nor_eligible_even_where_it_was_the_last_replica() {
    let mut fleet = Fleet::of(1, "1");
    fleet.create("t", &[&[0]]);
    fleet.fence(&[0]);
    assert_eq!(fleet.state("t", 0), "0 elr 0 last 0 leader - epochs 1/1");
    let decision = fleet.register(0, 2, 99, true);
    assert_eq!(
        fleet.shown(&decision),
        ["broker 0 fenced", "t-0: 0 leader - epochs 1/2"]
    );
    assert_eq!(fleet.beat(0), ["broker 0 alive", "heartbeat: caught up"]);
}

#[test]
fn a_crash_loses_nothing_committed_where_records_are_synced_kip_966() {
    let mut fleet = Fleet::with_topic("2");
    fleet.fence(&[1, 2]);
    assert_eq!(fleet.state("t", 0), "0 1 2 isr 0 elr 2 leader 0 epochs 0/2");
    let decision = fleet.register(2, 2, 12, false);
    assert_eq!(fleet.shown(&decision), ["broker 2 fenced"]);
}

#[test]
fn a_crash_ends_eligibility_where_records_are_not_synced_kip_966() {
    let mut fleet = Fleet::with_topic("2");
    fleet.set(proto::ResourceType::Topic, "t", "flush.policy", Some("os"));
    fleet.fence(&[1, 2]);
    let clean = fleet.register(2, 2, 12, true);
    assert_eq!(fleet.shown(&clean), ["broker 2 fenced"]);
    let crashed = fleet.register(2, 3, 12, false);
    assert_eq!(
        fleet.shown(&crashed),
        ["broker 2 fenced", "t-0: 0 1 2 isr 0 leader 0 epochs 0/3"]
    );
}

#[test]
fn after_all_crashed_unsynced_the_last_known_leader_leads_kip_966() {
    let mut fleet = Fleet::with_topic("2");
    fleet.set(proto::ResourceType::Topic, "t", "flush.policy", Some("os"));
    fleet.fence(&[0, 1, 2]);
    assert_eq!(fleet.state("t", 0), "0 1 2 elr 1 2 last 2 leader - epochs 3/3");
    for id in [1, 2] {
        fleet.register(id, 2, 10 + id as u8, false);
    }
    assert_eq!(fleet.state("t", 0), "0 1 2 last 2 leader - epochs 3/5");
    assert_eq!(fleet.beat(1), ["broker 1 alive", "heartbeat: caught up"]);
    assert_eq!(
        fleet.beat(2),
        [
            "broker 2 alive",
            "t-0: 0 1 2 isr 2 leader 2 epochs 4/6",
            "heartbeat: caught up"
        ]
    );
}

#[test]
fn a_fenced_broker_leaves_isr_and_leadership_kip_841() {
    let mut fleet = Fleet::with_topic("1");
    assert_eq!(
        fleet.fence(&[0]),
        ["broker 0 fenced", "t-0: 0 1 2 isr 1 2 leader 1 epochs 1/1"]
    );
    assert_eq!(fleet.fence(&[0]), [""; 0]);
    assert_eq!(
        fleet.fence(&[2]),
        ["broker 2 fenced", "t-0: 0 1 2 isr 1 leader 1 epochs 1/2"]
    );
}

#[test]
fn who_leaves_an_isr_below_its_minimum_stays_eligible_and_may_lead_kip_966() {
    let mut fleet = Fleet::with_topic("2");
    assert_eq!(
        fleet.fence(&[0]),
        ["broker 0 fenced", "t-0: 0 1 2 isr 1 2 leader 1 epochs 1/1"]
    );
    assert_eq!(
        fleet.fence(&[1]),
        ["broker 1 fenced", "t-0: 0 1 2 isr 2 elr 1 leader 2 epochs 2/2"]
    );
    assert_eq!(
        fleet.fence(&[2]),
        ["broker 2 fenced", "t-0: 0 1 2 elr 1 2 last 2 leader - epochs 3/3"]
    );
    assert_eq!(fleet.beat(0), ["broker 0 alive", "heartbeat: caught up"]);
    assert_eq!(
        fleet.beat(1),
        [
            "broker 1 alive",
            "t-0: 0 1 2 isr 1 elr 2 last 2 leader 1 epochs 4/4",
            "heartbeat: caught up"
        ]
    );
    assert_eq!(
        fleet.alter_isr(&[1, 0]),
        ["t-0: 0 1 2 isr 1 0 leader 1 epochs 4/5", "t done"]
    );
}

#[test]
fn unclean_election_is_taken_only_where_it_is_allowed() {
    let mut fleet = Fleet::with_topic("1");
    fleet.fence(&[1, 2]);
    fleet.beat(1);
    assert_eq!(
        fleet.fence(&[0]),
        ["broker 0 fenced", "t-0: 0 1 2 elr 0 last 0 leader - epochs 1/3"]
    );
    assert_eq!(
        fleet.set(
            proto::ResourceType::Topic,
            "t",
            "unclean.leader.election.enable",
            Some("true")
        ),
        [
            "config Topic `t` unclean.leader.election.enable=true",
            "t-0: 0 1 2 isr 1 leader 1 epochs 2/4",
            "t done"
        ]
    );
}

#[test]
fn controlled_shutdown_hands_everything_over_before_the_broker_goes() {
    let mut fleet = Fleet::with_topic("1");
    let stop = |fleet: &Fleet| proto::BrokerHeartbeat {
        want_shut_down: true,
        ..fleet.heartbeat(0)
    };
    let first = stop(&fleet);
    assert_eq!(
        fleet.show(Asked::BrokerHeartbeat(first)),
        [
            "broker 0 stopping",
            "t-0: 0 1 2 isr 1 2 leader 1 epochs 1/1",
            "heartbeat: caught up"
        ]
    );
    let second = stop(&fleet);
    assert_eq!(
        fleet.show(Asked::BrokerHeartbeat(second)),
        ["broker 0 fenced", "heartbeat: caught up, fenced, go"]
    );
    let third = stop(&fleet);
    assert_eq!(
        fleet.show(Asked::BrokerHeartbeat(third)),
        ["heartbeat: caught up, fenced, go"]
    );
}

#[test]
fn a_heartbeat_with_another_epoch_or_of_a_stranger_is_refused() {
    let mut fleet = Fleet::of(1, "1");
    let stale = proto::BrokerHeartbeat {
        broker_epoch: 7,
        ..fleet.heartbeat(0)
    };
    assert_eq!(
        fleet.show(Asked::BrokerHeartbeat(stale)),
        ["StaleBrokerEpoch: broker 0 says the epoch 7, but has registered with 101"]
    );
    let stranger = fleet.heartbeat(5);
    assert_eq!(
        fleet.show(Asked::BrokerHeartbeat(stranger)),
        ["BrokerNotRegistered: broker 5 is not registered"]
    );
}

#[test]
fn a_broker_that_wants_to_be_fenced_is_fenced() {
    let mut fleet = Fleet::of(1, "1");
    let wants = proto::BrokerHeartbeat {
        want_fence: true,
        ..fleet.heartbeat(0)
    };
    assert_eq!(
        fleet.show(Asked::BrokerHeartbeat(wants)),
        ["broker 0 fenced", "heartbeat: caught up, fenced"]
    );
}

#[test]
fn a_broker_too_old_for_the_finalized_version_is_refused() {
    let mut fleet = Fleet::of(1, "1");
    let mut old = registration(1, 1, 11, false);
    old.broker.as_mut().unwrap().flotilla_version_max = 0;
    assert_eq!(
        fleet.show(Asked::RegisterBroker(old)),
        [
            "UnsupportedVersion: broker 1 (0.1.0) supports flotilla.version up to 0, but 1 is finalized; run a newer version"
        ]
    );
}

#[test]
fn a_broker_is_forgotten_only_when_it_is_empty() {
    let mut fleet = Fleet::with_topic("1");
    fleet.start(3);
    let forget = |id| Asked::UnregisterBroker(proto::UnregisterBroker { broker_id: id });
    assert_eq!(
        fleet.show(forget(2)),
        ["NotEmpty: broker 2 still holds 1 replicas, such as of t-0; drain it before it is forgotten"]
    );
    assert_eq!(fleet.show(forget(3)), ["remove broker 3"]);
    assert_eq!(
        fleet.show(forget(3)),
        ["BrokerNotRegistered: broker 3 is not registered"]
    );
}

#[test]
fn producer_ids_come_in_blocks_that_never_repeat() {
    let mut fleet = Fleet::of(1, "1");
    for first in [0, 1_000] {
        let epoch = fleet.heartbeat(0).broker_epoch;
        let asked = proto::AllocateProducerIds {
            broker_id: 0,
            broker_epoch: epoch,
        };
        let response = fleet.ask(Asked::AllocateProducerIds(asked)).response;
        let expected = Response {
            first_producer_id: first,
            producer_id_count: 1_000,
            changed: true,
            ..Response::default()
        };
        assert_eq!(response, expected);
    }
}

#[test]
fn a_feature_is_finalized_only_where_all_support_it_and_never_taken_back() {
    let mut fleet = Fleet::of(1, "1");
    let mut finalize = |name: &str, level| {
        fleet.show(Asked::FinalizeFeature(proto::FeatureLevel {
            name: name.to_owned(),
            level,
        }))
    };
    assert_eq!(finalize("flotilla.version", 1), [""; 0]);
    assert_eq!(
        finalize("flotilla.version", 2),
        ["UnsupportedVersion: this controller supports flotilla.version up to 1"]
    );
    assert_eq!(
        finalize("flotilla.version", 0),
        ["UnsupportedVersion: flotilla.version is finalized at 1 and cannot go down to 0"]
    );
    assert_eq!(
        finalize("x", 1),
        ["InvalidRequest: there is no feature `x`; there is `flotilla.version`"]
    );
}

#[test]
fn levels_of_features_go_where_their_updates_may_lead() {
    let mut fleet = Fleet::of(1, "1");
    let mut update = |updates: &[(&str, i32, i32)]| {
        let updates = updates.iter().map(|(name, level, way)| proto::FeatureUpdate {
            name: (*name).to_owned(),
            level: *level,
            upgrade_type: *way,
        });
        fleet.show(Asked::UpdateFeatures(proto::UpdateFeatures {
            updates: updates.collect(),
        }))
    };
    let refused = |name: &str, level: i32, why: &str| {
        [format!(
            "InvalidUpdateVersion: no feature was changed: {name} cannot be at level {level}: {why}"
        )]
    };
    let (flotilla, transaction) = ("flotilla.version", "transaction.version");
    for (name, level, way, why) in [
        (transaction, 3, 1, "brokers support 0 to 2"),
        (transaction, -1, 3, "brokers support 0 to 2"),
        (transaction, 1, 1, "it is at 2, and an upgrade does not go down"),
        (transaction, 1, 0, "there is no upgrade type 0"),
        (transaction, 1, 4, "there is no upgrade type 4"),
        (flotilla, 2, 1, "brokers support 1 to 1"),
        (flotilla, 0, 3, "it is at 1, and never goes down"),
        (
            "metadata.version",
            29,
            1,
            "brokers know no such feature, but flotilla.version, group.version, share.version, streams.version, transaction.version",
        ),
    ] {
        assert_eq!(update(&[(name, level, way)]), refused(name, level, why));
    }
    assert_eq!(update(&[(transaction, 2, 1), (flotilla, 1, 1)]), [""; 0]);
    assert_eq!(update(&[]), [""; 0]);
    for (level, way) in [(1, 2), (0, 3)] {
        assert_eq!(
            update(&[(transaction, level, way)]),
            [format!("feature {transaction} {level}")]
        );
    }
    let why = "it is at 0, and a downgrade does not go up";
    assert_eq!(update(&[(transaction, 1, 2)]), refused(transaction, 1, why));
    // All or none.
    let both = update(&[(transaction, 2, 1), (flotilla, 2, 1)]);
    assert_eq!(both, refused(flotilla, 2, "brokers support 1 to 1"));
    assert_eq!(
        update(&[(transaction, 2, 1)]),
        [format!("feature {transaction} 2")]
    );
}
