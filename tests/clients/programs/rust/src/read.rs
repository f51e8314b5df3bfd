//! Reading: a stream of a partition, those of all partitions together, and single fetches.

use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::select_all;
use rskafka::client::Client;
use rskafka::client::consumer::{StartOffset, StreamConsumer, StreamConsumerBuilder};
use rskafka::client::partition::PartitionClient;

use crate::lines::say_record;
use crate::{open, open_all, within_ms};

const FETCH_BYTES_MAX: i32 = 1_000_000;
const FETCH_WAIT_MS: i32 = 200;

/// So many records of all partitions, from their beginnings.
pub async fn everything(client: &Client, topic: &str, count: usize) -> anyhow::Result<()> {
    let partitions = open_all(client, topic).await?.into_iter();
    let streams = partitions.map(|partition| {
        let number = partition.partition();
        from_beginning(partition).map(move |read| (number, read))
    });
    let mut records = select_all(streams).take(count);
    while let Some((partition, read)) = records.next().await {
        let (record, _high_watermark) = read?;
        say_record(partition, &record)?;
    }
    Ok(())
}

/// The first partition up to the record with that key.
pub async fn until(client: &Client, topic: &str, last: &str) -> anyhow::Result<()> {
    let mut records = from_beginning(open(client, topic, 0).await?);
    loop {
        let (record, _high_watermark) = records.next().await.context("the stream ended")??;
        say_record(0, &record)?;
        if record.record.key.as_deref() == Some(last.as_bytes()) {
            return Ok(());
        }
    }
}

/// The record at an offset.
pub async fn one(client: &Client, topic: &str, partition: i32, offset: i64) -> anyhow::Result<()> {
    let client = open(client, topic, partition).await?;
    let (records, _high_watermark) = client
        .fetch_records(offset, 1..FETCH_BYTES_MAX, within_ms())
        .await?;
    say_record(partition, records.first().context("nothing was read")?)
}

fn from_beginning(partition: PartitionClient) -> StreamConsumer {
    StreamConsumerBuilder::new(Arc::new(partition), StartOffset::Earliest)
        .with_max_wait_ms(FETCH_WAIT_MS)
        .build()
}
