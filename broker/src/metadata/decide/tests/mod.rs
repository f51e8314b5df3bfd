//! Decisions, one file per family. A decision is shown as lines: one a record, then one for the answer and each item.

mod access;
mod brokers;
mod configs;
mod elections;
mod invariants;
mod resources;
mod restarts;
mod tokens;
mod topics;

use super::*;

/// A controller without a quorum: what it decides is committed at once.
pub(super) struct Fleet {
    pub image: Image,
    pub index: u64,
    pub now_ms: i64,
    pub ids: u8,
    pub settings: Vec<(&'static str, &'static str)>,
    pub voters: Vec<BrokerId>,
}

impl Fleet {
    /// Nobody is registered. The minimum of in-sync replicas is as the file says, and the brokers' secret is drawn.
    pub fn empty(min_insync_replicas: &'static str) -> Self {
        let mut image = Image::default();
        let secret = Fact::Secret(proto::Secret { bytes: vec![0; 32] });
        image.fold(&Record { record: Some(secret) }).unwrap();
        Self {
            image,
            index: 100,
            now_ms: 1_000,
            ids: 0,
            settings: vec![("min.insync.replicas", min_insync_replicas)],
            voters: Vec::new(),
        }
    }

    /// Brokers 0, 1, ... are registered and alive.
    pub fn of(brokers: i32, min_insync_replicas: &'static str) -> Self {
        let mut fleet = Self::empty(min_insync_replicas);
        for id in 0..brokers {
            fleet.start(id);
        }
        fleet
    }

    /// As [`Fleet::of`] with three brokers, and the topic `t` with one partition on 0, 1, 2.
    pub fn with_topic(min_insync_replicas: &'static str) -> Self {
        let mut fleet = Self::of(3, min_insync_replicas);
        fleet.create("t", &[&[0, 1, 2]]);
        fleet
    }

