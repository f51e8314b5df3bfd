//! Holds what the brokers do against the rules.

use super::clients::Kind;
use super::invariants::{Held, appears_once, holds_committed, is_registered, records_of};
use super::producer::is_idempotent;
use super::quorum::Committed;
use super::world::World;
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::{BrokerId, Offset};

impl World {
    /// A process began at a broker.
    pub(super) fn began(&mut self, place: usize) {
        self.laws.committed.began(place);
    }

    /// The process of a broker is gone.
    pub(super) fn ended(&mut self, place: usize) {
        self.laws.committed.began(place);
        self.note(format_args!("broker {place} is gone"));
    }

    /// Looks at what a broker stores and leads.
    pub(super) fn check_site(&mut self, place: usize) {
        let Some(process) = &self.sites[place].process else {
            return;
        };
        let replicas = process.replicas.clone();
        let life = self.sites[place].life;
        for key in self.keys.clone() {
            let Some(stored) = replicas.stored(key) else {
                // It was moved away: what comes back begins from nothing.
                self.laws.committed.dropped(key, place);
                continue;
            };
            if let Some(epoch) = stored.leads_in {
                let before = self.laws.leaders.count();
                let held = self
                    .laws
                    .leaders
                    .seen(key, epoch, (place, life), stored.high_watermark);
                if self.laws.leaders.count() > before {
                    self.counts.count("leaderships");
                    self.note(format_args!(
                        "broker {place} leads {} in epoch {epoch}, from {} on, high watermark {}",
                        self.laws.name(key),
                        stored.log_end,
                        stored.high_watermark
                    ));
                }
                self.hold(held);
            }
            if self.laws.is_lossy {
                continue;
            }
            let held = self.laws.committed.ends(key, place, stored.log_end);
            self.hold(held);
            let from = self.laws.committed.looked(key, place);
            if stored.high_watermark > from {
                match replicas.batches(key, from, stored.high_watermark) {
                    Ok(batches) => {
                        let records = records_of(&batches);
                        let held = self
                            .laws
                            .committed
                            .holds(key, place, &records, stored.high_watermark);
                        self.hold(held);
                    }
                    Err(error) => {
                        let message = format!("broker {place} cannot read {}: {error}", self.laws.name(key));
                        self.violate("replicas_agree", message);
                    }
                }
            }
        }
    }

    /// Looks at a new state of the metadata.
    pub(super) fn check_image(&mut self, committed: &Committed) {
        let held = is_registered(&committed.before, &committed.after);
        self.hold(held);
        for broker in committed.after.brokers() {
            let known = committed.before.broker(broker.id);
            if known.is_none_or(|known| known.epoch != broker.epoch) {
                self.faults.damaged.remove(&(broker.id.0 as usize));
                self.note(format_args!(
                    "broker {} is registered, epoch {}",
                    broker.id, broker.epoch
                ));
            }
        }
        let partitions: Vec<_> = committed
            .after
            .partitions()
            .map(|(topic, partition, state)| {
                let key = PartitionKey {
                    topic_id: topic.id,
                    partition,
                };
                (key, format!("{}-{partition}", topic.name), state.clone())
            })
            .collect();
        for (key, name, partition) in partitions {
            let before = committed
                .before
                .topic_by_id(key.topic_id)
                .and_then(|topic| topic.partition(key.partition));
            if before.is_some_and(|before| **before == *partition) {
                continue;
            }
            self.note(format_args!(
                "{name}: leader {:?} epoch {} isr {:?} elr {:?} last {:?} replicas {:?} adding {:?} removing {:?} partition epoch {}",
                partition.leader.map(|leader| leader.0),
                partition.leader_epoch,
                ids(&partition.isr),
                ids(&partition.elr),
                ids(&partition.last_known_elr),
                ids(&partition.replicas),
                ids(&partition.adding),
                ids(&partition.removing),
                partition.partition_epoch,
            ));
            if let Some(before) = before {
                let kind = match (before.isr.len(), partition.isr.len()) {
                    (old, new) if new > old => "in-sync sets grown",
                    (old, new) if new < old => "in-sync sets shrunk",
                    _ => "other changes of partitions",
                };
                self.counts.count(kind);
                if before.is_reassigning() && !partition.is_reassigning() {
                    self.counts.count("reassignments ended");
                }
                if before.leader.is_none()
                    && partition
                        .leader
                        .is_some_and(|leader| before.elr.contains(&leader))
                {
                    self.counts.count("eligible leader replicas elected");
                }
            }
            if self.laws.is_lossy {
                continue;
            }
            let in_sync: Vec<Held> = partition
                .isr
                .iter()
                .filter_map(|member| self.held(key, *member, &committed.after))
                .collect();
            let held = holds_committed(key, &in_sync, self.laws.committed.end(key));
            self.hold(held);
        }
    }

