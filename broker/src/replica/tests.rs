//! Replicas on simulated disks: one broker alone, and two that follow each other.

mod compacting;
mod moving;
mod pair;
mod single;
mod stepped;

use super::{PartitionKey, Replicas, testing};
use bytes::Bytes;
use flotilla_protocol::records::{BatchBuilder, BatchHeader, HEADER_BYTES, Records, parse_batches};
use flotilla_protocol::{Offset, PartitionIndex, ProducerEpoch, ProducerId};

fn key(topic: u8, partition: i32) -> PartitionKey {
    PartitionKey {
        topic_id: testing::topic_id(topic),
        partition: PartitionIndex(partition),
    }
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Offset(0));
    for value in values {
        builder.push(crate::clock::now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build().freeze()
}

fn idempotent(producer: i64, sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Offset(0)).producer(ProducerId(producer), ProducerEpoch(0), sequence);
    for value in values {
        builder.push(crate::clock::now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build().freeze()
}

/// Offset and value of every record.
fn values(chunks: &[Bytes]) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    for chunk in chunks {
        for parsed in parse_batches(chunk) {
            let (_, header, bytes): (usize, BatchHeader, &[u8]) = parsed.unwrap();
            for record in Records::new(&header, &bytes[HEADER_BYTES..]) {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                all.push((record.offset.0, value));
            }
        }
    }
    all
}

async fn read_all(replicas: &Replicas, key: PartitionKey, upto: super::Upto) -> Vec<(i64, String)> {
    values(
        &replicas
            .read(key, Offset(0), 1 << 20, upto)
            .await
            .unwrap()
            .records,
    )
}
