//! What happens to partitions when a broker goes, comes back, or has lost what it stored.

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::BrokerId;

use super::change::Change;
use super::{Draft, Rules};
use crate::metadata::{Broker, Fact, Partition};

impl Draft<'_, '_> {
    /// Changes partitions of all topics: `change` puts a change together, or passes.
    pub(super) fn change_partitions(
        &mut self,
        mut change: impl for<'p> FnMut(&'p Partition, Rules) -> Option<Change<'p>>,
        can_lead: &dyn Fn(&Broker) -> bool,
    ) {
        let before = self.image.clone();
        let can_lead = |id: BrokerId| before.broker(id).is_some_and(|broker| can_lead(broker));
        for topic in before.topics() {
            let mut rules = None;
            for (index, partition) in topic.partitions() {
                let rules = *rules.get_or_insert_with(|| self.rules(&topic.name));
                let next = change(partition, rules).and_then(|change| change.decide(&can_lead));
                if let Some(next) = next {
                    self.write_partition(topic, index, &next);
                }
            }
        }
    }

    /// A broker that is fenced or stops leaves all in-sync sets; what it leads goes to others (KIP-841).
    pub(super) fn leave(&mut self, id: BrokerId) {
        self.change_partitions(
            |partition, rules| {
                if !partition.is_in_sync(id) && partition.leader != Some(id) {
                    return None;
                }
                let mut change = Change::of(partition, rules);
                change.isr.retain(|replica| *replica != id);
                Some(change)
            },
            &|broker| broker.is_alive() && broker.id != id,
        );
    }

    /// A broker came back without its data, or without what it had not synced: it is neither in sync nor eligible, however
    /// few others there are (KIP-966).
    pub(super) fn forget(&mut self, id: BrokerId, emptied: bool) {
        self.change_partitions(
            |partition, rules| {
                let named = [&partition.isr, &partition.elr, &partition.last_known_elr];
                if !named.iter().any(|replicas| replicas.contains(&id)) || (rules.synced && !emptied) {
                    return None;
                }
                let mut change = Change::of(partition, rules);
                if emptied {
                    change.emptied.push(id);
                } else {
                    change.crashed.push(id);
                }
                Some(change)
            },
            &|broker| broker.is_alive() && broker.id != id,
        );
    }

    /// Someone can lead again: partitions without a leader elect one.
    pub(super) fn elect_leaderless(&mut self) {
        self.change_partitions(
            |partition, rules| partition.leader.is_none().then(|| Change::of(partition, rules)),
            &Broker::is_alive,
        );
    }

    /// Fences a broker that is not fenced yet.
    pub(super) fn fence(&mut self, id: BrokerId) {
        let Some(broker) = self.image.broker(id).filter(|broker| !broker.fenced) else {
            return;
        };
        self.write(Fact::Broker(proto::Broker {
            fenced: true,
            ..broker.to_record()
        }));
        self.leave(id);
    }
}