    /// What a member of an in-sync set holds, if it is the process that the metadata means.
    fn held(
        &self,
        key: PartitionKey,
        member: BrokerId,
        image: &flotilla_broker::metadata::Image,
    ) -> Option<Held> {
        let process = self.sites[member.0 as usize].process.as_ref()?;
        let registered = image.broker(member)?;
        let stored = process.replicas.stored(key)?;
        (registered.incarnation == process.incarnation).then_some(Held {
            broker: member,
            end: if self.plan.synced {
                stored.synced_end
            } else {
                stored.log_end
            },
        })
    }

    pub(super) fn check_linear(&mut self, index: u64) {
        let held = self.laws.metadata.decides(index);
        self.hold(held);
    }

    /// Why it is not over yet: what has to heal. None: nothing.
    pub(super) fn trouble(&mut self) -> Option<String> {
        let image = self.quorum.latest();
        for (place, site) in self.sites.iter().enumerate() {
            let Some(process) = &site.process else {
                return Some(format!("broker {place} does not run"));
            };
            let known = image.broker(BrokerId(place as i32));
            if !known.is_some_and(|known| known.is_alive() && known.incarnation == process.incarnation) {
                return Some(format!("broker {place} is not alive in the metadata"));
            }
            if process.index < self.quorum.index() {
                return Some(format!("broker {place} is behind with the metadata"));
            }
        }
        if self.keys.is_empty() {
            return Some("there are no topics".to_owned());
        }
        for key in self.keys.clone() {
            let name = self.laws.name(key);
            let partition = image.topic_by_id(key.topic_id)?.partition(key.partition)?;
            if partition.is_reassigning() {
                return Some(format!("{name} is being moved: {partition:?}"));
            }
            if partition.isr.len() < partition.replicas.len() {
                return Some(format!("{name} is under-replicated: {partition:?}"));
            }
            let mut ends = Vec::new();
            for replica in &partition.replicas {
                let process = self.sites[replica.0 as usize].process.as_ref();
                ends.push(process.and_then(|process| process.replicas.stored(key)));
            }
            let marks: Vec<_> = ends
                .iter()
                .map(|stored| stored.map(|stored| (stored.log_end, stored.high_watermark)))
                .collect();
            let first = marks.first().copied().flatten();
            if first.is_none_or(|(end, mark)| end != mark) || marks.iter().any(|mark| *mark != first) {
                return Some(format!("{name}: the replicas stand at {marks:?}"));
            }
            let end = first.map_or(Offset(0), |(end, _)| end);
            for client in &self.clients.all {
                if let Kind::Consumer(consumer) = &client.kind
                    && consumer.key(&self.data_keys) == Some(key)
                    && consumer.position < end
                {
                    return Some(format!(
                        "{name}: its consumer is at {}, before {end}",
                        consumer.position
                    ));
                }
            }
        }
        for (number, client) in self.clients.all.iter().enumerate() {
            match &client.kind {
                Kind::Producer(producer) if !producer.is_content() => {
                    return Some(format!("producer {number} gets nothing acknowledged"));
                }
                Kind::Member(member) if !member.is_content => {
                    return Some(format!(
                        "member {number} of group {} commits nothing",
                        member.group
                    ));
                }
                Kind::Operator(operator) if !operator.is_idle() => {
                    return Some("the operator is not done".to_owned());
                }
                _ => {}
            }
        }
        None
    }

    /// All is well: the logs are looked through from beginning to end.
    pub(super) fn check_at_last(&mut self) {
        let image = self.quorum.latest();
        for key in self.keys.clone() {
            let name = self.laws.name(key);
            let topic = image.topic_by_id(key.topic_id);
            let Some(partition) = topic.and_then(|topic| topic.partition(key.partition)) else {
                continue;
            };
            let mut logs = Vec::new();
            for replica in &partition.replicas {
                let Some(process) = &self.sites[replica.0 as usize].process else {
                    continue;
                };
                match process.replicas.batches(key, Offset(0), Offset(i64::MAX)) {
                    Ok(batches) => logs.push((*replica, records_of(&batches))),
                    Err(error) => {
                        let message = format!("broker {replica} cannot read {name}: {error}");
                        return self.violate("replicas_agree", message);
                    }
                }
            }
            let Some((first, log)) = logs.first() else {
                continue;
            };
            for (replica, other) in &logs[1..] {
                if other != log {
                    let differs = log.iter().zip(other).find(|(one, other)| one != other);
                    let message =
                        format!("{name}: brokers {first} and {replica} differ at last: {differs:?}");
                    return self.violate("replicas_agree", message);
                }
            }
            self.counts.add("records at last", log.len() as u64);
            if self.group_keys.contains(&key) {
                continue;
            }
            let once = appears_once(&name, log, is_idempotent);
            let kept = self.laws.acknowledged.check(key, &name, log);
            if !self.laws.is_lossy {
                self.hold(once);
                self.hold(kept);
            }
        }
    }
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}
