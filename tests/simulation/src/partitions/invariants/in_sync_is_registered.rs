//! In-sync sets hold only registered incarnations: brokers that are neither fenced nor stopping (KIP-841), under the broker
//! epoch that they registered with (KIP-903); and each of them holds all that is committed. Else a disk that came back
//! empty could lead.

use super::violation;
use crate::outcome::Violation;
use flotilla_broker::metadata::Image;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::{BrokerId, Offset};

const NAME: &str = "in_sync_is_registered";

/// Holds one state of the metadata against the one before it.
pub(in super::super) fn is_registered(before: &Image, after: &Image) -> Result<(), Violation> {
    for (topic, index, partition) in after.partitions() {
        let name = format!("{}-{index}", topic.name);
        for member in &partition.isr {
            let Some(broker) = after.broker(*member) else {
                return violation(
                    NAME,
                    format!("{name}: broker {member} is in sync, and not registered"),
                );
            };
            if !broker.is_alive() {
                return violation(
                    NAME,
                    format!("{name}: broker {member} is in sync, and fenced or stopping"),
                );
            }
            let known = before.broker(*member);
            if known.is_some_and(|known| known.epoch != broker.epoch) {
                return violation(
                    NAME,
                    format!("{name}: broker {member} registered anew, and is in sync still"),
                );
            }
        }
        match partition.leader {
            Some(leader) if !partition.isr.contains(&leader) => {
                return violation(NAME, format!("{name}: broker {leader} leads, and is not in sync"));
            }
            None if !partition.isr.is_empty() => {
                return violation(
                    NAME,
                    format!("{name}: nobody leads, though {:?} are in sync", partition.isr),
                );
            }
            _ => {}
        }
        let Some(old) = before
            .topic_by_id(topic.id)
            .and_then(|topic| topic.partition(index))
        else {
            continue;
        };
        let changed = old != partition;
        let (was, is) = (old.partition_epoch, partition.partition_epoch);
        if changed && is <= was || partition.leader_epoch < old.leader_epoch {
            return violation(
                NAME,
                format!("{name}: its epochs went from {old:?} to {partition:?}"),
            );
        }
        if partition.leader != old.leader && partition.leader_epoch <= old.leader_epoch {
            return violation(
                NAME,
                format!("{name}: another leader in epoch {}", old.leader_epoch),
            );
        }
    }
    Ok(())
}

/// What a replica holds, as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Held {
    pub broker: BrokerId,
    /// All before is as durable as was asked for.
    pub end: Offset,
}

/// Every running member of an in-sync set holds all that is `committed`.
pub(in super::super) fn holds_committed(
    key: PartitionKey,
    in_sync: &[Held],
    committed: Offset,
) -> Result<(), Violation> {
    match in_sync.iter().find(|held| held.end < committed) {
        Some(Held { broker, end }) => violation(
            NAME,
            format!("{key:?}: broker {broker} is in sync, and ends at {end}, before {committed}"),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::KEY;
    use super::*;
    use flotilla_broker::metadata::{Fact, Record};
    use flotilla_control::proto::metadata as proto;

    fn image(epoch: i64, fenced: bool, leader: i32, isr: &[i32], partition_epoch: i32) -> Image {
        let broker = |id: i32, epoch: i64, fenced: bool| {
            Fact::Broker(proto::Broker {
                broker_id: id,
                broker_epoch: epoch,
                incarnation_id: vec![1; 16],
                directory_id: vec![2; 16],
                fenced,
                flotilla_version_max: 1,
                ..proto::Broker::default()
            })
        };
        let facts = [
            broker(0, 5, false),
            broker(1, epoch, fenced),
            Fact::Topic(proto::Topic {
                name: "t".to_owned(),
                topic_id: KEY.topic_id.0.to_vec(),
                owner: None,
            }),
            Fact::Partition(proto::Partition {
                topic_id: KEY.topic_id.0.to_vec(),
                replicas: vec![0, 1],
                isr: isr.to_vec(),
                leader,
                leader_epoch: 3,
                partition_epoch,
                ..proto::Partition::default()
            }),
        ];
        let mut image = Image::default();
        for fact in facts {
            image.fold(&Record { record: Some(fact) }).unwrap();
        }
        image
    }

    fn message(before: &Image, after: &Image) -> String {
        is_registered(before, after).unwrap_err().message
    }

    #[test]
    fn members_that_may_not_be_in_sync_are_found() {
        let good = image(6, false, 0, &[0, 1], 4);
        assert_eq!(is_registered(&good, &good), Ok(()));
        assert!(message(&good, &image(6, true, 0, &[0, 1], 4)).contains("fenced or stopping"));
        assert!(message(&good, &image(7, false, 0, &[0, 1], 4)).contains("registered anew"));
        assert!(message(&good, &image(6, false, 1, &[0], 5)).contains("leads, and is not in sync"));
        assert!(message(&good, &image(6, false, -1, &[0], 5)).contains("nobody leads"));
    }

    #[test]
    fn epochs_that_do_not_grow_are_found() {
        let good = image(6, false, 0, &[0, 1], 4);
        assert!(message(&good, &image(6, false, 0, &[0], 4)).contains("its epochs went"));
        assert!(message(&good, &image(6, false, 1, &[0, 1], 5)).contains("another leader in epoch 3"));
    }

    #[test]
    fn member_that_lacks_what_is_committed_is_found() {
        let held = |broker, end| Held {
            broker: BrokerId(broker),
            end: Offset(end),
        };
        assert_eq!(holds_committed(KEY, &[held(0, 9), held(1, 7)], Offset(7)), Ok(()));
        assert!(holds_committed(KEY, &[held(0, 9), held(1, 7)], Offset(8)).is_err());
    }
}
