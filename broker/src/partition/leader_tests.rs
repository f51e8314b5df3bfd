use super::*;

const ME: (BrokerId, BrokerEpoch) = (BrokerId(1), BrokerEpoch(101));
const B: BrokerId = BrokerId(2);
const C: BrokerId = BrokerId(3);
const EPOCH: LeaderEpoch = LeaderEpoch(4);
const LAG: i64 = 30_000;

fn registered(broker: BrokerId) -> BrokerEpoch {
    BrokerEpoch(i64::from(broker.0) + 100)
}

fn members(brokers: &[BrokerId]) -> Vec<(BrokerId, BrokerEpoch)> {
    brokers
        .iter()
        .map(|broker| (*broker, registered(*broker)))
        .collect()
}

fn assignment(isr: &[BrokerId]) -> Assignment {
    Assignment {
        leader_epoch: EPOCH,
        partition_epoch: 7,
        replicas: vec![ME.0, B, C],
        isr: isr.to_vec(),
        standing: members(&[ME.0, B, C]).into_iter().collect(),
    }
}

fn settings(min_insync_replicas: usize) -> Settings {
    Settings {
        min_insync_replicas,
        lag_time_max_ms: LAG,
    }
}

fn local() -> Local {
    Local {
        log_start: Offset(0),
        log_end: Offset(10),
        synced_end: Offset(10),
        high_watermark: Offset(10),
    }
}

fn leader(isr: &[BrokerId], min: usize) -> Leader {
    let (leader, effects) = Leader::new(ME, &assignment(isr), settings(min), local(), 0);
    assert_eq!(effects, []);
    leader
}

fn fetch(broker: BrokerId, offset: i64) -> Fetched {
    Fetched {
        offset: Offset(offset),
        log_start: Offset(0),
        broker_epoch: registered(broker),
        is_full: false,
    }
}

fn fetched(leader: &mut Leader, broker: BrokerId, offset: i64, now_ms: i64) -> Vec<Effect> {
    leader.fetched(broker, &fetch(broker, offset), now_ms).unwrap()
}

fn proposal(isr: &[BrokerId]) -> Proposal {
    Proposal {
        leader_epoch: EPOCH,
        partition_epoch: 7,
        isr: members(isr),
    }
}

fn accepted(isr: &[BrokerId]) -> Answer {
    Answer::Accepted {
        partition_epoch: 8,
        isr: isr.to_vec(),
    }
}

/// Ten records more, synced here.
fn grow_to(leader: &mut Leader, end: i64) -> Vec<Effect> {
    leader.appended(Offset(end));
    leader.synced(Offset(end), 0)
}

#[test]
fn high_watermark_is_the_smallest_synced_end_over_the_isr() {
    let mut leader = leader(&[ME.0, B], 1);
    leader.appended(Offset(20));
    assert_eq!(fetched(&mut leader, B, 20, 0), []);
    assert_eq!(leader.synced(Offset(15), 0), [Effect::HighWatermark(Offset(15))]);
    assert_eq!(leader.synced(Offset(20), 0), [Effect::HighWatermark(Offset(20))]);
    assert_eq!(grow_to(&mut leader, 30), []);
    assert_eq!(
        fetched(&mut leader, B, 25, 0),
        [Effect::HighWatermark(Offset(25))]
    );
}

#[test]
fn appended_records_that_are_not_synced_are_not_committed() {
    let mut leader = leader(&[ME.0], 1);
    leader.appended(Offset(20));
    assert_eq!(leader.high_watermark(), Offset(10));
    assert_eq!(leader.synced(Offset(25), 0), [Effect::HighWatermark(Offset(20))]);
}

#[test]
fn unheard_member_of_the_isr_holds_the_high_watermark() {
    let mut leader = leader(&[ME.0, B, C], 1);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(fetched(&mut leader, B, 20, 0), []);
    assert_eq!(
        fetched(&mut leader, C, 12, 0),
        [Effect::HighWatermark(Offset(12))]
    );
}

#[test]
fn high_watermark_stands_still_below_min_isr() {
    let mut leader = leader(&[ME.0], 2);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(
        leader.may_append_for_all(),
        Err(NotEnoughReplicas {
            in_sync: 1,
            needed: 2
        })
    );
    assert_eq!(
        fetched(&mut leader, B, 20, 0),
        [Effect::Propose(proposal(&[ME.0, B]))]
    );
    assert_eq!(
        leader.answered(&proposal(&[ME.0, B]), accepted(&[ME.0, B]), 0),
        [
            Effect::InSyncChanged { joined: 1, left: 0 },
            Effect::HighWatermark(Offset(20)),
        ]
    );
    assert_eq!(leader.may_append_for_all(), Ok(()));
}

