//! The fleet as it says it is, kept up to date by its own stream of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use flotilla_control::BrokerId;
use flotilla_control::placement::{self, Placed};
use flotilla_control::proto::fleet::{TopicState, WatchRequest, WatchResponse};
use flotilla_control::proto::metadata::Broker;
use tokio::sync::watch;

use crate::fleet::{Access, answered};

/// How long to wait before a fleet is asked again that did not answer.
const PAUSE: Duration = Duration::from_millis(100);

/// The fleet at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By id.
    pub brokers: BTreeMap<i32, Broker>,
    /// By name.
    pub topics: BTreeMap<String, TopicState>,
    /// The broker that leads the quorum, where one does.
    pub controller: Option<i32>,
}

/// What is known of the fleet: nothing while it does not answer.
pub type Receiver = watch::Receiver<Option<Arc<View>>>;

impl View {
    fn apply(&mut self, change: WatchResponse) {
        if change.snapshot {
            *self = Self::default();
        }
        for broker in change.brokers {
            self.brokers.insert(broker.broker_id, broker);
        }
        for id in change.removed_brokers {
            self.brokers.remove(&id);
        }
        for state in change.topics {
            if let Some(topic) = &state.topic {
                self.topics.insert(topic.name.clone(), state);
            }
        }
        for name in change.removed_topics {
            self.topics.remove(&name);
        }
        if let Some(leader) = change.leader {
            self.controller = Some(leader.broker_id).filter(|id| *id >= 0);
        }
    }

    /// Whether a broker serves.
    pub fn online(&self, id: BrokerId) -> bool {
        self.brokers
            .get(&id.0)
            .is_some_and(|broker| !broker.fenced && !broker.in_controlled_shutdown)
    }

    /// Whether replicas are being moved.
    pub fn moving(&self) -> bool {
        self.topics
            .values()
            .flat_map(|topic| &topic.partitions)
            .any(|partition| !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty())
    }

    /// Whether every partition that the broker holds has it in sync.
    pub fn in_sync(&self, id: BrokerId) -> bool {
        self.topics
            .values()
            .flat_map(|topic| &topic.partitions)
            .filter(|partition| partition.replicas.contains(&id.0))
            .all(|partition| partition.isr.contains(&id.0))
    }

    /// Whether some partition is led by another than its preferred leader, though that one is in sync.
    pub fn askew(&self) -> bool {
        self.topics
            .values()
            .flat_map(|topic| &topic.partitions)
            .any(|partition| {
                partition
                    .replicas
                    .first()
                    .is_some_and(|first| *first != partition.leader && partition.isr.contains(first))
            })
    }

    /// What must move so that these brokers share all partitions evenly.
    pub fn rebalance(&self, brokers: &BTreeSet<BrokerId>) -> Result<Vec<placement::Move>, placement::Error> {
        let fleet = placement::Fleet {
            brokers: brokers
                .iter()
                .map(|id| placement::Broker {
                    id: *id,
                    rack: self
                        .brokers
                        .get(&id.0)
                        .map(|broker| broker.rack.clone())
                        .filter(|rack| !rack.is_empty()),
                    leaders: 0,
                    replicas: 0,
                    draining: false,
                    fenced: !self.online(*id),
                })
                .collect(),
            racks_required: false,
        };
        let placed: Vec<Placed> = self
            .topics
            .iter()
            .flat_map(|(name, state)| {
                state.partitions.iter().map(|partition| Placed {
                    topic: name.clone(),
                    partition: partition.partition,
                    replicas: partition.replicas.iter().copied().map(BrokerId).collect(),
                    bytes: 0,
                })
            })
            .collect();
        placement::rebalance(&fleet, &placed)
    }
}

/// Follows a fleet from now on, also through the times when it does not answer.
pub fn follow(access: Access) -> Receiver {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        while !sender.is_closed() {
            // Why is of no interest: while brokers start, nobody answers, and the brokers' logs say the rest.
            let _ = stream(&access, &sender).await;
            sender.send_replace(None);
            tokio::time::sleep(PAUSE).await;
        }
    });
    receiver
}

async fn stream(access: &Access, sender: &watch::Sender<Option<Arc<View>>>) -> anyhow::Result<()> {
    let mut client = access.connect().await?;
    let mut changes = answered(client.watch(WatchRequest {})).await?;
    let mut view = View::default();
    loop {
        let change = changes.message().await?.context("the broker ended the stream")?;
        view.apply(change);
        sender.send_replace(Some(Arc::new(view.clone())));
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::coordination::LeaderHint;
    use flotilla_control::proto::metadata::{Partition, Topic};

    use super::*;

    fn topic(name: &str, replicas: &[&[i32]]) -> TopicState {
        TopicState {
            topic: Some(Topic {
                name: name.to_owned(),
                ..Topic::default()
            }),
            partitions: replicas
                .iter()
                .enumerate()
                .map(|(place, replicas)| Partition {
                    partition: place as i32,
                    replicas: replicas.to_vec(),
                    isr: replicas.to_vec(),
                    ..Partition::default()
                })
                .collect(),
            configs: vec![],
        }
    }

    fn broker(broker_id: i32, fenced: bool) -> Broker {
        Broker {
            broker_id,
            fenced,
            ..Broker::default()
        }
    }

    #[test]
    fn changes_are_folded_and_a_snapshot_forgets_what_it_does_not_name() {
        let mut view = View::default();
        view.apply(WatchResponse {
            snapshot: true,
            brokers: vec![broker(0, false), broker(1, true)],
            topics: vec![topic("a", &[&[0]]), topic("b", &[&[1]])],
            leader: Some(LeaderHint {
                broker_id: 1,
                ..LeaderHint::default()
            }),
            ..WatchResponse::default()
        });
        assert_eq!(
            (view.online(BrokerId(0)), view.online(BrokerId(1))),
            (true, false)
        );
        view.apply(WatchResponse {
            brokers: vec![broker(1, false)],
            removed_brokers: vec![0],
            removed_topics: vec!["a".to_owned()],
            ..WatchResponse::default()
        });
        assert_eq!(view.brokers.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(view.topics.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(view.controller, Some(1));
        view.apply(WatchResponse {
            snapshot: true,
            ..WatchResponse::default()
        });
        assert!(view.brokers.is_empty() && view.topics.is_empty());
    }

    #[test]
    fn a_broker_that_joined_gets_partitions() {
        let mut view = View::default();
        view.apply(WatchResponse {
            snapshot: true,
            brokers: vec![broker(0, false), broker(1, false)],
            topics: vec![topic("a", &[&[0], &[0]])],
            ..WatchResponse::default()
        });
        let moves = view
            .rebalance(&BTreeSet::from([BrokerId(0), BrokerId(1)]))
            .unwrap();
        assert_eq!(moves.len(), 1);
        assert_eq!(moves[0].replicas, [BrokerId(1)]);
        assert!(!view.moving() && view.in_sync(BrokerId(0)));
    }
}