    pub fn dry(&mut self, validate_only: bool, asked: Asked) -> Decision {
        self.index += 1;
        let settings = self.settings.clone();
        let set = |key: &str| {
            settings
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| (*value).to_owned())
        };
        let ids = &mut self.ids;
        let mut fresh_id = || {
            *ids += 1;
            Uuid([*ids; 16])
        };
        let mut context = Context {
            now_ms: self.now_ms,
            index: self.index,
            settings: &set,
            voters: &self.voters,
            fresh_id: &mut fresh_id,
        };
        let request = Request {
            validate_only,
            request: Some(asked),
        };
        decide(&self.image, &request, &mut context)
    }

    /// Decides and commits.
    pub fn ask(&mut self, asked: Asked) -> Decision {
        let decision = self.dry(false, asked);
        self.image.fold_all(&decision.records).unwrap();
        decision
    }

    /// Decides, commits and shows.
    pub fn show(&mut self, asked: Asked) -> Vec<String> {
        let decision = self.ask(asked);
        self.shown(&decision)
    }

    pub fn register(&mut self, id: i32, incarnation: u8, directory: u8, clean: bool) -> Decision {
        self.ask(Asked::RegisterBroker(registration(
            id,
            incarnation,
            directory,
            clean,
        )))
    }

    /// Registers the next incarnation of a broker and brings it back.
    pub fn start(&mut self, id: i32) {
        let known = self
            .image
            .broker(BrokerId(id))
            .map_or(0, |broker| broker.incarnation.0[0]);
        self.register(id, known + 1, 10 + id as u8, false);
        self.beat(id);
    }

    pub fn heartbeat(&self, id: i32) -> proto::BrokerHeartbeat {
        proto::BrokerHeartbeat {
            broker_id: id,
            broker_epoch: self
                .image
                .broker(BrokerId(id))
                .map_or(-1, |broker| broker.epoch.0),
            applied_index: self.index,
            want_fence: false,
            want_shut_down: false,
            storage_full: false,
        }
    }

    pub fn beat(&mut self, id: i32) -> Vec<String> {
        let heartbeat = self.heartbeat(id);
        self.show(Asked::BrokerHeartbeat(heartbeat))
    }

    pub fn fence(&mut self, ids: &[i32]) -> Vec<String> {
        self.show(Asked::FenceBrokers(proto::FenceBrokers {
            broker_ids: ids.to_vec(),
        }))
    }

    pub fn create(&mut self, name: &str, assignments: &[&[i32]]) {
        let topic = proto::CreateTopic {
            name: name.to_owned(),
            partitions: -1,
            replication_factor: -1,
            assignments: assignments.iter().map(|ids| replicas(ids)).collect(),
            configs: Vec::new(),
        };
        let decision = self.ask(Asked::CreateTopics(proto::CreateTopics { topics: vec![topic] }));
        assert_eq!(decision.response.items[0].message, "");
    }

    pub fn set(
        &mut self,
        resource: proto::ResourceType,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) -> Vec<String> {
        let change = proto::AlterConfig {
            operation: i32::from(value.is_none()),
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        self.show(Asked::AlterConfigs(proto::AlterConfigs {
            resources: vec![proto::ResourceConfigs {
                resource_type: resource.into(),
                resource_name: name.to_owned(),
                changes: vec![change],
                replace: false,
            }],
        }))
    }

    /// AlterPartitions by the leader of `t`-0, as it knows the partition.
    pub fn alter_isr(&mut self, isr: &[i32]) -> Vec<String> {
        let request = self.isr_request(isr);
        self.show(Asked::AlterPartitions(request))
    }

    pub fn isr_request(&self, isr: &[i32]) -> proto::AlterPartitions {
        let topic = self.image.topic("t").unwrap();
        let partition = topic.partition(flotilla_protocol::PartitionIndex(0)).unwrap();
        let leader = partition.leader.unwrap();
        let epoch = |id: i32| {
            self.image
                .broker(BrokerId(id))
                .map_or(-1, |broker| broker.epoch.0)
        };
        let incarnation = |id: &i32| proto::BrokerIncarnation {
            broker_id: *id,
            broker_epoch: epoch(*id),
        };
        proto::AlterPartitions {
            broker_id: leader.0,
            broker_epoch: epoch(leader.0),
            partitions: vec![proto::AlterPartition {
                topic_id: topic.id.0.to_vec(),
                partition: 0,
                leader_epoch: partition.leader_epoch.0,
                partition_epoch: partition.partition_epoch,
                new_isr: isr.iter().map(incarnation).collect(),
            }],
        }
    }

    pub fn state(&self, topic: &str, index: i32) -> String {
        let partition = self
            .image
            .partition(topic, flotilla_protocol::PartitionIndex(index))
            .unwrap();
        shown_partition(partition)
    }

    pub fn shown(&self, decision: &Decision) -> Vec<String> {
        let mut lines: Vec<String> = decision
            .records
            .iter()
            .map(|record| self.shown_record(record))
            .collect();
        let response = &decision.response;
        assert_eq!(response.changed, !decision.records.is_empty());
        if response.refusal() != Refusal::None {
            lines.push(format!("{:?}: {}", response.refusal(), response.message));
        }
        for item in &response.items {
            let partition = if item.partition == 0 {
                String::new()
            } else {
                format!("-{}", item.partition)
            };
            match item.refusal() {
                Refusal::None => lines.push(format!("{}{partition} done", item.name)),
                refusal => lines.push(format!("{}{partition} {refusal:?}: {}", item.name, item.message)),
            }
        }
        if let Some(beat) = &response.heartbeat {
            let said = [
                (beat.caught_up, "caught up"),
                (beat.fenced, "fenced"),
                (beat.should_shut_down, "go"),
            ];
            let said: Vec<&str> = said
                .iter()
                .filter(|(holds, _)| *holds)
                .map(|(_, word)| *word)
                .collect();
            lines.push(format!("heartbeat: {}", said.join(", ")));
        }
        lines
    }

    fn shown_record(&self, record: &Record) -> String {
        match record.record.as_ref().unwrap() {
            Fact::Broker(broker) => {
                let state = match (broker.fenced, broker.in_controlled_shutdown) {
                    (true, _) => "fenced",
                    (false, true) => "stopping",
                    (false, false) => "alive",
                };
                format!("broker {} {state}", broker.broker_id)
            }
            Fact::Partition(state) => {
                let id = Uuid::from_slice(&state.topic_id).unwrap();
                let name = self
                    .image
                    .topic_by_id(id)
                    .map_or("?", |topic| topic.name.as_str());
                format!(
                    "{name}-{}: {}",
                    state.partition,
                    shown_partition(&Partition::from_record(state).unwrap())
                )
            }
            Fact::Config(config) => format!(
                "config {:?} `{}` {}={}",
                config.resource_type(),
                config.resource_name,
                config.key,
                config.value.as_deref().unwrap_or("(none)")
            ),
            Fact::Topic(topic) => format!(
                "topic {} {} owner {}",
                topic.name,
                topic.topic_id[0],
                topic.owner.as_ref().map_or("-", |owner| owner.uid.as_str())
            ),
            Fact::RemoveTopic(topic) => format!("remove topic {}", topic.topic_id[0]),
            Fact::RemoveBroker(broker) => format!("remove broker {}", broker.broker_id),
            Fact::RestartGrant(grant) => format!("grant {} until {}", grant.broker_id, grant.expires_ms),
            Fact::Acl(acl) => format!("acl {} {} on {}", acl.id[0], acl.principal, acl.resource_name),
            Fact::RemoveAcl(acl) => format!("remove acl {}", acl.id[0]),
            Fact::User(user) => format!("user {} {}", user.name, user.authentication),
            Fact::RemoveUser(user) => format!("remove user {}", user.name),
            Fact::ScramCredential(credential) => {
                format!("credential {} {:?}", credential.user, credential.mechanism())
            }
            Fact::RemoveScramCredential(credential) => {
                format!(
                    "remove credential {} {:?}",
                    credential.user,
                    credential.mechanism()
                )
            }
            Fact::FeatureLevel(feature) => format!("feature {} {}", feature.name, feature.level),
            Fact::ClientQuota(quota) => format!("quota {}={:?}", quota.key, quota.value),
            other => format!("{other:?}"),
        }
    }
}

