//! Random requests: whatever is asked, the image stays sound.

use proptest::prelude::*;

use super::*;
use flotilla_protocol::PartitionIndex;

/// One thing that happens to a fleet of up to five brokers and three topics.
#[derive(Clone, Debug)]
enum Event {
    Register {
        id: i32,
        incarnation: u8,
        directory: u8,
        clean: bool,
    },
    Beat {
        id: i32,
        stop: bool,
        fence: bool,
    },
    Fence(Vec<i32>),
    Create {
        topic: u8,
        partitions: i32,
        factor: i32,
    },
    Assign {
        topic: u8,
        target: Option<Vec<i32>>,
    },
    Isr {
        topic: u8,
        isr: Vec<i32>,
    },
    Elect {
        unclean: bool,
    },
    Delete(u8),
    Grow {
        topic: u8,
        count: i32,
    },
    Set {
        topic: Option<u8>,
        key: &'static str,
        value: Option<&'static str>,
    },
    Restart {
        id: i32,
        release: bool,
    },
    Apply {
        topic: u8,
        partitions: i32,
        factor: i32,
    },
    Drain {
        id: i32,
        draining: bool,
    },
    Forget(i32),
}

fn event() -> impl Strategy<Value = Event> {
    let id = || 0..5i32;
    let topic = || 0..3u8;
    let ids = || proptest::collection::vec(0..5i32, 0..4);
    let set = prop_oneof![
        Just(("min.insync.replicas", Some("1"))),
        Just(("min.insync.replicas", Some("2"))),
        Just(("min.insync.replicas", Some("3"))),
        Just(("min.insync.replicas", None)),
        Just(("unclean.leader.election.enable", Some("true"))),
        Just(("unclean.leader.election.enable", None)),
        Just(("flush.policy", Some("os"))),
        Just(("log.flush.policy", Some("os"))),
    ];
    prop_oneof![
        3 => (id(), 1..4u8, 1..3u8, any::<bool>()).prop_map(|(id, incarnation, directory, clean)| Event::Register {
            id, incarnation, directory, clean
        }),
        8 => (id(), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(id, stop, fence)| Event::Beat { id, stop, fence }),
        3 => ids().prop_map(Event::Fence),
        3 => (topic(), 1..4i32, 1..4i32).prop_map(|(topic, partitions, factor)| Event::Create { topic, partitions, factor }),
        3 => (topic(), prop::option::weighted(0.8, ids())).prop_map(|(topic, target)| Event::Assign { topic, target }),
        8 => (topic(), ids()).prop_map(|(topic, isr)| Event::Isr { topic, isr }),
        1 => any::<bool>().prop_map(|unclean| Event::Elect { unclean }),
        1 => topic().prop_map(Event::Delete),
        1 => (topic(), 1..5i32).prop_map(|(topic, count)| Event::Grow { topic, count }),
        2 => (prop::option::of(topic()), set).prop_map(|(topic, (key, value))| Event::Set { topic, key, value }),
        1 => (id(), any::<bool>()).prop_map(|(id, release)| Event::Restart { id, release }),
        1 => (topic(), 0..4i32, 0..4i32).prop_map(|(topic, partitions, factor)| Event::Apply { topic, partitions, factor }),
        1 => (id(), any::<bool>()).prop_map(|(id, draining)| Event::Drain { id, draining }),
        1 => id().prop_map(Event::Forget),
    ]
}

fn name(topic: u8) -> String {
    format!("t{topic}")
}

/// As a request of someone who knows the image as it is.
fn asked(fleet: &Fleet, event: Event) -> Option<Asked> {
    Some(match event {
        Event::Register {
            id,
            incarnation,
            directory,
            clean,
        } => Asked::RegisterBroker(registration(id, incarnation, directory, clean)),
        Event::Beat { id, stop, fence } => Asked::BrokerHeartbeat(proto::BrokerHeartbeat {
            want_shut_down: stop,
            want_fence: fence,
            ..fleet.heartbeat(id)
        }),
        Event::Fence(broker_ids) => Asked::FenceBrokers(proto::FenceBrokers { broker_ids }),
        Event::Create {
            topic,
            partitions,
            factor,
        } => Asked::CreateTopics(proto::CreateTopics {
            topics: vec![proto::CreateTopic {
                name: name(topic),
                partitions,
                replication_factor: factor,
                ..Default::default()
            }],
        }),
        Event::Assign { topic, target } => Asked::AlterReassignments(proto::AlterReassignments {
            partitions: vec![proto::Reassignment {
                topic: name(topic),
                partition: 0,
                target: target.map(|ids| replicas(&ids)),
            }],
            allow_replication_factor_change: true,
        }),
        Event::Isr { topic, isr } => {
            let topic = fleet.image.topic(&name(topic))?;
            let partition = topic.partition(PartitionIndex(0))?;
            let epoch = |id: i32| {
                fleet
                    .image
                    .broker(BrokerId(id))
                    .map_or(-1, |broker| broker.epoch.0)
            };
            let leader = partition.leader?.0;
            Asked::AlterPartitions(proto::AlterPartitions {
                broker_id: leader,
                broker_epoch: epoch(leader),
                partitions: vec![proto::AlterPartition {
                    topic_id: topic.id.0.to_vec(),
                    partition: 0,
                    leader_epoch: partition.leader_epoch.0,
                    partition_epoch: partition.partition_epoch,
                    new_isr: isr
                        .into_iter()
                        .chain([leader])
                        .map(|id| proto::BrokerIncarnation {
                            broker_id: id,
                            broker_epoch: epoch(id),
                        })
                        .collect(),
                }],
            })
        }
        Event::Elect { unclean } => Asked::ElectLeaders(proto::ElectLeaders {
            unclean,
            partitions: vec![],
            all_partitions: true,
        }),
        Event::Delete(topic) => Asked::DeleteTopics(proto::DeleteTopics {
            topics: vec![proto::TopicRef {
                topic: Some(proto::topic_ref::Topic::Name(name(topic))),
                owner: None,
            }],
        }),
        Event::Grow { topic, count } => Asked::CreatePartitions(proto::CreatePartitions {
            topics: vec![proto::GrowTopic {
                name: name(topic),
                count,
                assignments: vec![],
            }],
        }),
        Event::Set { topic, key, value } => {
            let resource = if topic.is_some() {
                proto::ResourceType::Topic
            } else {
                proto::ResourceType::Broker
            };
            Asked::AlterConfigs(proto::AlterConfigs {
                resources: vec![proto::ResourceConfigs {
                    resource_type: resource.into(),
                    resource_name: topic.map(name).unwrap_or_default(),
                    changes: vec![proto::AlterConfig {
                        operation: i32::from(value.is_none()),
                        key: key.to_owned(),
                        value: value.map(str::to_owned),
                    }],
                    replace: false,
                }],
            })
        }
        Event::Restart { id, release } => Asked::PrepareRestart(proto::PrepareRestart {
            broker_ids: vec![id],
            grant_ms: 5,
            release,
        }),
        Event::Apply {
            topic,
            partitions,
            factor,
        } => Asked::ApplyTopic(proto::ApplyTopic {
            name: name(topic),
            partitions,
            replicas: factor,
            ..Default::default()
        }),
        Event::Drain { id, draining } => Asked::SetDrain(proto::SetDrain {
            broker_id: id,
            draining,
        }),
        Event::Forget(id) => Asked::UnregisterBroker(proto::UnregisterBroker { broker_id: id }),
    })
}

