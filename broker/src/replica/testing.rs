//! Replicas for tests: real logs on a simulated disk, roles from an image that the test folds.

use super::{Config, Replicas};
use crate::log::{Disk, Identity, Opened, SimDisk, TailBudget, Volume, VolumeOptions};
use crate::metadata::{Endpoint, Fact, Image, Record};
use flotilla_control::proto::metadata as proto;
use flotilla_protocol::{BrokerId, Uuid};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The cluster of all tests.
pub(crate) const CLUSTER: &str = "BwcHBwcHBwcHBwcHBwcHBw";
const DIR: &str = "/data";

/// The incarnation of a broker whose process started for the `start`-th time.
pub(crate) fn incarnation(broker: BrokerId, start: u8) -> Uuid {
    let mut bytes = [start; 16];
    bytes[0] = broker.0 as u8 + 1;
    Uuid(bytes)
}

/// What a topic is identified by in tests.
pub(crate) fn topic_id(number: u8) -> Uuid {
    Uuid([number; 16])
}

/// A volume on `disk`: formatted, or found again.
pub(crate) fn volume(disk: &Arc<dyn Disk>, dir: &Path, broker: BrokerId) -> (Volume, Opened) {
    if Volume::inspect(&**disk, dir).unwrap().is_none() {
        let identity = Identity {
            cluster_id: CLUSTER.to_owned(),
            broker_id: broker,
            directory_id: Uuid([9; 16]),
        };
        Volume::format(&**disk, dir, &identity).unwrap();
    }
    let options = VolumeOptions {
        reserve_bytes: Some(0),
    };
    Volume::open(disk, dir, CLUSTER, broker, options).unwrap()
}

/// Replicas of `broker` on `disk`.
pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path, broker: BrokerId, incarnation: Uuid) -> Arc<Replicas> {
    let config = Config {
        broker,
        incarnation,
        settings: BTreeMap::new(),
        volumes: vec![volume(disk, dir, broker)],
        tail: TailBudget::new(TailBudget::BYTES_MAX, TailBudget::PER_LOG_BYTES_MAX),
        clock: Arc::new(crate::clock::now_ms),
        blocking: super::Blocking::Threads,
    };
    Replicas::open(config, |_| {}).unwrap()
}

/// Replicas on a disk of their own, in the roles that `image` gives them.
pub(crate) fn in_memory(broker: BrokerId, image: &Image) -> Arc<Replicas> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let incarnation = image
        .broker(broker)
        .map_or_else(|| incarnation(broker, 1), |own| own.incarnation);
    let replicas = open(&disk, Path::new(DIR), broker, incarnation);
    replicas.apply(&Arc::new(image.clone()));
    replicas
}

/// Folds facts.
pub(crate) fn image(facts: impl IntoIterator<Item = Fact>) -> Image {
    let mut image = Image::default();
    fold(&mut image, facts);
    image
}

/// Folds more facts.
pub(crate) fn fold(image: &mut Image, facts: impl IntoIterator<Item = Fact>) {
    for fact in facts {
        image.fold(&Record { record: Some(fact) }).unwrap();
    }
}

/// A broker that lives, as it registered for the `start`-th time.
pub(crate) fn broker(id: i32, start: u8) -> Fact {
    let endpoint = |listener: &str, port: u32| Endpoint {
        listener: listener.to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        security_protocol: 0,
    };
    Fact::Broker(proto::Broker {
        broker_id: id,
        broker_epoch: 100 * i64::from(start) + i64::from(id),
        incarnation_id: incarnation(BrokerId(id), start).0.to_vec(),
        directory_id: vec![9; 16],
        endpoints: vec![endpoint("internal", 9092 + id as u32)],
        replication: Some(endpoint("replication", 19092 + id as u32)),
        roles: vec!["broker".to_owned()],
        flotilla_version_max: 1,
        ..proto::Broker::default()
    })
}

/// A topic.
pub(crate) fn topic(name: &str, number: u8) -> Fact {
    Fact::Topic(proto::Topic {
        name: name.to_owned(),
        topic_id: topic_id(number).0.to_vec(),
        owner: None,
    })
}

/// One partition, led by the first of `isr` (nobody: none), in leader epoch `epoch` and partition epoch `epoch`.
pub(crate) fn partition(number: u8, index: i32, replicas: &[i32], isr: &[i32], epoch: i32) -> Fact {
    Fact::Partition(proto::Partition {
        topic_id: topic_id(number).0.to_vec(),
        partition: index,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        leader: isr.first().copied().unwrap_or(-1),
        leader_epoch: epoch,
        partition_epoch: epoch,
        ..proto::Partition::default()
    })
}

/// A setting of a topic.
pub(crate) fn setting(topic: &str, key: &str, value: &str) -> Fact {
    Fact::Config(proto::Config {
        resource_type: proto::ResourceType::Topic.into(),
        resource_name: topic.to_owned(),
        key: key.to_owned(),
        value: Some(value.to_owned()),
    })
}
