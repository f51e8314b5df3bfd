use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn broker(id: i32, rack: Option<&str>) -> Broker {
    Broker {
        id: BrokerId(id),
        rack: rack.map(str::to_owned),
        leaders: 0,
        replicas: 0,
        draining: false,
        fenced: false,
    }
}

fn fleet(racks: &[Option<&str>]) -> Fleet {
    Fleet {
        brokers: racks
            .iter()
            .enumerate()
            .map(|(id, rack)| broker(id as i32, *rack))
            .collect(),
        racks_required: false,
    }
}

fn rackless(brokers: usize) -> Fleet {
    fleet(&vec![None; brokers])
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn spread(placed: &[Vec<BrokerId>], fleet: &Fleet) -> (BTreeMap<BrokerId, u32>, BTreeMap<BrokerId, u32>) {
    let mut replicas: BTreeMap<BrokerId, u32> = fleet.brokers.iter().map(|b| (b.id, 0)).collect();
    let mut leaders = replicas.clone();
    for partition in placed {
        *leaders.get_mut(&partition[0]).expect("known") += 1;
        for id in partition {
            *replicas.get_mut(id).expect("known") += 1;
        }
    }
    (replicas, leaders)
}

fn unevenness(counts: &BTreeMap<BrokerId, u32>) -> u32 {
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0)
}

fn counted(fleet: &Fleet, placed: &[Placed]) -> Fleet {
    let mut fleet = fleet.clone();
    for broker in &mut fleet.brokers {
        broker.replicas = placed.iter().filter(|p| p.replicas.contains(&broker.id)).count() as u32;
        broker.leaders = placed.iter().filter(|p| p.replicas[0] == broker.id).count() as u32;
    }
    fleet
}

fn apply(placed: &mut [Placed], moves: &[Move]) {
    for step in moves {
        let at = placed
            .iter_mut()
            .find(|p| p.topic == step.topic && p.partition == step.partition)
            .expect("a move is of a partition that there is");
        at.replicas.clone_from(&step.replicas);
    }
}

#[test]
fn six_partitions_on_three_brokers_are_led_and_held_evenly() {
    let placed = place(
        &rackless(3),
        &Request {
            partitions: 6,
            replicas: 2,
        },
    )
    .expect("fits");
    assert_eq!(
        placed,
        [
            ids(&[0, 1]),
            ids(&[2, 0]),
            ids(&[1, 2]),
            ids(&[0, 1]),
            ids(&[2, 0]),
            ids(&[1, 2])
        ]
    );
}

#[test]
fn more_replicas_than_brokers_are_refused_with_the_reason() {
    let mut fleet = fleet(&[Some("a"), Some("b"), Some("b"), None]);
    fleet.racks_required = true;
    fleet.brokers[1].draining = true;
    let error = place(
        &fleet,
        &Request {
            partitions: 1,
            replicas: 3,
        },
    )
    .expect_err("two can take replicas");
    assert_eq!(
        error.to_string(),
        "3 replicas need 3 brokers, but only 2 of 4 can take replicas (1 being drained, 1 without a rack yet)"
    );
    let request = |partitions, replicas| Request { partitions, replicas };
    assert_eq!(place(&rackless(3), &request(0, 1)), Err(Error::NoPartitions));
    assert_eq!(place(&rackless(3), &request(1, 0)), Err(Error::NoReplicas));
    assert_eq!(
        place(&rackless(3), &request(1, 4))
            .expect_err("three")
            .to_string(),
        "4 replicas need 4 brokers, but only 3 of 3 can take replicas"
    );
}

#[test]
fn a_fenced_broker_gets_replicas_only_where_the_others_do_not_suffice_and_never_leads() {
    let mut fleet = rackless(3);
    fleet.brokers[0].fenced = true;
    let place_with = |replicas| {
        place(
            &fleet,
            &Request {
                partitions: 4,
                replicas,
            },
        )
        .expect("fits")
    };
    assert!(place_with(2).iter().flatten().all(|id| *id != BrokerId(0)));
    assert!(place_with(3).iter().all(|p| p[0] != BrokerId(0) && p.len() == 3));
    let mut dead = rackless(1);
    dead.brokers[0].fenced = true;
    assert_eq!(
        place(
            &dead,
            &Request {
                partitions: 1,
                replicas: 1
            }
        ),
        Err(Error::NoneAlive { available: 1 })
    );
}

#[test]
fn a_new_topic_is_spread_even_when_one_broker_is_empty() {
    let mut fleet = rackless(4);
    for broker in &mut fleet.brokers[..3] {
        broker.replicas = 1000;
        broker.leaders = 300;
    }
    let placed = place(
        &fleet,
        &Request {
            partitions: 4,
            replicas: 1,
        },
    )
    .expect("fits");
    assert_eq!(placed, [ids(&[3]), ids(&[0]), ids(&[1]), ids(&[2])]);
}