#[test]
fn min_isr_is_no_more_than_the_replication_factor() {
    let alone = Assignment {
        replicas: vec![ME.0],
        ..assignment(&[ME.0])
    };
    let (mut leader, _) = Leader::new(ME, &alone, settings(2), local(), 0);
    assert_eq!(leader.may_append_for_all(), Ok(()));
    assert_eq!(grow_to(&mut leader, 20), [Effect::HighWatermark(Offset(20))]);
}

#[test]
fn follower_joins_once_it_has_all_that_is_committed() {
    let mut leader = leader(&[ME.0], 1);
    assert_eq!(fetched(&mut leader, B, 9, 0), []);
    assert_eq!(
        fetched(&mut leader, B, 10, 0),
        [Effect::Propose(proposal(&[ME.0, B]))]
    );
    // It counts while the controller is asked, and only one change is asked for at a time.
    assert_eq!(fetched(&mut leader, C, 10, 0), []);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(fetched(&mut leader, C, 20, 0), []);
    assert_eq!(
        fetched(&mut leader, B, 20, 0),
        [Effect::HighWatermark(Offset(20))]
    );
}

#[test]
fn follower_must_reach_the_start_of_the_epoch_before_it_joins() {
    let behind = Local {
        high_watermark: Offset(3),
        ..local()
    };
    let (mut leader, effects) = Leader::new(ME, &assignment(&[ME.0, C]), settings(1), behind, 0);
    assert_eq!(effects, []);
    assert_eq!(leader.epoch_start(), Offset(10));
    assert_eq!(fetched(&mut leader, B, 9, 0), []);
    assert_eq!(
        fetched(&mut leader, B, 10, 0),
        [Effect::Propose(proposal(&[ME.0, B, C]))]
    );
}

#[test]
fn fenced_broker_is_not_added_to_isr() {
    let mut leader = leader(&[ME.0], 1);
    let mut fenced = assignment(&[ME.0]);
    fenced.standing.remove(&B);
    assert_eq!(leader.update(&fenced, 0), []);
    assert_eq!(fetched(&mut leader, B, 10, 0), []);
    assert_eq!(leader.update(&assignment(&[ME.0]), 0), []);
    assert_eq!(
        fetched(&mut leader, B, 10, 0),
        [Effect::Propose(proposal(&[ME.0, B]))]
    );
}

#[test]
fn fetch_under_another_registration_does_not_join_and_an_older_one_is_refused() {
    let mut leader = leader(&[ME.0], 1);
    let newer = Fetched {
        broker_epoch: BrokerEpoch(500),
        ..fetch(B, 10)
    };
    assert_eq!(leader.fetched(B, &newer, 0), Ok(vec![]));
    let older = Fetched {
        broker_epoch: BrokerEpoch(1),
        ..fetch(B, 10)
    };
    assert_eq!(
        leader.fetched(B, &older, 0),
        Err(NotCounted::StaleBrokerEpoch {
            broker: B,
            sent: BrokerEpoch(1),
            registered: registered(B),
        })
    );
}

fn full(broker: BrokerId, offset: i64) -> Fetched {
    Fetched {
        is_full: true,
        ..fetch(broker, offset)
    }
}

#[test]
fn full_follower_leaves_with_the_first_record_that_it_lacks_and_holds_nothing_up() {
    let mut leader = leader(&[ME.0, B, C], 2);
    assert_eq!(leader.fetched(B, &full(B, 10), 0), Ok(vec![]));
    assert_eq!(leader.let_full_go(0), [], "it lacks nothing");
    assert_eq!(grow_to(&mut leader, 20), []);
    let without_b = proposal(&[ME.0, C]);
    assert_eq!(leader.let_full_go(0), [Effect::Propose(without_b.clone())]);
    assert_eq!(leader.let_full_go(0), [], "one proposal at a time");
    assert_eq!(fetched(&mut leader, C, 20, 0), [], "the set has not changed yet");
    assert_eq!(
        leader.answered(&without_b, accepted(&[ME.0, C]), 0),
        [
            Effect::InSyncChanged { joined: 0, left: 1 },
            Effect::HighWatermark(Offset(20)),
        ]
    );
    assert_eq!(leader.fetched(B, &full(B, 10), 0), Ok(vec![]));
}

