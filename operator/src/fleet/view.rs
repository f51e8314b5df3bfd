use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_control::proto::fleet::{TopicState, UserState, WatchResponse};
use flotilla_control::proto::metadata::{Broker, BrokerPlacement, Partition};
use flotilla_control::{BrokerId, Uuid};
use imbl::OrdMap;

/// The fleet at one moment. A clone shares everything with its original, so that a change of one topic of ten thousand costs
/// no more than that topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// How far it is: grows with every change of the fleet's metadata.
    pub index: u64,
    /// The registered brokers, as they registered; [`View::rack`] says which rack holds.
    pub brokers: OrdMap<i32, Arc<Broker>>,
    /// By name.
    pub topics: OrdMap<String, Arc<TopicState>>,
    /// By name: those that User resources declare, and those that have a password.
    pub users: OrdMap<String, Arc<UserState>>,
    /// The finalized features with their levels.
    pub features: BTreeMap<String, i32>,
    /// The broker that leads the quorum, where one does.
    pub controller: Option<i32>,
    /// Who votes, each from which directory. Empty: not known.
    pub voters: BTreeMap<BrokerId, Uuid>,
    /// Rack and external addresses as `ApplyBroker` set them, of brokers that are registered or not.
    pub placements: BTreeMap<i32, Arc<BrokerPlacement>>,
    /// The brokers that are being emptied.
    pub draining: BTreeSet<i32>,
    /// The brokers that may be restarted, and when that ends (milliseconds since 1970), expired or not.
    pub grants: BTreeMap<i32, i64>,
    /// Settings of all brokers, made while they run.
    pub settings: BTreeMap<String, String>,
    /// Settings of single brokers, made while they run.
    pub broker_settings: BTreeMap<String, BTreeMap<String, String>>,
}

/// What changed in a fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It answers (again), or more changed than could be told one by one: anything may be different from what was known.
    Connected,
    /// It does not answer any more.
    Lost,
    /// Brokers, what was said of them, settings of brokers, features.
    Brokers,
    /// A topic: it appeared, changed or went.
    Topic(String),
    /// A user: it appeared, changed or went.
    User(String),
    /// Who leads the quorum, or who votes.
    Quorum,
}

impl View {
    /// Takes a message of the stream in, and says what changed.
    pub(super) fn apply(&mut self, message: WatchResponse) -> BTreeSet<What> {
        let mut changed = BTreeSet::new();
        if message.snapshot {
            *self = Self::default();
            changed.insert(What::Connected);
        }
        self.index = message.index;
        let brokers = !message.brokers.is_empty()
            || !message.removed_brokers.is_empty()
            || !message.broker_configs.is_empty()
            || !message.cares.is_empty()
            || !message.features.is_empty();
        if brokers {
            changed.insert(What::Brokers);
        }
        for broker in message.brokers {
            self.brokers.insert(broker.broker_id, Arc::new(broker));
        }
        for id in message.removed_brokers {
            self.brokers.remove(&id);
        }
        for care in message.cares {
            let id = care.broker_id;
            match care.placement {
                Some(placement) => drop(self.placements.insert(id, Arc::new(placement))),
                None => drop(self.placements.remove(&id)),
            }
            match care.draining {
                true => self.draining.insert(id),
                false => self.draining.remove(&id),
            };
            match care.restart_grant_expires_ms {
                0 => self.grants.remove(&id),
                expires_ms => self.grants.insert(id, expires_ms),
            };
        }
        for of_broker in message.broker_configs {
            let configs: BTreeMap<String, String> = of_broker
                .configs
                .into_iter()
                .filter_map(|config| Some((config.key, config.value?)))
                .collect();
            if of_broker.broker.is_empty() {
                self.settings = configs;
            } else if configs.is_empty() {
                self.broker_settings.remove(&of_broker.broker);
            } else {
                self.broker_settings.insert(of_broker.broker, configs);
            }
        }
        if !message.features.is_empty() {
            let features = message.features.into_iter();
            self.features = features.map(|feature| (feature.name, feature.level)).collect();
        }
        for mut state in message.topics {
            let Some(name) = state.topic.as_ref().map(|topic| topic.name.clone()) else {
                continue;
            };
            state.partitions.sort_by_key(|partition| partition.partition);
            for partition in &mut state.partitions {
                // The topic has it, and there may be very many partitions.
                partition.topic_id = Vec::new();
            }
            changed.insert(What::Topic(name.clone()));
            self.topics.insert(name, Arc::new(state));
        }
        for name in message.removed_topics {
            self.topics.remove(&name);
            changed.insert(What::Topic(name));
        }
        for state in message.users {
            if let Some(name) = state.user.as_ref().map(|user| user.name.clone()) {
                changed.insert(What::User(name.clone()));
                self.users.insert(name, Arc::new(state));
            }
        }
        for name in message.removed_users {
            self.users.remove(&name);
            changed.insert(What::User(name));
        }
        let quorum = (self.controller, self.voters.clone());
        if let Some(leader) = message.leader {
            self.controller = Some(leader.broker_id).filter(|id| *id >= 0);
        }
        if let Some(voting) = message.quorum {
            let voters = voting.voters.into_iter();
            self.voters = voters
                .map(|voter| {
                    let directory = Uuid::from_slice(&voter.directory_id).unwrap_or_default();
                    (BrokerId(voter.broker_id), directory)
                })
                .collect();
        }
        if quorum != (self.controller, self.voters.clone()) {
            changed.insert(What::Quorum);
        }
        // Everything is said by that one word.
        if changed.contains(&What::Connected) {
            changed.retain(|what| *what == What::Connected);
        }
        changed
    }

