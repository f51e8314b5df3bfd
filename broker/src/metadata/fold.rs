//! Records into an image, and an image into records.

use std::collections::BTreeMap;
use std::sync::Arc;

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::{BrokerId, PartitionIndex, Uuid};
use imbl::OrdMap;

use super::broker::{check_endpoint, uuid};
use super::{Broker, Fact, Image, Partition, QuotaKey, Record, ResourceType, ScramMechanism, Topic};

/// A record that this version does not understand. Skipping it would let images drift apart, so the broker must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a metadata record is not understood ({0}): it was written by a newer version, or the log is damaged"
)]
pub struct UnknownRecord(pub &'static str);

impl Image {
    /// Takes a committed record in. Folding the same record again changes nothing.
    ///
    /// # Errors
    /// When the record is not understood; the image is then as it was.
    pub fn fold(&mut self, record: &Record) -> Result<(), UnknownRecord> {
        match record
            .record
            .as_ref()
            .ok_or(UnknownRecord("of an unknown kind"))?
        {
            Fact::FeatureLevel(feature) => self.fold_feature(feature),
            Fact::Broker(broker) => self.fold_broker(broker)?,
            Fact::RemoveBroker(removed) => self.fold_remove_broker(BrokerId(removed.broker_id)),
            Fact::BrokerPlacement(placement) => self.fold_placement(placement)?,
            Fact::Topic(topic) => self.fold_topic(topic)?,
            Fact::RemoveTopic(removed) => self.fold_remove_topic(uuid(&removed.topic_id, "topic id")?),
            Fact::Partition(partition) => self.fold_partition(partition)?,
            Fact::Config(config) => self.fold_config(config)?,
            Fact::ScramCredential(credential) => self.fold_scram(credential)?,
            Fact::RemoveScramCredential(removed) => self.fold_remove_scram(removed)?,
            Fact::User(user) => drop(self.users.insert(user.name.clone(), Arc::new(user.clone()))),
            Fact::RemoveUser(user) => drop(self.users.remove(&user.name)),
            Fact::Acl(acl) => self.fold_acl(acl)?,
            Fact::RemoveAcl(removed) => self.fold_remove_acl(uuid(&removed.id, "ACL id")?),
            Fact::ClientQuota(quota) => self.fold_quota(quota),
            Fact::DelegationToken(token) => {
                drop(self.tokens.insert(token.id.clone(), Arc::new(token.clone())));
            }
            Fact::RemoveDelegationToken(removed) => drop(self.tokens.remove(&removed.id)),
            Fact::Secret(secret) => self.secret = secret.bytes.as_slice().into(),
            Fact::ProducerIds(block) => self.next_producer_id = block.next_producer_id,
            Fact::Drain(drain) => self.fold_drain(drain),
            Fact::RestartGrant(grant) => self.fold_restart_grant(grant),
        }
        Ok(())
    }

    /// Takes several records in, in order.
    ///
    /// # Errors
    /// At the first record that is not understood; those before it have been taken in.
    pub fn fold_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), UnknownRecord> {
        records.into_iter().try_for_each(|record| self.fold(record))
    }

    fn fold_feature(&mut self, feature: &proto::FeatureLevel) {
        // Level 0 says something, too: the feature is off.
        if feature.level < 0 {
            self.features.remove(&feature.name);
        } else {
            self.features.insert(feature.name.clone(), feature.level);
        }
    }

    fn fold_broker(&mut self, record: &proto::Broker) -> Result<(), UnknownRecord> {
        let id = BrokerId(record.broker_id);
        let broker = Broker::from_record(record, self.placements.get(&id).cloned())?;
        self.brokers.insert(id, Arc::new(broker));
        Ok(())
    }

    fn fold_remove_broker(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
        self.placements.remove(&id);
        self.draining.remove(&id);
        self.restart_grants.remove(&id);
    }

    fn fold_placement(&mut self, placement: &proto::BrokerPlacement) -> Result<(), UnknownRecord> {
        placement.endpoints.iter().try_for_each(check_endpoint)?;
        let id = BrokerId(placement.broker_id);
        let placement = Arc::new(placement.clone());
        if let Some(broker) = self.brokers.get_mut(&id) {
            Arc::make_mut(broker).placement = Some(placement.clone());
        }
        self.placements.insert(id, placement);
        Ok(())
    }

    fn fold_topic(&mut self, record: &proto::Topic) -> Result<(), UnknownRecord> {
        let id = uuid(&record.topic_id, "topic id")?;
        let partitions = match self.topics.get(&record.name) {
            Some(known) if known.id == id => known.partitions.clone(),
            Some(_) => return Err(UnknownRecord("a topic with the name of another one")),
            None => OrdMap::new(),
        };
        let topic = Topic {
            name: record.name.clone(),
            id,
            owner: record.owner.clone(),
            partitions,
        };
        self.topic_names.insert(id, record.name.clone());
        self.topics.insert(record.name.clone(), Arc::new(topic));
        Ok(())
    }

    fn fold_remove_topic(&mut self, id: Uuid) {
        if let Some(name) = self.topic_names.remove(&id) {
            self.topics.remove(&name);
            self.remove_resource(ResourceType::Topic, &name);
        }
    }

    fn fold_partition(&mut self, record: &proto::Partition) -> Result<(), UnknownRecord> {
        let id = uuid(&record.topic_id, "topic id")?;
        let partition = Partition::from_record(record)?;
        let topic = self
            .topic_names
            .get(&id)
            .and_then(|name| self.topics.get_mut(name))
            .ok_or(UnknownRecord("a partition of a topic that does not exist"))?;
        Arc::make_mut(topic)
            .partitions
            .insert(PartitionIndex(record.partition), Arc::new(partition));
        Ok(())
    }

    fn fold_config(&mut self, record: &proto::Config) -> Result<(), UnknownRecord> {
        let resource = ResourceType::try_from(record.resource_type)
            .map_err(|_| UnknownRecord("config resource type"))?;
        let of_type = self.configs.entry(resource).or_default();
        let config = Arc::make_mut(of_type.entry(record.resource_name.clone()).or_default());
        match &record.value {
            Some(value) => drop(config.insert(record.key.clone(), value.clone())),
            None => drop(config.remove(&record.key)),
        }
        if config.is_empty() {
            self.remove_resource(resource, &record.resource_name);
        }
        Ok(())
    }

    fn remove_resource(&mut self, resource: ResourceType, name: &str) {
        if let Some(of_type) = self.configs.get_mut(&resource) {
            of_type.remove(name);
            if of_type.is_empty() {
                self.configs.remove(&resource);
            }
        }
    }

    fn fold_scram(&mut self, record: &proto::ScramCredential) -> Result<(), UnknownRecord> {
        let mechanism = mechanism(record.mechanism)?;
        let of_user = self.scram.entry(record.user.clone()).or_default();
        of_user.insert(mechanism, Arc::new(record.clone()));
        Ok(())
    }

    fn fold_remove_scram(&mut self, record: &proto::RemoveScramCredential) -> Result<(), UnknownRecord> {
        let mechanism = mechanism(record.mechanism)?;
        if let Some(of_user) = self.scram.get_mut(&record.user) {
            of_user.remove(&mechanism);
            if of_user.is_empty() {
                self.scram.remove(&record.user);
            }
        }
        Ok(())
    }

    fn fold_acl(&mut self, record: &proto::Acl) -> Result<(), UnknownRecord> {
        let id = uuid(&record.id, "ACL id")?;
        self.fold_remove_acl(id);
        let acl = Arc::new(record.clone());
        let by_name = self
            .acls_by_pattern
            .entry((record.resource_type, record.pattern_type))
            .or_default();
        by_name
            .entry(record.resource_name.clone())
            .or_default()
            .insert(id, acl.clone());
        self.acls.insert(id, acl);
        Ok(())
    }

    fn fold_remove_acl(&mut self, id: Uuid) {
        let Some(acl) = self.acls.remove(&id) else { return };
        let pattern = (acl.resource_type, acl.pattern_type);
        let Some(by_name) = self.acls_by_pattern.get_mut(&pattern) else {
            return;
        };
        if let Some(same_name) = by_name.get_mut(&acl.resource_name) {
            same_name.remove(&id);
            if same_name.is_empty() {
                by_name.remove(&acl.resource_name);
            }
        }
        if by_name.is_empty() {
            self.acls_by_pattern.remove(&pattern);
        }
    }

    fn fold_quota(&mut self, record: &proto::ClientQuota) {
        let key: QuotaKey = record
            .entity
            .iter()
            .map(|part| (part.r#type.clone(), part.name.clone()))
            .collect();
        let values = Arc::make_mut(self.quotas.entry(key.clone()).or_default());
        match record.value {
            Some(value) => drop(values.insert(record.key.clone(), value)),
            None => drop(values.remove(&record.key)),
        }
        if values.is_empty() {
            self.quotas.remove(&key);
        }
    }

    fn fold_drain(&mut self, drain: &proto::Drain) {
        let id = BrokerId(drain.broker_id);
        if drain.draining {
            self.draining.insert(id);
        } else {
            self.draining.remove(&id);
        }
    }

    fn fold_restart_grant(&mut self, grant: &proto::RestartGrant) {
        let id = BrokerId(grant.broker_id);
        if grant.expires_ms == 0 {
            self.restart_grants.remove(&id);
        } else {
            self.restart_grants.insert(id, grant.expires_ms);
        }
    }
}

fn mechanism(number: i32) -> Result<ScramMechanism, UnknownRecord> {
    ScramMechanism::try_from(number).map_err(|_| UnknownRecord("SCRAM mechanism"))
}

impl Image {
    /// The whole image as records, in an order in which they can be folded: folding them into an empty image gives
    /// this one again.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut facts = Vec::new();
        for (name, level) in &self.features {
            facts.push(Fact::FeatureLevel(proto::FeatureLevel {
                name: name.clone(),
                level: *level,
            }));
        }
        self.broker_facts(&mut facts);
        for topic in self.topics.values() {
            facts.push(Fact::Topic(proto::Topic {
                name: topic.name.clone(),
                topic_id: topic.id.0.to_vec(),
                owner: topic.owner.clone(),
            }));
            facts.extend(
                topic
                    .partitions()
                    .map(|(index, state)| Fact::Partition(state.to_record(topic.id, index))),
            );
        }
        for (resource, of_type) in &self.configs {
            for (name, config) in of_type {
                facts.extend(
                    config
                        .iter()
                        .map(|(key, value)| config_fact(*resource, name, key, value)),
                );
            }
        }
        self.access_facts(&mut facts);
        if !self.secret.is_empty() {
            facts.push(Fact::Secret(proto::Secret {
                bytes: self.secret.to_vec(),
            }));
        }
        if self.next_producer_id != 0 {
            facts.push(Fact::ProducerIds(proto::ProducerIds {
                next_producer_id: self.next_producer_id,
            }));
        }
        facts
            .into_iter()
            .map(|fact| Record { record: Some(fact) })
            .collect()
    }

    fn broker_facts(&self, facts: &mut Vec<Fact>) {
        facts.extend(
            self.brokers
                .values()
                .map(|broker| Fact::Broker(broker.to_record())),
        );
        facts.extend(
            self.placements
                .values()
                .map(|placement| Fact::BrokerPlacement(placement.as_ref().clone())),
        );
        for id in &self.draining {
            facts.push(Fact::Drain(proto::Drain {
                broker_id: id.0,
                draining: true,
            }));
        }
        for (id, expires_ms) in &self.restart_grants {
            facts.push(Fact::RestartGrant(proto::RestartGrant {
                broker_id: id.0,
                expires_ms: *expires_ms,
            }));
        }
    }

    fn access_facts(&self, facts: &mut Vec<Fact>) {
        facts.extend(
            self.scram_credentials()
                .map(|credential| Fact::ScramCredential(credential.clone())),
        );
        facts.extend(self.users().map(|user| Fact::User(user.clone())));
        facts.extend(self.acls().map(|acl| Fact::Acl(acl.clone())));
        for (entity, values) in self.quotas() {
            facts.extend(
                values
                    .iter()
                    .map(|(key, value)| quota_fact(entity, key, Some(*value))),
            );
        }
        facts.extend(self.tokens().map(|token| Fact::DelegationToken(token.clone())));
    }
}

fn config_fact(resource: ResourceType, name: &str, key: &str, value: &str) -> Fact {
    Fact::Config(proto::Config {
        resource_type: resource.into(),
        resource_name: name.to_owned(),
        key: key.to_owned(),
        value: Some(value.to_owned()),
    })
}

/// One quota as a record; no value removes it.
pub(super) fn quota_fact(entity: &BTreeMap<String, Option<String>>, key: &str, value: Option<f64>) -> Fact {
    let entity = entity
        .iter()
        .map(|(r#type, name)| proto::QuotaEntity {
            r#type: r#type.clone(),
            name: name.clone(),
        })
        .collect();
    Fact::ClientQuota(proto::ClientQuota {
        entity,
        key: key.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::changed_partitions;

    fn record(fact: Fact) -> Record {
        Record { record: Some(fact) }
    }

    fn endpoint(listener: &str, host: &str) -> proto::Endpoint {
        proto::Endpoint {
            listener: listener.to_owned(),
            host: host.to_owned(),
            port: 9092,
            security_protocol: 0,
        }
    }

    fn broker(id: i32) -> Fact {
        Fact::Broker(proto::Broker {
            broker_id: id,
            broker_epoch: 7,
            incarnation_id: vec![1; 16],
            directory_id: vec![2; 16],
            endpoints: vec![endpoint("internal", "inside"), endpoint("external", "")],
            replication: Some(endpoint("replication", "inside")),
            control_address: "inside:1".to_owned(),
            rack: "a".to_owned(),
            roles: vec!["broker".to_owned()],
            fenced: false,
            in_controlled_shutdown: false,
            version: "0.1.0".to_owned(),
            flotilla_version_max: 1,
            storage_full: false,
        })
    }

    fn placement(id: i32) -> Fact {
        let endpoints = vec![endpoint("external", "outside")];
        Fact::BrokerPlacement(proto::BrokerPlacement {
            broker_id: id,
            rack: "b".to_owned(),
            endpoints,
        })
    }

    fn topic(name: &str, id: u8) -> Fact {
        Fact::Topic(proto::Topic {
            name: name.to_owned(),
            topic_id: vec![id; 16],
            owner: None,
        })
    }

    fn partition(topic: u8, index: i32, leader: i32) -> Fact {
        Fact::Partition(proto::Partition {
            topic_id: vec![topic; 16],
            partition: index,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            eligible_leader_replicas: vec![3],
            last_known_elr: vec![],
            leader,
            leader_epoch: 4,
            partition_epoch: 5,
            adding_replicas: vec![3],
            removing_replicas: vec![],
        })
    }

    fn config(resource: ResourceType, name: &str, value: Option<&str>) -> Fact {
        Fact::Config(proto::Config {
            resource_type: resource.into(),
            resource_name: name.to_owned(),
            key: "retention.ms".to_owned(),
            value: value.map(str::to_owned),
        })
    }

    fn acl(id: u8, pattern_type: i32, name: &str) -> Fact {
        Fact::Acl(proto::Acl {
            id: vec![id; 16],
            resource_type: 2,
            resource_name: name.to_owned(),
            pattern_type,
            principal: "User:checkout".to_owned(),
            host: "*".to_owned(),
            operation: 3,
            permission_type: 3,
        })
    }

    fn scram(mechanism: i32) -> Fact {
        Fact::ScramCredential(proto::ScramCredential {
            user: "checkout".to_owned(),
            mechanism,
            salt: vec![1],
            stored_key: vec![2],
            server_key: vec![3],
            iterations: 4096,
        })
    }

    fn of(facts: &[Fact]) -> Image {
        let mut image = Image::default();
        for fact in facts {
            image.fold(&record(fact.clone())).unwrap();
        }
        image
    }

    fn everything() -> Vec<Fact> {
        let entity: QuotaKey = BTreeMap::from([("user".to_owned(), None)]);
        vec![
            Fact::FeatureLevel(proto::FeatureLevel {
                name: "flotilla.version".to_owned(),
                level: 1,
            }),
            broker(1),
            placement(1),
            placement(2),
            Fact::Drain(proto::Drain {
                broker_id: 1,
                draining: true,
            }),
            Fact::RestartGrant(proto::RestartGrant {
                broker_id: 1,
                expires_ms: 99,
            }),
            topic("orders", 1),
            partition(1, 0, 1),
            partition(1, 1, -1),
            config(ResourceType::Topic, "orders", Some("1")),
            config(ResourceType::Broker, "", Some("2")),
            scram(1),
            scram(2),
            Fact::User(proto::User {
                name: "checkout".to_owned(),
                owner: None,
                authentication: "mtls".to_owned(),
                manages_acls: true,
                manages_quotas: true,
            }),
            acl(1, 3, "orders"),
            acl(2, 4, "ord"),
            quota_fact(&entity, "producer_byte_rate", Some(1.5)),
            Fact::DelegationToken(proto::DelegationToken {
                id: "token".to_owned(),
                owner: "checkout".to_owned(),
                requester: "admin".to_owned(),
                renewers: vec!["till".to_owned()],
                issue_ms: 1,
                expiry_ms: 2,
                max_ms: 3,
            }),
            Fact::Secret(proto::Secret { bytes: vec![7; 32] }),
            Fact::ProducerIds(proto::ProducerIds {
                next_producer_id: 1000,
            }),
        ]
    }

    #[test]
    fn an_image_read_back_from_its_records_is_the_same() {
        let image = of(&everything());
        let records: Vec<Record> = everything().into_iter().map(record).collect();
        assert_eq!(image.to_records(), records);
        let mut again = Image::default();
        again.fold_all(&image.to_records()).unwrap();
        assert_eq!(again, image);
        again.fold_all(&records).unwrap();
        assert_eq!(again, image);
    }

    #[test]
    fn removals_leave_nothing_behind() {
        let mut image = of(&everything());
        let entity: QuotaKey = BTreeMap::from([("user".to_owned(), None)]);
        let removals = [
            Fact::FeatureLevel(proto::FeatureLevel {
                name: "flotilla.version".to_owned(),
                level: -1,
            }),
            Fact::RemoveBroker(proto::RemoveBroker { broker_id: 1 }),
            Fact::RemoveBroker(proto::RemoveBroker { broker_id: 2 }),
            Fact::RemoveTopic(proto::RemoveTopic {
                topic_id: vec![1; 16],
            }),
            config(ResourceType::Broker, "", None),
            Fact::RemoveScramCredential(proto::RemoveScramCredential {
                user: "checkout".to_owned(),
                mechanism: 1,
            }),
            Fact::RemoveScramCredential(proto::RemoveScramCredential {
                user: "checkout".to_owned(),
                mechanism: 2,
            }),
            Fact::RemoveUser(proto::RemoveUser {
                name: "checkout".to_owned(),
            }),
            Fact::RemoveAcl(proto::RemoveAcl { id: vec![1; 16] }),
            Fact::RemoveAcl(proto::RemoveAcl { id: vec![2; 16] }),
            quota_fact(&entity, "producer_byte_rate", None),
            Fact::RemoveDelegationToken(proto::RemoveDelegationToken {
                id: "token".to_owned(),
            }),
            Fact::ProducerIds(proto::ProducerIds { next_producer_id: 0 }),
            Fact::Secret(proto::Secret { bytes: vec![] }),
        ];
        for removal in removals {
            image.fold(&record(removal)).unwrap();
        }
        assert_eq!(image, Image::default());
    }

    #[test]
    fn a_record_that_is_not_understood_is_an_error_and_changes_nothing() {
        let mut image = of(&everything());
        let before = image.clone();
        let broken = [
            Record { record: None },
            record(Fact::RemoveTopic(proto::RemoveTopic {
                topic_id: vec![1; 15],
            })),
            record(topic("orders", 2)),
            record(partition(9, 0, 1)),
            record(partition(1, -1, 1)),
            record(partition(1, 0, -2)),
            record(scram(9)),
            record(Fact::Config(proto::Config {
                resource_type: 77,
                ..proto::Config::default()
            })),
        ];
        for record in broken {
            assert!(image.fold(&record).is_err(), "{record:?}");
            assert_eq!(image, before);
        }
    }

    #[test]
    fn the_operators_rack_and_external_address_win() {
        let image = of(&[broker(1), broker(2), placement(1)]);
        let placed = image.broker(BrokerId(1)).unwrap();
        assert_eq!(placed.rack(), Some("b"));
        assert_eq!(
            placed.endpoint("external").map(|e| e.host.as_str()),
            Some("outside")
        );
        assert_eq!(
            placed.endpoint("internal").map(|e| e.host.as_str()),
            Some("inside")
        );
        let own = image.broker(BrokerId(2)).unwrap();
        assert_eq!(own.rack(), Some("a"));
        assert_eq!(own.endpoint("external"), None, "nobody has set its address yet");
        assert_eq!(own.endpoint("other"), None);
    }

    #[test]
    fn rules_on_a_name_its_prefixes_and_the_wildcard_are_found() {
        let names = [
            (1, 3, "orders"),
            (2, 3, "*"),
            (3, 4, "ord"),
            (4, 4, "orders"),
            (5, 4, "x"),
            (6, 3, "order"),
        ];
        let facts: Vec<Fact> = names
            .iter()
            .map(|(id, pattern, name)| acl(*id, *pattern, name))
            .collect();
        let image = of(&facts);
        let on = |name: &str| image.acls_on(2, name).map(|acl| acl.id[0]).collect::<Vec<_>>();
        assert_eq!(on("orders"), [1, 2, 3, 4]);
        assert_eq!(on("*"), [2]);
        assert_eq!(on("é"), [2]);
        assert_eq!(on(""), [2]);
        assert_eq!(image.acls_on(3, "orders").count(), 0);
    }

    #[test]
    fn a_topic_created_again_is_reported_gone_and_new() {
        let before = of(&[
            topic("kept", 3),
            partition(3, 0, 1),
            topic("orders", 1),
            partition(1, 0, 1),
        ]);
        let mut after = before.clone();
        for fact in [
            Fact::RemoveTopic(proto::RemoveTopic {
                topic_id: vec![1; 16],
            }),
            topic("orders", 2),
            partition(2, 0, 2),
            partition(3, 0, 2),
        ] {
            after.fold(&record(fact)).unwrap();
        }
        let seen: Vec<_> = changed_partitions(&before, &after)
            .into_iter()
            .map(|change| {
                let leader =
                    |state: Option<Arc<Partition>>| state.and_then(|state| state.leader).map(|id| id.0);
                (
                    change.topic,
                    change.topic_id.0[0],
                    leader(change.old),
                    leader(change.new),
                )
            })
            .collect();
        let expected = [
            ("kept".to_owned(), 3, Some(1), Some(2)),
            ("orders".to_owned(), 1, Some(1), None),
            ("orders".to_owned(), 2, None, Some(2)),
        ];
        assert_eq!(seen, expected);
        assert_eq!(changed_partitions(&after, &after), []);
    }
}