#[test]
fn full_follower_that_fetches_behind_the_end_leaves_and_returns_once_it_has_room() {
    let mut leader = leader(&[ME.0, B, C], 2);
    assert_eq!(grow_to(&mut leader, 20), []);
    let without_b = proposal(&[ME.0, C]);
    assert_eq!(
        leader.fetched(B, &full(B, 10), 0),
        Ok(vec![Effect::Propose(without_b.clone())])
    );
    leader.answered(&without_b, accepted(&[ME.0, C]), 0);
    // As far as the mark it has everything, but it will not have what comes.
    assert_eq!(leader.fetched(B, &full(B, 10), 0), Ok(vec![]));
    assert_eq!(
        fetched(&mut leader, C, 20, 0),
        [Effect::HighWatermark(Offset(20))]
    );
    let with_b = Proposal {
        partition_epoch: 8,
        ..proposal(&[ME.0, B, C])
    };
    assert_eq!(fetched(&mut leader, B, 20, 0), [Effect::Propose(with_b)]);
}

#[test]
fn stranger_is_not_counted() {
    let mut leader = leader(&[ME.0], 1);
    let stranger = BrokerId(9);
    assert_eq!(
        leader.fetched(stranger, &fetch(stranger, 10), 0),
        Err(NotCounted::NotAReplica(stranger))
    );
}

#[test]
fn lagging_follower_leaves_after_the_lag_time() {
    let mut leader = leader(&[ME.0, B, C], 2);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(fetched(&mut leader, B, 20, 10), []);
    assert_eq!(leader.tick(LAG), []);
    assert_eq!(leader.tick(LAG + 1), [Effect::Propose(proposal(&[ME.0, B]))]);
    assert_eq!(leader.tick(LAG + 2), []);
    assert_eq!(
        leader.answered(&proposal(&[ME.0, B]), accepted(&[ME.0, B]), LAG + 3),
        [
            Effect::InSyncChanged { joined: 0, left: 1 },
            Effect::HighWatermark(Offset(20)),
        ]
    );
}

#[test]
fn idle_partition_keeps_its_silent_followers_at_the_end() {
    let mut leader = leader(&[ME.0, B, C], 1);
    fetched(&mut leader, B, 10, 10);
    fetched(&mut leader, C, 10, 10);
    assert_eq!(leader.tick(100 * LAG), []);
}

#[test]
fn fenced_member_leaves_at_once() {
    let mut leader = leader(&[ME.0, B, C], 1);
    let mut fenced = assignment(&[ME.0, B, C]);
    fenced.standing.remove(&C);
    assert_eq!(leader.update(&fenced, 1), [Effect::Propose(proposal(&[ME.0, B]))]);
}

#[test]
fn rejected_change_is_tried_again_on_the_next_occasion() {
    let mut leader = leader(&[ME.0], 1);
    fetched(&mut leader, B, 10, 0);
    assert_eq!(leader.answered(&proposal(&[ME.0, B]), Answer::Rejected, 0), []);
    assert_eq!(
        fetched(&mut leader, B, 10, 0),
        [Effect::Propose(proposal(&[ME.0, B]))]
    );
}

#[test]
fn unanswered_change_is_proposed_again() {
    let mut leader = leader(&[ME.0], 1);
    fetched(&mut leader, B, 10, 0);
    assert_eq!(
        leader.answered(&proposal(&[ME.0, B]), Answer::Unanswered, 0),
        [Effect::Propose(proposal(&[ME.0, B]))]
    );
}

#[test]
fn metadata_that_overtakes_a_proposal_ends_it() {
    let mut leader = leader(&[ME.0, B, C], 1);
    assert_eq!(leader.tick(LAG + 1), [Effect::Propose(proposal(&[ME.0]))]);
    assert_eq!(
        leader.answered(&proposal(&[ME.0]), Answer::Superseded, LAG + 1),
        []
    );
    let newer = Assignment {
        partition_epoch: 9,
        ..assignment(&[ME.0, B])
    };
    let again = Proposal {
        partition_epoch: 9,
        ..proposal(&[ME.0])
    };
    assert_eq!(
        leader.update(&newer, LAG + 2),
        [
            Effect::InSyncChanged { joined: 0, left: 1 },
            Effect::Propose(again),
        ]
    );
}

