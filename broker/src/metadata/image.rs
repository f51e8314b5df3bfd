//! The image: all metadata at one point of the quorum's log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_control::settings::{self, Scope};
use flotilla_protocol::{BrokerId, PartitionIndex, Uuid};
use imbl::{OrdMap, OrdSet};

use super::{
    Acl, Broker, BrokerPlacement, DelegationToken, Partition, ResourceType, ScramCredential, ScramMechanism,
    Topic, User,
};

/// Whom a quota binds: `user`, `client-id` or `ip` to a name, `None` for the default (KIP-546).
pub type QuotaKey = BTreeMap<String, Option<String>>;

/// The rules of one resource type and pattern type, by the name in the pattern, then by id.
pub(super) type AclsByName = OrdMap<String, OrdMap<Uuid, Arc<Acl>>>;

/// All metadata at one point of the quorum's log. A clone shares everything with its original.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub(super) features: OrdMap<String, i32>,
    pub(super) brokers: OrdMap<BrokerId, Arc<Broker>>,
    pub(super) placements: OrdMap<BrokerId, Arc<BrokerPlacement>>,
    pub(super) draining: OrdSet<BrokerId>,
    pub(super) restart_grants: OrdMap<BrokerId, i64>,
    pub(super) topics: OrdMap<String, Arc<Topic>>,
    pub(super) topic_names: OrdMap<Uuid, String>,
    pub(super) configs: OrdMap<ResourceType, OrdMap<String, Arc<BTreeMap<String, String>>>>,
    pub(super) scram: OrdMap<String, OrdMap<ScramMechanism, Arc<ScramCredential>>>,
    pub(super) users: OrdMap<String, Arc<User>>,
    pub(super) acls: OrdMap<Uuid, Arc<Acl>>,
    pub(super) acls_by_pattern: OrdMap<(i32, i32), AclsByName>,
    pub(super) quotas: OrdMap<QuotaKey, Arc<BTreeMap<String, f64>>>,
    pub(super) tokens: OrdMap<String, Arc<DelegationToken>>,
    pub(super) next_producer_id: i64,
    pub(super) secret: Arc<[u8]>,
}

/// Brokers.
impl Image {
    /// All registered brokers, by id.
    pub fn brokers(&self) -> impl DoubleEndedIterator<Item = &Arc<Broker>> + '_ {
        self.brokers.values()
    }

    /// A registered broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// Whether a broker is registered, unfenced and not stopping: it may lead and be in sync (KIP-841).
    #[must_use]
    pub fn is_alive(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_alive())
    }

    /// What the operator said of a broker, registered or not.
    #[must_use]
    pub fn placement(&self, id: BrokerId) -> Option<&BrokerPlacement> {
        self.placements.get(&id).map(AsRef::as_ref)
    }

    /// Whether a broker gets no new replicas, because it is being emptied.
    #[must_use]
    pub fn is_draining(&self, id: BrokerId) -> bool {
        self.draining.contains(&id)
    }

    /// The brokers of which the operator said something, registered or not.
    #[must_use]
    pub fn cared_for(&self) -> BTreeSet<BrokerId> {
        let placed = self.placements.keys().chain(self.restart_grants.keys());
        placed.chain(self.draining.iter()).copied().collect()
    }

    /// Until when a broker may be restarted (milliseconds since 1970), expired or not.
    #[must_use]
    pub fn restart_grant(&self, id: BrokerId) -> Option<i64> {
        self.restart_grants.get(&id).copied()
    }

    /// Brokers that may be restarted, and when that ends (milliseconds since 1970), expired or not.
    pub fn restart_grants(&self) -> impl Iterator<Item = (BrokerId, i64)> + '_ {
        self.restart_grants
            .iter()
            .map(|(id, expires_ms)| (*id, *expires_ms))
    }
}

/// Topics.
impl Image {
    /// All topics, by name.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &Arc<Topic>> + '_ {
        self.topics.values()
    }

    /// A topic by its name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// A topic by its id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topic(self.topic_names.get(&id)?)
    }

    /// A partition by its topic's name.
    #[must_use]
    pub fn partition(&self, topic: &str, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.topic(topic)?.partition(index)
    }

    /// All partitions of all topics.
    pub fn partitions(&self) -> impl Iterator<Item = (&Arc<Topic>, PartitionIndex, &Arc<Partition>)> + '_ {
        self.topics().flat_map(|topic| {
            topic
                .partitions()
                .map(move |(index, partition)| (topic, index, partition))
        })
    }
}

/// Settings.
impl Image {
    /// What is set on a resource; `None` when nothing is. Type BROKER with an empty name is the cluster's default.
    #[must_use]
    pub fn config(&self, resource: ResourceType, name: &str) -> Option<&BTreeMap<String, String>> {
        self.configs.get(&resource)?.get(name).map(AsRef::as_ref)
    }

