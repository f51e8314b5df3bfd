//! Metadata for tests of groups.

use std::sync::Arc;

use flotilla_control::proto::metadata::{self as proto, record};
use flotilla_protocol::Uuid;

use super::consumer::Seen;
use crate::metadata::Image;

/// Topics with so many partitions each, as they are at that index of the metadata.
pub(super) fn seen(index: u64, topics: &[(&str, Uuid, i32)]) -> Seen {
    seen_with(index, topics, &[])
}

pub(super) fn seen_with(index: u64, topics: &[(&str, Uuid, i32)], configs: &[(&str, &str)]) -> Seen {
    let of = |record| proto::Record { record: Some(record) };
    let mut records = Vec::new();
    for (name, id, partitions) in topics {
        records.push(of(record::Record::Topic(proto::Topic {
            name: (*name).to_owned(),
            topic_id: id.0.to_vec(),
            owner: None,
        })));
        for partition in 0..*partitions {
            records.push(of(record::Record::Partition(proto::Partition {
                topic_id: id.0.to_vec(),
                partition,
                replicas: vec![0],
                isr: vec![0],
                leader: 0,
                ..proto::Partition::default()
            })));
        }
    }
    for (name, value) in configs {
        records.push(of(record::Record::Config(proto::Config {
            resource_type: crate::metadata::ResourceType::Group.into(),
            resource_name: "g".to_owned(),
            key: (*name).to_owned(),
            value: Some((*value).to_owned()),
        })));
    }
    let mut image = Image::default();
    image.fold_all(&records).expect("known records");
    Seen {
        index,
        image: Arc::new(image),
    }
}