/// `0 1 2 isr 0 1 elr 2 leader 0 epochs 3/4`: replicas, who is in sync and eligible, leader epoch and partition epoch.
fn shown_partition(partition: &Partition) -> String {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| format!(" {id}")).collect::<String>();
    let part = |name: &str, of: &[BrokerId]| {
        if of.is_empty() {
            String::new()
        } else {
            format!(" {name}{}", ids(of))
        }
    };
    format!(
        "{}{}{}{}{}{} leader {} epochs {}/{}",
        ids(&partition.replicas).trim_start(),
        part("adding", &partition.adding),
        part("removing", &partition.removing),
        part("isr", &partition.isr),
        part("elr", &partition.elr),
        part("last", &partition.last_known_elr),
        partition
            .leader
            .map_or("-".to_owned(), |leader| leader.to_string()),
        partition.leader_epoch,
        partition.partition_epoch
    )
}

pub(super) fn replicas(ids: &[i32]) -> proto::Replicas {
    proto::Replicas {
        broker_ids: ids.to_vec(),
    }
}

pub(super) fn registration(id: i32, incarnation: u8, directory: u8, clean: bool) -> proto::RegisterBroker {
    proto::RegisterBroker {
        broker: Some(proto::Broker {
            broker_id: id,
            incarnation_id: vec![incarnation; 16],
            directory_id: vec![directory; 16],
            roles: vec!["broker".to_owned()],
            version: "0.1.0".to_owned(),
            flotilla_version_max: 1,
            ..proto::Broker::default()
        }),
        cluster_id: String::new(),
        clean_shutdown: clean,
    }
}

#[test]
fn a_dry_run_decides_and_writes_nothing() {
    let mut fleet = Fleet::with_topic("1");
    let asked = Asked::FenceBrokers(proto::FenceBrokers { broker_ids: vec![0] });
    let decision = fleet.dry(true, asked);
    assert_eq!(
        decision,
        Decision {
            records: vec![],
            response: Response {
                changed: true,
                ..Response::default()
            }
        }
    );
}

#[test]
fn a_request_of_an_unknown_kind_is_refused() {
    let fleet = Fleet::empty("1");
    let mut context = Context {
        now_ms: 0,
        index: 0,
        settings: &|_| None,
        voters: &[],
        fresh_id: &mut || Uuid::ZERO,
    };
    let decision = decide(&fleet.image, &Request::default(), &mut context);
    assert_eq!(decision.response.refusal(), Refusal::InvalidRequest);
    assert_eq!(decision.records, []);
}