    /// A topic by its name in Kafka.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicState>> {
        self.topics.get(name)
    }

    /// A user by its name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Arc<UserState>> {
        self.users.get(name)
    }

    /// The directories of all registered brokers.
    #[must_use]
    pub fn directories(&self) -> BTreeMap<BrokerId, Uuid> {
        let registered = self.brokers.iter();
        registered
            .filter_map(|(id, broker)| Some((BrokerId(*id), Uuid::from_slice(&broker.directory_id)?)))
            .collect()
    }

    /// Whether a broker serves.
    #[must_use]
    pub fn online(&self, id: BrokerId) -> bool {
        self.brokers
            .get(&id.0)
            .is_some_and(|broker| !broker.fenced && !broker.in_controlled_shutdown)
    }

    /// Where a broker stands: as it was placed, else as its own configuration says.
    #[must_use]
    pub fn rack(&self, id: BrokerId) -> Option<&str> {
        let placed = self
            .placements
            .get(&id.0)
            .map(|placement| placement.rack.as_str());
        let own = self.brokers.get(&id.0).map(|broker| broker.rack.as_str());
        placed.into_iter().chain(own).find(|rack| !rack.is_empty())
    }

    /// The directory that a registered broker has now.
    #[must_use]
    pub fn directory(&self, id: BrokerId) -> Option<Uuid> {
        Uuid::from_slice(&self.brokers.get(&id.0)?.directory_id)
    }

    /// All partitions of all topics.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> + '_ {
        self.topics.values().flat_map(|topic| &topic.partitions)
    }

    /// Partitions whose replicas are on their way.
    #[must_use]
    pub fn moving(&self) -> usize {
        self.partitions().filter(|partition| is_moving(partition)).count()
    }

    /// Whether every partition that the broker holds has it in sync.
    #[must_use]
    pub fn in_sync(&self, id: BrokerId) -> bool {
        self.partitions()
            .filter(|partition| partition.replicas.contains(&id.0))
            .all(|partition| partition.isr.contains(&id.0))
    }

    /// Whether some partition is led by another than its preferred leader, though that one is in sync.
    #[must_use]
    pub fn askew(&self) -> bool {
        self.partitions().any(|partition| {
            partition
                .replicas
                .first()
                .is_some_and(|first| *first != partition.leader && partition.isr.contains(first))
        })
    }
}

/// Whether replicas of a partition are on their way (KIP-455).
#[must_use]
pub fn is_moving(partition: &Partition) -> bool {
    !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty()
}

