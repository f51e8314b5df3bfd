//! Writing: some records in one request, and by the producer that makes batches of what comes together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures::StreamExt as _;
use futures::stream;
use rskafka::client::Client;
use rskafka::client::partition::Compression;
use rskafka::client::producer::aggregator::RecordAggregator;
use rskafka::client::producer::{BatchProducer, BatchProducerBuilder};

use crate::lines::{record, say_outcome};
use crate::open_all;

/// Records in one request.
const AT_ONCE: usize = 10;
/// How many records may wait for their acknowledgement while a broker is killed.
const WINDOW: usize = 50;
const BATCH_BYTES_MAX: usize = 16_384;
const LINGER: Duration = Duration::from_millis(1);

/// Writes to the partitions in turn, some records at once, and says of each whether it was acknowledged.
pub async fn produce(
    client: &Client,
    topic: &str,
    codec: &str,
    first: usize,
    count: usize,
) -> anyhow::Result<()> {
    let codec = compression(codec)?;
    let partitions = open_all(client, topic).await?;
    let numbers: Vec<usize> = (first..first + count).collect();
    for (turn, numbers) in numbers.chunks(AT_ONCE).enumerate() {
        let records = numbers.iter().copied().map(record).collect();
        let written = partitions[turn % partitions.len()].produce(records, codec).await;
        let outcome = written.map(drop).map_err(|error| error.to_string());
        for number in numbers {
            say_outcome(*number, outcome.clone());
        }
    }
    Ok(())
}

/// Keeps some records on their way to the partitions in turn, and says of each whether it was acknowledged.
pub async fn flood(client: &Client, topic: &str, count: usize) -> anyhow::Result<()> {
    let producers: Vec<BatchProducer<RecordAggregator>> = open_all(client, topic)
        .await?
        .into_iter()
        .map(|partition| {
            BatchProducerBuilder::new(Arc::new(partition))
                .with_linger(LINGER)
                .build(RecordAggregator::new(BATCH_BYTES_MAX))
        })
        .collect();
    stream::iter(0..count)
        .for_each_concurrent(WINDOW, |number| {
            let producer = &producers[number % producers.len()];
            async move {
                let written = producer.produce(record(number)).await;
                say_outcome(number, written.map(drop).map_err(|error| error.to_string()));
            }
        })
        .await;
    for producer in &producers {
        producer.flush().await?;
    }
    Ok(())
}

fn compression(codec: &str) -> anyhow::Result<Compression> {
    Ok(match codec {
        "none" => Compression::NoCompression,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => bail!("no codec {other}"),
    })
}