    /// All resources of a type that have settings.
    pub fn configs(
        &self,
        resource: ResourceType,
    ) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> + '_ {
        self.configs.get(&resource).into_iter().flat_map(|of_type| {
            of_type
                .iter()
                .map(|(name, config)| (name.as_str(), config.as_ref()))
        })
    }

    /// One setting of a broker, set while it runs: on the broker itself, else on the cluster. `None`: neither, so that
    /// its file or the default holds.
    #[must_use]
    pub fn broker_setting(&self, broker: BrokerId, key: &str) -> Option<&str> {
        let own = self
            .config(ResourceType::Broker, &broker.to_string())
            .and_then(|config| config.get(key));
        own.map(String::as_str).or_else(|| self.cluster_setting(key))
    }

    /// One setting of the whole cluster, set while it runs.
    #[must_use]
    pub fn cluster_setting(&self, key: &str) -> Option<&str> {
        self.config(ResourceType::Broker, "")?
            .get(key)
            .map(String::as_str)
    }

    /// One setting of a topic: its own, else what stands in for it in its brokers' settings (as `static_setting` answers
    /// where nothing is set for the whole cluster while it runs), else the default. `None` for an unknown setting only.
    #[must_use]
    pub fn topic_setting(
        &self,
        topic: &str,
        key: &str,
        static_setting: &dyn Fn(&str) -> Option<String>,
    ) -> Option<String> {
        if let Some(own) = self
            .config(ResourceType::Topic, topic)
            .and_then(|config| config.get(key))
        {
            return Some(own.clone());
        }
        let broker = |name: &str| {
            self.cluster_setting(name)
                .map(str::to_owned)
                .or_else(|| static_setting(name))
        };
        settings::find(Scope::Topic, key)?.inherited(&broker)
    }

    /// The level that a feature is finalized at; `None`: not finalized.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<i32> {
        self.features.get(name).copied()
    }

    /// All finalized features.
    pub fn features(&self) -> impl Iterator<Item = (&str, i32)> + '_ {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// Where the next block of producer ids begins.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }
}

/// Users, rules and quotas.
impl Image {
    /// A user that a User resource declares.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(AsRef::as_ref)
    }

    /// All users that User resources declare.
    pub fn users(&self) -> impl Iterator<Item = &User> + '_ {
        self.users.values().map(AsRef::as_ref)
    }

    /// The credential of a user for a mechanism.
    #[must_use]
    pub fn scram(&self, user: &str, mechanism: ScramMechanism) -> Option<&ScramCredential> {
        self.scram.get(user)?.get(&mechanism).map(AsRef::as_ref)
    }

    /// All credentials, by user and mechanism.
    pub fn scram_credentials(&self) -> impl Iterator<Item = &ScramCredential> + '_ {
        self.scram
            .values()
            .flat_map(|of_user| of_user.values().map(AsRef::as_ref))
    }

    /// All rules.
    pub fn acls(&self) -> impl Iterator<Item = &Acl> + '_ {
        self.acls.values().map(AsRef::as_ref)
    }

    /// Whether another image has the very same rules. Cheap; where it says no, they may still be equal.
    #[must_use]
    pub fn shares_rules(&self, other: &Self) -> bool {
        self.acls.ptr_eq(&other.acls)
    }

    /// The rules whose pattern covers a resource: its very name, `*`, or a prefix of it (KIP-290). Numbers are Kafka's.
    /// The cost grows with the length of the name and the number of rules found, not with the number of rules there are.
    pub fn acls_on<'a>(&'a self, resource_type: i32, name: &'a str) -> impl Iterator<Item = &'a Acl> + 'a {
        const LITERAL: i32 = 3;
        const PREFIXED: i32 = 4;
        let literal = self.acls_by_pattern.get(&(resource_type, LITERAL));
        let prefixed = self.acls_by_pattern.get(&(resource_type, PREFIXED));
        let wildcard = (name != "*").then_some("*");
        let exact = literal.into_iter().flat_map(move |by_name| {
            [Some(name), wildcard]
                .into_iter()
                .flatten()
                .filter_map(|key| by_name.get(key))
        });
        let by_prefix = prefixed.into_iter().flat_map(move |by_name| {
            let ends = name.char_indices().map(|(at, _)| at).skip(1).chain([name.len()]);
            ends.filter_map(move |end| by_name.get(&name[..end]))
        });
        exact
            .chain(by_prefix)
            .flat_map(|found| found.values().map(AsRef::as_ref))
    }

    /// A delegation token by its id, whether it still holds or not.
    #[must_use]
    pub fn token(&self, id: &str) -> Option<&Arc<DelegationToken>> {
        self.tokens.get(id)
    }

    /// All delegation tokens that have not been removed yet, by id.
    pub fn tokens(&self) -> impl Iterator<Item = &DelegationToken> + '_ {
        self.tokens.values().map(AsRef::as_ref)
    }

    /// Known to all brokers and to nobody else. Empty until the first broker has registered.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// What binds whom.
    pub fn quotas(&self) -> impl Iterator<Item = (&QuotaKey, &BTreeMap<String, f64>)> + '_ {
        self.quotas.iter().map(|(key, values)| (key, values.as_ref()))
    }

    /// Whether anybody is bound by a quota.
    #[must_use]
    pub fn has_quotas(&self) -> bool {
        !self.quotas.is_empty()
    }

    /// Whether the quotas are those of the other image: then they need not be looked at again.
    #[must_use]
    pub fn shares_quotas(&self, other: &Self) -> bool {
        self.quotas.ptr_eq(&other.quotas)
    }

    /// The quotas of exactly one entity.
    #[must_use]
    pub fn quota(&self, entity: &QuotaKey) -> Option<&BTreeMap<String, f64>> {
        self.quotas.get(entity).map(AsRef::as_ref)
    }
}