/// The replicas that a partition has or is getting, those that go not counted; the preferred leader first.
pub fn target(partition: &Partition) -> impl Iterator<Item = BrokerId> + '_ {
    let stays = |id: &&i32| !partition.removing_replicas.contains(id);
    partition.replicas.iter().filter(stays).map(|id| BrokerId(*id))
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::coordination::{LeaderHint, Voter};
    use flotilla_control::proto::fleet::{BrokerCare, BrokerConfigs, Quorum};
    use flotilla_control::proto::metadata::{self, KeyValue};

    use super::*;

    fn topic(name: &str) -> TopicState {
        TopicState {
            topic: Some(metadata::Topic {
                name: name.to_owned(),
                ..metadata::Topic::default()
            }),
            ..TopicState::default()
        }
    }

    fn broker(broker_id: i32, fenced: bool) -> Broker {
        Broker {
            broker_id,
            fenced,
            rack: "own".to_owned(),
            ..Broker::default()
        }
    }

    fn set<const N: usize>(what: [What; N]) -> BTreeSet<What> {
        BTreeSet::from(what)
    }

    fn named(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn changes_are_folded_and_a_snapshot_forgets_what_it_does_not_name() {
        let mut view = View::default();
        let changed = view.apply(WatchResponse {
            snapshot: true,
            index: 7,
            brokers: vec![broker(0, false), broker(1, true)],
            topics: vec![topic("a"), topic("b")],
            leader: Some(LeaderHint {
                broker_id: 1,
                ..LeaderHint::default()
            }),
            ..WatchResponse::default()
        });
        assert_eq!(changed, set([What::Connected]));
        assert_eq!(
            (view.online(BrokerId(0)), view.online(BrokerId(1)), view.index),
            (true, false, 7)
        );
        let before = view.clone();
        let changed = view.apply(WatchResponse {
            index: 8,
            brokers: vec![broker(1, false)],
            removed_brokers: vec![0],
            removed_topics: vec![named("a")],
            ..WatchResponse::default()
        });
        assert_eq!(changed, set([What::Brokers, What::Topic(named("a"))]));
        assert_eq!(view.brokers.keys().collect::<Vec<_>>(), [&1]);
        assert_eq!(view.topics.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(view.controller, Some(1));
        assert!(
            before.topic("a").is_some(),
            "who looked before sees what was there"
        );
        view.apply(WatchResponse {
            snapshot: true,
            ..WatchResponse::default()
        });
        assert_eq!(view, View::default());
    }

    #[test]
    fn what_was_said_of_brokers_is_seen_and_taken_back() {
        let mut view = View::default();
        let care = BrokerCare {
            broker_id: 1,
            placement: Some(BrokerPlacement {
                broker_id: 1,
                rack: named("zone-a"),
                endpoints: vec![],
            }),
            draining: true,
            restart_grant_expires_ms: 5,
        };
        let configs = |broker: &str, value: Option<&str>| BrokerConfigs {
            broker: broker.to_owned(),
            configs: value
                .map(|value| KeyValue {
                    key: named("k"),
                    value: Some(value.to_owned()),
                })
                .into_iter()
                .collect(),
        };
        let changed = view.apply(WatchResponse {
            brokers: vec![broker(1, false), broker(2, false)],
            cares: vec![care],
            broker_configs: vec![configs("", Some("all")), configs("1", Some("one"))],
            ..WatchResponse::default()
        });
        assert_eq!(changed, set([What::Brokers]));
        assert_eq!(
            (view.rack(BrokerId(1)), view.rack(BrokerId(2))),
            (Some("zone-a"), Some("own"))
        );
        assert_eq!(
            (view.draining.contains(&1), view.grants.get(&1)),
            (true, Some(&5))
        );
        assert_eq!(view.settings.get("k").map(String::as_str), Some("all"));
        assert_eq!(view.broker_settings.len(), 1);
        view.apply(WatchResponse {
            cares: vec![BrokerCare {
                broker_id: 1,
                ..BrokerCare::default()
            }],
            broker_configs: vec![configs("", None), configs("1", None)],
            ..WatchResponse::default()
        });
        assert_eq!(view.rack(BrokerId(1)), Some("own"));
        assert!(view.draining.is_empty() && view.grants.is_empty() && view.placements.is_empty());
        assert!(view.settings.is_empty() && view.broker_settings.is_empty());
    }

    #[test]
    fn users_and_the_quorum_are_seen() {
        let mut view = View::default();
        let user = UserState {
            user: Some(metadata::User {
                name: named("checkout"),
                ..metadata::User::default()
            }),
            ..UserState::default()
        };
        let changed = view.apply(WatchResponse {
            users: vec![user.clone()],
            quorum: Some(Quorum {
                voters: vec![Voter {
                    broker_id: 2,
                    directory_id: vec![3; 16],
                    ..Voter::default()
                }],
            }),
            ..WatchResponse::default()
        });
        assert_eq!(changed, set([What::User(named("checkout")), What::Quorum]));
        assert_eq!(view.voters, BTreeMap::from([(BrokerId(2), Uuid([3; 16]))]));
        assert_eq!(**view.user("checkout").unwrap(), user);
        let changed = view.apply(WatchResponse {
            index: 1,
            ..WatchResponse::default()
        });
        assert_eq!((changed, view.voters.len()), (set([]), 1));
    }
}