fn is_sound(fleet: &Fleet) {
    for (topic, index, partition) in fleet.image.partitions() {
        let shown = format!("{}-{index}: {}", topic.name, shown_partition(partition));
        let all = |part: &[BrokerId]| part.iter().all(|id| partition.replicas.contains(id));
        for part in [
            &partition.isr,
            &partition.elr,
            &partition.last_known_elr,
            &partition.adding,
            &partition.removing,
        ] {
            assert!(all(part), "not among the replicas: {shown}");
        }
        for part in [&partition.replicas, &partition.isr, &partition.elr] {
            let distinct: std::collections::BTreeSet<_> = part.iter().collect();
            assert_eq!(distinct.len(), part.len(), "twice: {shown}");
        }
        assert!(
            !partition.isr.iter().any(|id| partition.elr.contains(id)),
            "in sync and eligible: {shown}"
        );
        assert!(
            partition.isr.iter().all(|id| fleet.image.is_alive(*id)),
            "not alive, yet in sync: {shown}"
        );
        match partition.leader {
            Some(leader) => assert!(partition.isr.contains(&leader), "leads, yet not in sync: {shown}"),
            None => assert!(partition.isr.is_empty(), "in sync with nobody: {shown}"),
        }
        assert!(
            !(partition.leader.is_none() && partition.elr.iter().any(|id| fleet.image.is_alive(*id))),
            "nobody leads, though someone could: {shown}"
        );
        let minimum = partition.effective_min_isr(
            fleet
                .image
                .topic_setting(&topic.name, "min.insync.replicas", &|_| None)
                .unwrap()
                .parse()
                .unwrap(),
        );
        assert!(
            partition.elr.is_empty() || partition.isr.len() < minimum,
            "eligible beside enough in sync: {shown}"
        );
    }
    let indices_are_dense = |topic: &std::sync::Arc<crate::metadata::Topic>| {
        topic
            .partitions()
            .map(|(index, _)| index.0)
            .eq(0..topic.partition_count() as i32)
    };
    assert!(fleet.image.topics().all(indices_are_dense));
}

fn epochs_only_grow(before: &Image, after: &Image) {
    for change in crate::metadata::changed_partitions(before, after) {
        let (Some(old), Some(new)) = (change.old, change.new) else {
            continue;
        };
        assert!(
            new.partition_epoch > old.partition_epoch,
            "{change:?}",
            change = (old, new)
        );
        assert!(new.leader_epoch >= old.leader_epoch);
        assert!(
            new.leader == old.leader || new.leader_epoch > old.leader_epoch,
            "another leader in the same epoch"
        );
    }
    for change in crate::metadata::changed_brokers(before, after) {
        if let (Some(old), Some(new)) = (change.old, change.new) {
            assert!(new.epoch > old.epoch || new.incarnation == old.incarnation);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_the_image_stays_sound(events in proptest::collection::vec(event(), 1..60)) {
        let mut fleet = Fleet::of(3, "1");
        for event in events {
            let Some(asked) = asked(&fleet, event) else { continue };
            let before = fleet.image.clone();
            let (index, ids) = (fleet.index, fleet.ids);
            let decision = fleet.ask(asked.clone());
            is_sound(&fleet);
            epochs_only_grow(&before, &fleet.image);

            let mut again = Fleet { image: before, index, ids, settings: fleet.settings.clone(), ..Fleet::empty("1") };
            prop_assert_eq!(again.ask(asked), decision, "the same input gives the same decision");
            let mut restored = Image::default();
            restored.fold_all(&fleet.image.to_records()).unwrap();
            prop_assert_eq!(&restored, &fleet.image);
        }
    }
}
