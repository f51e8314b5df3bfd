//! Which brokers may be down together, and why not the others.

use std::collections::BTreeSet;

use flotilla_control::proto::metadata::TopicPartition;
use flotilla_protocol::BrokerId;

use super::{Broker, Image};

/// What it would mean if some brokers were down now, besides those that are down already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outage {
    /// Partitions that would have fewer in sync than their effective minimum, `min(factor, min.insync.replicas)`, though
    /// they have replicas to spare: reason enough to wait.
    pub below_minimum: Vec<TopicPartition>,
    /// Partitions whose factor is no more than their minimum: they are out of service meanwhile whatever is done.
    pub unavailable: Vec<TopicPartition>,
    /// Whether the quorum would lose its majority. A quorum of one never keeps it, and does not count.
    pub quorum_lost: bool,
}

impl Outage {
    /// Whether the brokers may go.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.below_minimum.is_empty() && !self.quorum_lost
    }
}

/// What a set of brokers being down would mean. `static_setting` is what the configuration file says of a broker setting.
#[must_use]
pub fn outage(
    image: &Image,
    down: &BTreeSet<BrokerId>,
    voters: &[BrokerId],
    static_setting: &dyn Fn(&str) -> Option<String>,
) -> Outage {
    let mut outage = Outage {
        quorum_lost: loses_quorum(image, down, voters),
        ..Outage::default()
    };
    for topic in image.topics() {
        let mut minimum = None;
        for (index, partition) in topic.partitions() {
            if !partition.replicas.iter().any(|replica| down.contains(replica)) {
                continue;
            }
            let minimum = *minimum.get_or_insert_with(|| {
                let value = image.topic_setting(&topic.name, "min.insync.replicas", static_setting);
                value.and_then(|value| value.parse::<usize>().ok()).unwrap_or(1)
            });
            let named = || TopicPartition {
                topic: topic.name.clone(),
                partition: index.0,
            };
            let left = partition
                .isr
                .iter()
                .filter(|replica| !down.contains(replica))
                .count();
            if partition.replicas.len() <= minimum {
                outage.unavailable.push(named());
            } else if left < minimum {
                outage.below_minimum.push(named());
            }
        }
    }
    outage
}

fn loses_quorum(image: &Image, down: &BTreeSet<BrokerId>, voters: &[BrokerId]) -> bool {
    let up = |voter: &&BrokerId| {
        !down.contains(voter) && image.broker(**voter).is_some_and(|broker| !broker.fenced)
    };
    voters.len() > 1
        && voters.iter().any(|voter| down.contains(voter))
        && voters.iter().filter(up).count() * 2 <= voters.len()
}

/// Brokers that may be down together, and what is out of service meanwhile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In the order in which they were asked for.
    pub brokers: Vec<BrokerId>,
    /// Partitions with no replicas to spare.
    pub unavailable: Vec<TopicPartition>,
}

/// A broker that may not go down now.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocked {
    /// Which.
    pub broker: BrokerId,
    /// Why, and what to wait for.
    pub reason: String,
    /// The partitions that need it.
    pub partitions: Vec<TopicPartition>,
}

/// How to restart brokers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// One after the other; each needs the brokers of the one before to be back and in sync.
    pub batches: Vec<Batch>,
    /// Those that cannot go now, not even alone.
    pub blocked: Vec<Blocked>,
}

/// Plans restarts of brokers, in the order in which they are named, as many at a time as keeps every partition at its
/// minimum and the quorum at its majority. Brokers that hold a grant which has not expired count as down.
#[must_use]
pub fn plan_restart(
    image: &Image,
    brokers: &[BrokerId],
    voters: &[BrokerId],
    now_ms: i64,
    static_setting: &dyn Fn(&str) -> Option<String>,
) -> Plan {
    let granted: BTreeSet<BrokerId> = granted(image, now_ms)
        .filter(|broker| !brokers.contains(broker))
        .collect();
    let outage_of = |batch: &[BrokerId]| {
        let down = batch.iter().chain(&granted).copied().collect();
        outage(image, &down, voters, static_setting)
    };
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for broker in brokers.iter().copied().filter(|broker| seen.insert(*broker)) {
        let alone = outage_of(&[broker]);
        // Who is down already takes nothing more away, whatever else is wrong.
        if !alone.is_safe() && image.is_alive(broker) {
            plan.blocked.push(blocked(broker, alone));
            continue;
        }
        let room = plan.batches.iter_mut().find_map(|batch| {
            let with = [batch.brokers.as_slice(), &[broker]].concat();
            let outage = outage_of(&with);
            outage.is_safe().then_some((batch, with, outage.unavailable))
        });
        match room {
            Some((batch, with, unavailable)) => {
                *batch = Batch {
                    brokers: with,
                    unavailable,
                }
            }
            None => plan.batches.push(Batch {
                brokers: vec![broker],
                unavailable: alone.unavailable,
            }),
        }
    }
    plan
}

fn blocked(broker: BrokerId, outage: Outage) -> Blocked {
    let reason = if outage.quorum_lost {
        "the quorum would lose its majority: wait until its other voters are back".to_owned()
    } else {
        format!(
            "{} partitions would fall below their minimum of in-sync replicas: wait until their other replicas are in sync",
            outage.below_minimum.len()
        )
    };
    Blocked {
        broker,
        reason,
        partitions: outage.below_minimum,
    }
}

/// The brokers that may be restarted at a time.
pub(super) fn granted(image: &Image, now_ms: i64) -> impl Iterator<Item = BrokerId> + '_ {
    image
        .restart_grants()
        .filter(move |(_, expires_ms)| *expires_ms > now_ms)
        .map(|(broker, _)| broker)
}

/// Whether a broker could take over now: it is alive and not among those that go.
pub(super) fn stays(broker: &Broker, going: &BTreeSet<BrokerId>) -> bool {
    broker.is_alive() && !going.contains(&broker.id)
}