#[test]
fn growing_keeps_what_is_there_and_never_shrinks() {
    let existing = [ids(&[0, 1]), ids(&[1, 2])];
    assert_eq!(grow(&rackless(3), &existing, 2), Ok(vec![]));
    assert_eq!(
        grow(&rackless(3), &existing, 1),
        Err(Error::FewerPartitions { now: 2, asked: 1 })
    );
    let more = grow(&rackless(3), &existing, 3).expect("fits");
    assert_eq!(more, [ids(&[2, 0])]);
}

#[test]
fn a_broker_that_joins_gets_its_share_and_little_moves() {
    let three = rackless(3);
    let placed = place(
        &three,
        &Request {
            partitions: 12,
            replicas: 2,
        },
    )
    .expect("fits");
    let mut placed: Vec<Placed> = placed
        .into_iter()
        .enumerate()
        .map(|(partition, replicas)| Placed {
            topic: "orders".to_owned(),
            partition: partition as i32,
            replicas,
            bytes: 0,
        })
        .collect();
    let before = placed.clone();
    let four = rackless(4);
    let moves = rebalance(&four, &placed).expect("fits");
    apply(&mut placed, &moves);
    let moved: usize = before
        .iter()
        .zip(&placed)
        .map(|(then, now)| {
            now.replicas
                .iter()
                .filter(|id| !then.replicas.contains(id))
                .count()
        })
        .sum();
    assert_eq!(
        moved, 6,
        "a quarter of 24 replicas, and nothing between the old brokers"
    );
    let all: Vec<_> = placed.iter().map(|p| p.replicas.clone()).collect();
    let (replicas, leaders) = spread(&all, &four);
    assert_eq!((unevenness(&replicas), unevenness(&leaders)), (0, 0));
    assert_eq!(rebalance(&four, &placed), Ok(vec![]), "what is even stays");
}

#[test]
fn small_partitions_move_rather_than_large_ones() {
    let at = |partition, replicas: &[i32], bytes| Placed {
        topic: "t".to_owned(),
        partition,
        replicas: ids(replicas),
        bytes,
    };
    let placed = [at(0, &[0], 900), at(1, &[0], 5)];
    assert_eq!(
        rebalance(&rackless(2), &placed),
        Ok(vec![Move {
            topic: "t".to_owned(),
            partition: 1,
            replicas: ids(&[1])
        }])
    );
}

#[test]
fn a_drain_that_would_lose_replicas_is_refused() {
    let mut fleet = rackless(2);
    fleet.brokers[0].draining = true;
    let placed = [Placed {
        topic: "t".to_owned(),
        partition: 0,
        replicas: ids(&[0, 1]),
        bytes: 0,
    }];
    assert_eq!(
        drain(&fleet, &placed)
            .expect_err("one broker is left")
            .to_string(),
        "2 replicas need 2 brokers, but only 1 of 2 can take replicas (1 being drained)"
    );
}

fn any_fleet() -> impl Strategy<Value = Fleet> {
    (
        prop::collection::vec((0u8..5, any::<bool>(), 0u8..8), 1..12),
        any::<bool>(),
    )
        .prop_map(|(brokers, racks)| Fleet {
            brokers: brokers
                .into_iter()
                .enumerate()
                .map(|(id, (rack, fenced, fate))| Broker {
                    draining: fate == 0,
                    fenced: fenced && fate == 1,
                    ..broker(
                        id as i32,
                        (racks && rack > 0).then(|| format!("rack-{rack}")).as_deref(),
                    )
                })
                .collect(),
            racks_required: racks,
        })
}

fn racks_of(fleet: &Fleet, replicas: &[BrokerId]) -> usize {
    replicas
        .iter()
        .map(|id| {
            let broker = fleet.brokers.iter().find(|b| b.id == *id).expect("known");
            broker.rack.clone().unwrap_or_else(|| format!("alone-{id}"))
        })
        .collect::<BTreeSet<_>>()
        .len()
}

