//! From metadata to roles: what to lead, what to follow, what to store, what to drop.

use super::PartitionKey;
use super::hosted::{Became, Hosted};
use super::leadership::Role;
use super::replicas::{Replicas, log_config};
use super::volume::{Health, Volume};
use crate::log::{self, Log, OpenOptions, Storage};
use crate::metadata::{
    Broker, Image, Partition, PartitionChange, ResourceType, changed_brokers, changed_configs,
    changed_partitions,
};
use crate::partition::leader::{Assignment, Settings};
use flotilla_control::settings::{BrokerSettings, TopicConfig};
use flotilla_protocol::{BrokerEpoch, BrokerId, PartitionIndex, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Replicas {
    /// Makes all roles those of `new`. Does nothing before the metadata knows this incarnation of the broker: until then it
    /// speaks of one that is no more. Blocks: logs are created and deleted.
    pub fn apply(&self, new: &Arc<Image>) {
        let mut applied = self.inner.applied.lock();
        if self.inner.is_closed.load(Ordering::Acquire) {
            return;
        }
        let Some(own) = new
            .broker(self.broker())
            .filter(|own| own.incarnation == self.inner.incarnation)
        else {
            return;
        };
        let old = applied.clone();
        let me = (self.broker(), own.epoch);
        let configs = changed_configs(&old, new);
        if configs
            .iter()
            .any(|change| change.resource == ResourceType::Broker)
        {
            let settings = BrokerSettings::resolve(&|name| self.broker_setting(new, name));
            self.inner.settings.store(Arc::new(settings));
        }
        let (gone, changed): (Vec<_>, Vec<_>) = changed_partitions(&old, new)
            .into_iter()
            .partition(|change| !is_mine(change.new.as_deref(), me.0));
        for change in gone.iter().filter(|change| is_mine(change.old.as_deref(), me.0)) {
            self.drop_replica(key_of(change));
        }
        for change in gone.iter().filter(|change| change.new.is_none()) {
            self.inner.moves.forget_wish(key_of(change));
        }
        let mut configs_of = BTreeMap::new();
        for change in &changed {
            if let Some(partition) = &change.new {
                let config = configs_of
                    .entry(change.topic.clone())
                    .or_insert_with(|| Arc::new(self.topic_config(new, &change.topic)));
                self.take_role(me, new, key_of(change), &change.topic, partition, config);
            }
        }
        self.retry_missing(me, new);
        self.apply_configs(me, new, &configs);
        self.apply_brokers(me, &old, new);
        *applied = new.clone();
        if !own.fenced && !self.inner.is_settled.swap(true, Ordering::AcqRel) {
            self.drop_strays(new);
        }
    }

    /// Tries again to create logs that could not be created, such as on a full volume.
    fn retry_missing(&self, me: (BrokerId, BrokerEpoch), image: &Image) {
        let missing = std::mem::take(&mut *self.inner.missing.lock());
        for key in missing {
            let Some(topic) = image.topic_by_id(key.topic_id) else {
                continue;
            };
            if let Some(partition) = topic.partition(key.partition)
                && partition.is_replica(me.0)
            {
                let config = Arc::new(self.topic_config(image, &topic.name));
                self.take_role(me, image, key, &topic.name, partition, &config);
            }
        }
    }

    fn take_role(
        &self,
        me: (BrokerId, BrokerEpoch),
        image: &Image,
        key: PartitionKey,
        topic: &str,
        partition: &Partition,
        config: &Arc<TopicConfig>,
    ) {
        let hosted = match self.hosted(key) {
            Some(hosted) => {
                self.configure(&hosted, me, config);
                hosted
            }
            None => match self.create(key, topic, config) {
                Ok(hosted) => hosted,
                Err(error) => {
                    if self.inner.missing.lock().insert(key) {
                        tracing::error!(
                            topic,
                            partition = key.partition.0,
                            "the log cannot be created: {error}"
                        );
                    }
                    return;
                }
            },
        };
        hosted.set_in_sync(partition.isr.contains(&me.0));
        let became = match partition.leader {
            Some(leader) if leader == me.0 => {
                let became = hosted.lead(
                    me,
                    &assignment(image, partition),
                    settings_of(config, &self.settings()),
                );
                self.inner.fetchers.unassign(key);
                became
            }
            Some(leader) => {
                let became = hosted.follow(leader, partition.leader_epoch);
                self.inner.fetchers.assign(leader, &hosted, &self.settings());
                became
            }
            None => {
                self.inner.fetchers.unassign(key);
                hosted.idle()
            }
        };
        match became {
            Became::Leader(epoch) => self.tell(&hosted, Role::Leader(epoch)),
            Became::Follower => self.tell(&hosted, Role::Follower),
            Became::Same => {}
        }
    }

    fn tell(&self, hosted: &Hosted, role: Role) {
        self.inner
            .followers
            .lock()
            .tell(hosted.topic(), hosted.key(), role);
    }

    fn configure(&self, hosted: &Hosted, me: (BrokerId, BrokerEpoch), config: &Arc<TopicConfig>) {
        if **config != *hosted.config() {
            let settings = self.settings();
            hosted.configure(
                config.clone(),
                log_config(config, &settings),
                me,
                settings_of(config, &settings),
            );
        }
    }

    fn apply_configs(
        &self,
        me: (BrokerId, BrokerEpoch),
        new: &Image,
        changes: &[crate::metadata::ConfigChange],
    ) {
        let all = changes
            .iter()
            .any(|change| change.resource == ResourceType::Broker);
        let topics: BTreeSet<&str> = changes
            .iter()
            .filter(|change| change.resource == ResourceType::Topic)
            .map(|change| change.name.as_str())
            .collect();
        if !all && topics.is_empty() {
            return;
        }
        let mut resolved: BTreeMap<Arc<str>, Arc<TopicConfig>> = BTreeMap::new();
        for hosted in self.all() {
            if all || topics.contains(&**hosted.topic()) {
                let config = resolved
                    .entry(hosted.topic().clone())
                    .or_insert_with(|| Arc::new(self.topic_config(new, hosted.topic())));
                self.configure(&hosted, me, config);
            }
        }
    }

    /// A broker that came, went, or registered again may join in-sync sets, or must leave them.
    fn apply_brokers(&self, me: (BrokerId, BrokerEpoch), old: &Image, new: &Image) {
        let standing = |broker: Option<&Arc<Broker>>| {
            broker
                .filter(|broker| broker.is_alive())
                .map(|broker| broker.epoch)
        };
        let moved: Vec<BrokerId> = changed_brokers(old, new)
            .into_iter()
            .filter(|change| standing(change.old.as_ref()) != standing(change.new.as_ref()))
            .map(|change| change.id)
            .collect();
        if moved.is_empty() {
            return;
        }
        let i_moved = moved.contains(&me.0);
        for hosted in self.all() {
            let key = hosted.key();
            let Some(partition) = new
                .topic_by_id(key.topic_id)
                .and_then(|topic| topic.partition(key.partition))
            else {
                continue;
            };
            if partition.leader == Some(me.0)
                && (i_moved || partition.replicas.iter().any(|broker| moved.contains(broker)))
            {
                let settings = settings_of(&hosted.config(), &self.settings());
                hosted.lead(me, &assignment(new, partition), settings);
            }
        }
        self.inner.fetchers.brokers_moved(&moved);
    }

    fn create(
        &self,
        key: PartitionKey,
        topic: &str,
        config: &Arc<TopicConfig>,
    ) -> Result<Arc<Hosted>, log::Error> {
        self.drop_namesake(key, topic);
        let volume = &self.volume_of(key, topic);
        let options = OpenOptions {
            topic_id: key.topic_id,
            config: log_config(config, &self.settings()),
            now_ms: self.inner.shared.now_ms(),
            clean: false,
            start_offset: None,
            recovery_point: None,
        };
        let storage = Storage {
            disk: volume.files().disk().clone(),
            tail: self.inner.tail.clone(),
        };
        let dir = volume.files().partition_dir(topic, key.partition);
        let (log, _) =
            Log::open(&storage, &dir, options, &mut |_| {}).inspect_err(|error| volume.note(error))?;
        let hosted = Hosted::new(
            key,
            topic.into(),
            volume.clone(),
            self.inner.shared.clone(),
            config.clone(),
            log,
            flotilla_protocol::Offset(0),
        );
        self.inner.partitions.write().insert(key, hosted.clone());
        self.inner.moves.forget_wish(key);
        Ok(hosted)
    }

    /// Where the partition's directory is already, though it could not say whose it is; else where somebody wants it to be, else the
    /// emptiest.
    fn volume_of(&self, key: PartitionKey, topic: &str) -> Arc<Volume> {
        let has_it = |volume: &&Arc<Volume>| {
            let dir = volume.files().partition_dir(topic, key.partition);
            volume.health() != Health::Offline && volume.files().disk().list(&dir).is_ok()
        };
        self.inner
            .volumes
            .iter()
            .find(has_it)
            .cloned()
            .or_else(|| self.inner.moves.wish(key))
            .unwrap_or_else(|| self.emptiest_volume().clone())
    }

    /// The volume with the fewest partitions, of those that work best.
    fn emptiest_volume(&self) -> &Arc<Volume> {
        if let [only] = self.inner.volumes.as_slice() {
            return only;
        }
        let mut counts: BTreeMap<std::path::PathBuf, usize> = BTreeMap::new();
        let all = self.all();
        for hosted in &all {
            *counts.entry(hosted.volume().dir().to_owned()).or_default() += 1;
        }
        self.inner
            .volumes
            .iter()
            .min_by_key(|volume| {
                let health = match volume.health() {
                    Health::Online => 0,
                    Health::Full => 1,
                    Health::Offline => 2,
                };
                (health, counts.get(volume.dir()).copied().unwrap_or(0))
            })
            .expect("replicas are not opened without a volume")
    }

    /// A topic of the same name that was deleted while this broker was down: its directory is in the way.
    fn drop_namesake(&self, key: PartitionKey, topic: &str) {
        if self.inner.is_settled.load(Ordering::Acquire) {
            return;
        }
        let namesake = self
            .all()
            .into_iter()
            .find(|hosted| &**hosted.topic() == topic && hosted.key().partition == key.partition);
        if let Some(namesake) = namesake {
            self.drop_replica(namesake.key());
        }
    }

    /// What was deleted, or moved away, while this broker was down. Only complete metadata may say so.
    fn drop_strays(&self, image: &Image) {
        for hosted in self.all() {
            let key = hosted.key();
            let partition = image
                .topic_by_id(key.topic_id)
                .and_then(|topic| topic.partition(key.partition));
            if !is_mine(partition.map(AsRef::as_ref), self.broker()) {
                tracing::info!(
                    topic = %hosted.topic(),
                    partition = key.partition.0,
                    "the partition is not stored here any more"
                );
                self.drop_replica(key);
            }
        }
    }

    fn drop_replica(&self, key: PartitionKey) {
        self.inner.fetchers.unassign(key);
        self.inner.moves.give_up(key);
        let Some(hosted) = self.inner.partitions.write().remove(&key) else {
            return;
        };
        let log = hosted.leave();
        self.tell(&hosted, Role::Gone);
        let Some(log) = log else { return };
        let unique = Uuid(*uuid::Uuid::new_v4().as_bytes());
        match log.delete(unique) {
            Ok(dir) => self.remove_dir(&hosted.volume(), &dir),
            Err(error) => hosted.disk_failed(&error),
        }
    }
}

fn is_mine(partition: Option<&Partition>, me: BrokerId) -> bool {
    partition.is_some_and(|partition| partition.is_replica(me))
}

fn key_of(change: &PartitionChange) -> PartitionKey {
    PartitionKey {
        topic_id: change.topic_id,
        partition: PartitionIndex(change.partition.0),
    }
}

fn assignment(image: &Image, partition: &Partition) -> Assignment {
    let standing = partition.replicas.iter().filter_map(|id| {
        let broker = image.broker(*id).filter(|broker| broker.is_alive())?;
        Some((*id, broker.epoch))
    });
    Assignment {
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        standing: standing.collect(),
    }
}

fn settings_of(topic: &TopicConfig, broker: &BrokerSettings) -> Settings {
    Settings {
        min_insync_replicas: usize::try_from(topic.min_insync_replicas).unwrap_or(1),
        lag_time_max_ms: broker.replica_lag_time_max_ms,
    }
}