#[test]
fn producer_is_answered_when_the_high_watermark_passes() {
    let mut leader = leader(&[ME.0, B], 2);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(leader.wait_committed(WaiterId(1), Offset(15)), []);
    assert_eq!(leader.wait_committed(WaiterId(2), Offset(20)), []);
    assert_eq!(
        leader.wait_committed(WaiterId(3), Offset(10)),
        [Effect::Answer(WaiterId(3), Outcome::Done)]
    );
    assert_eq!(
        fetched(&mut leader, B, 15, 0),
        [
            Effect::HighWatermark(Offset(15)),
            Effect::Answer(WaiterId(1), Outcome::Done),
        ]
    );
    leader.forget(WaiterId(2), Offset(20));
    assert_eq!(
        fetched(&mut leader, B, 20, 0),
        [Effect::HighWatermark(Offset(20))]
    );
}

#[test]
fn isr_that_shrank_below_the_minimum_leaves_producers_waiting() {
    let mut leader = leader(&[ME.0, B], 2);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(leader.wait_committed(WaiterId(1), Offset(20)), []);
    leader.tick(LAG + 1);
    assert_eq!(
        leader.answered(&proposal(&[ME.0]), accepted(&[ME.0]), LAG + 1),
        [Effect::InSyncChanged { joined: 0, left: 1 }]
    );
    assert_eq!(leader.high_watermark(), Offset(10));
    // What is committed already, but by fewer than are asked for now.
    assert_eq!(
        leader.wait_committed(WaiterId(2), Offset(10)),
        [Effect::Answer(WaiterId(2), Outcome::NotEnoughReplicasAfterAppend)]
    );
}

#[test]
fn lowered_minimum_lets_the_high_watermark_go_on() {
    let mut leader = leader(&[ME.0], 2);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(
        leader.configure(ME, settings(1), 0),
        [Effect::HighWatermark(Offset(20))]
    );
}

#[test]
fn waiters_of_a_lost_leadership_are_told() {
    let mut leader = leader(&[ME.0, B], 1);
    grow_to(&mut leader, 20);
    leader.wait_committed(WaiterId(1), Offset(20));
    leader.wait_deleted(WaiterId(2), Offset(20));
    assert_eq!(
        leader.resign(),
        [
            Effect::Answer(WaiterId(1), Outcome::NotLeader),
            Effect::Answer(WaiterId(2), Outcome::NotLeader),
        ]
    );
}

#[test]
fn deletion_is_done_when_all_live_replicas_have_followed() {
    let mut leader = leader(&[ME.0, B], 1);
    fetched(&mut leader, B, 10, 0);
    assert_eq!(leader.log_start_moved(Offset(5)), []);
    assert_eq!(leader.wait_deleted(WaiterId(1), Offset(5)), []);
    let behind = Fetched {
        log_start: Offset(5),
        ..fetch(B, 10)
    };
    assert_eq!(leader.fetched(B, &behind, 0), Ok(vec![]));
    assert_eq!(leader.low_watermark(), Offset(0));
    let mut without_c = assignment(&[ME.0, B]);
    without_c.standing.remove(&C);
    assert_eq!(
        leader.update(&without_c, 0),
        [Effect::Answer(WaiterId(1), Outcome::Done)]
    );
    assert_eq!(leader.low_watermark(), Offset(5));
}

#[test]
fn replica_that_is_removed_no_longer_counts_and_a_new_one_starts_unheard() {
    let mut leader = leader(&[ME.0, B, C], 1);
    assert_eq!(grow_to(&mut leader, 20), []);
    assert_eq!(fetched(&mut leader, B, 20, 0), []);
    let newer = Assignment {
        partition_epoch: 8,
        replicas: vec![ME.0, B, BrokerId(4)],
        ..assignment(&[ME.0, B])
    };
    assert_eq!(
        leader.update(&newer, 0),
        [
            Effect::InSyncChanged { joined: 0, left: 1 },
            Effect::HighWatermark(Offset(20)),
        ]
    );
    assert_eq!(
        leader.followers().keys().copied().collect::<Vec<_>>(),
        [B, BrokerId(4)]
    );
    assert!(leader.is_under_replicated());
}