fn usable(fleet: &Fleet) -> Vec<BrokerId> {
    fleet
        .brokers
        .iter()
        .filter(|b| !b.draining && (b.rack.is_some() || !fleet.racks_required))
        .map(|b| b.id)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn placed_replicas_are_distinct_on_usable_brokers_and_in_as_many_racks_as_can_be(
        fleet in any_fleet(), partitions in 1usize..40, replicas in 1usize..5,
    ) {
        let request = Request { partitions, replicas };
        let usable = usable(&fleet);
        match place(&fleet, &request) {
            Ok(placed) => {
                prop_assert_eq!(placed.len(), partitions);
                let unfenced = fleet.brokers.iter().filter(|b| usable.contains(&b.id) && !b.fenced).count();
                for partition in &placed {
                    let distinct: BTreeSet<_> = partition.iter().collect();
                    prop_assert_eq!(distinct.len(), replicas);
                    prop_assert!(partition.iter().all(|id| usable.contains(id)));
                    if unfenced == usable.len() {
                        prop_assert_eq!(racks_of(&fleet, partition), replicas.min(racks_of(&fleet, &usable)));
                    }
                }
                prop_assert_eq!(place(&fleet, &request), Ok(placed), "the same input, the same answer");
            }
            Err(Error::NotEnoughBrokers { available, .. }) => {
                prop_assert_eq!(available, usable.len());
                prop_assert!(available < replicas);
            }
            Err(error) => prop_assert!(matches!(error, Error::NoneAlive { .. }), "{}", error),
        }
    }

    #[test]
    fn topics_placed_one_after_the_other_keep_replicas_even(
        racks in 1usize..5, size in 1usize..4, topics in prop::collection::vec((1usize..13, 1usize..5), 1..8),
    ) {
        // Racks of one size: then even replicas never contradict the spread over racks.
        let names: Vec<String> = (0..racks * size).map(|id| format!("rack-{}", id % racks)).collect();
        let empty = fleet(&names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>());
        let mut all: Vec<Placed> = Vec::new();
        for (number, (partitions, replicas)) in topics.into_iter().enumerate() {
            let request = Request { partitions, replicas: replicas.min(racks * size) };
            let placed = place(&counted(&empty, &all), &request).expect("fits");
            let (replicas, leaders) = spread(&placed, &empty);
            prop_assert!(unevenness(&replicas) <= 1, "{placed:?}");
            prop_assert!(unevenness(&leaders) <= 1, "{placed:?}");
            all.extend(placed.into_iter().enumerate().map(|(partition, replicas)| Placed {
                topic: format!("topic-{number}"), partition: partition as i32, replicas, bytes: 0,
            }));
        }
    }

    #[test]
    fn a_rebalanced_fleet_is_even_keeps_its_racks_and_stays(
        brokers in 1usize..7, joining in 0usize..4,
        topics in prop::collection::vec((1usize..10, 1usize..4), 1..6), draining in any::<bool>(),
    ) {
        let small = rackless(brokers);
        let mut placed: Vec<Placed> = Vec::new();
        for (number, (partitions, replicas)) in topics.into_iter().enumerate() {
            let request = Request { partitions, replicas: replicas.min(brokers) };
            let new = place(&counted(&small, &placed), &request).expect("fits");
            placed.extend(new.into_iter().enumerate().map(|(partition, replicas)| Placed {
                topic: format!("topic-{number}"), partition: partition as i32, replicas, bytes: partition as u64,
            }));
        }
        let mut large = rackless(brokers + joining);
        large.brokers[0].draining = draining && joining > 0;
        let moves = rebalance(&large, &placed).expect("fits");
        let factors: Vec<usize> = placed.iter().map(|p| p.replicas.len()).collect();
        apply(&mut placed, &moves);
        let usable = usable(&large);
        for (partition, factor) in placed.iter().zip(factors) {
            let distinct: BTreeSet<_> = partition.replicas.iter().collect();
            prop_assert_eq!(distinct.len(), factor);
            prop_assert!(partition.replicas.iter().all(|id| usable.contains(id)));
        }
        let all: Vec<_> = placed.iter().map(|p| p.replicas.clone()).collect();
        let (mut replicas, mut leaders) = spread(&all, &large);
        replicas.retain(|id, _| usable.contains(id));
        leaders.retain(|id, _| usable.contains(id));
        prop_assert!(unevenness(&replicas) <= 1, "{:?}", replicas);
        // A partition with one replica is led where it is: with those, leadership alone cannot be evened out.
        let single = placed.iter().any(|p| p.replicas.len() == 1);
        prop_assert!(unevenness(&leaders) <= if single { 3 } else { 1 }, "{:?}", leaders);
        prop_assert_eq!(rebalance(&large, &placed), Ok(vec![]));
    }

    #[test]
    fn another_number_of_replicas_keeps_what_can_stay(
        fleet in any_fleet(), partitions in 1usize..20, before in 1usize..4, after in 1usize..4,
    ) {
        let Ok(existing) = place(&fleet, &Request { partitions, replicas: before }) else { return Ok(()) };
        let Ok(changed) = change_replicas(&fleet, &existing, after) else { return Ok(()) };
        for (then, now) in existing.iter().zip(&changed) {
            prop_assert_eq!(now.len(), after);
            prop_assert_eq!(then[0], now[0]);
            let kept = then.iter().filter(|id| now.contains(id)).count();
            prop_assert_eq!(kept, before.min(after));
        }
    }

    #[test]
    fn a_drained_broker_holds_nothing_and_what_is_not_on_it_stays(
        fleet in any_fleet(), partitions in 1usize..20, replicas in 1usize..4,
    ) {
        let Ok(existing) = place(&fleet, &Request { partitions, replicas }) else { return Ok(()) };
        let placed: Vec<Placed> = existing.into_iter().enumerate().map(|(partition, replicas)| Placed {
            topic: "t".to_owned(), partition: partition as i32, replicas, bytes: 0,
        }).collect();
        let gone = placed[0].replicas[0];
        let mut fleet = fleet;
        for broker in &mut fleet.brokers {
            broker.draining |= broker.id == gone;
        }
        let Ok(moves) = drain(&fleet, &placed) else { return Ok(()) };
        let mut after = placed.clone();
        apply(&mut after, &moves);
        for (then, now) in placed.iter().zip(&after) {
            prop_assert!(!now.replicas.contains(&gone));
            for (from, to) in then.replicas.iter().zip(&now.replicas) {
                prop_assert!(from == to || *from == gone);
            }
        }
    }
}
