//! rskafka does what the scenario says: commands from the standard input, a line each; `done` or `failed WHY` ends the answers.

mod access;
mod lines;
mod read;
mod write;

use std::io::BufRead as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::DateTime;
use rskafka::client::Client;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};

/// How long a broker may take for what it is asked.
const WITHIN: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let client = access::connect().await?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match run(&client, &words).await {
            Ok(()) => println!("done"),
            Err(error) => println!("failed {}", lines::one_line(&format!("{error:#}"))),
        }
    }
    Ok(())
}

async fn run(client: &Client, words: &[&str]) -> anyhow::Result<()> {
    match *words {
        ["about"] => about(),
        ["create", topic, partitions, replicas] => {
            let controller = client.controller_client()?;
            let (partitions, replicas) = (partitions.parse()?, replicas.parse()?);
            Ok(controller
                .create_topic(topic, partitions, replicas, within_ms())
                .await?)
        }
        ["delete", topic] => {
            let controller = client.controller_client()?;
            Ok(controller.delete_topic(topic, within_ms()).await?)
        }
        ["delete-records", topic, partition, before] => {
            let partition = open(client, topic, partition.parse()?).await?;
            Ok(partition.delete_records(before.parse()?, within_ms()).await?)
        }
        ["list"] => {
            for topic in client.list_topics().await? {
                println!("topic {}", topic.name);
            }
            Ok(())
        }
        ["produce", topic, codec, first, count] => {
            write::produce(client, topic, codec, first.parse()?, count.parse()?).await
        }
        ["flood", topic, count] => write::flood(client, topic, count.parse()?).await,
        ["consume", topic, "-", count] => read::everything(client, topic, count.parse()?).await,
        ["offsets", topic, partition] => offsets(client, topic, partition.parse()?).await,
        ["offset-at", topic, partition, ms] => {
            let partition = open(client, topic, partition.parse()?).await?;
            let time = DateTime::from_timestamp_millis(ms.parse()?).context("no such time")?;
            let found = partition.get_offset(OffsetAt::Timestamp(time)).await?;
            println!("offset {found}");
            Ok(())
        }
        ["seek", topic, partition, offset] => {
            read::one(client, topic, partition.parse()?, offset.parse()?).await
        }
        ["read", topic, _, last] => read::until(client, topic, last).await,
        _ => bail!("no such command"),
    }
}

/// It has no groups and no transactions, and does not take out what was aborted.
fn about() -> anyhow::Result<()> {
    println!("version {}", version()?);
    println!("codecs none gzip snappy lz4 zstd");
    println!("can create delete delete-records headers offsets times");
    Ok(())
}

/// The version that is linked in.
fn version() -> anyhow::Result<&'static str> {
    let locked = include_str!("../Cargo.lock");
    let (_, after) = locked
        .split_once("name = \"rskafka\"\nversion = \"")
        .context("Cargo.lock lacks rskafka")?;
    after
        .split('"')
        .next()
        .context("Cargo.lock lacks rskafka's version")
}

async fn offsets(client: &Client, topic: &str, partition: i32) -> anyhow::Result<()> {
    let partition = open(client, topic, partition).await?;
    let start = partition.get_offset(OffsetAt::Earliest).await?;
    let end = partition.get_offset(OffsetAt::Latest).await?;
    println!("offsets {start} {end}");
    Ok(())
}

async fn open(client: &Client, topic: &str, partition: i32) -> anyhow::Result<PartitionClient> {
    let opened = client.partition_client(topic, partition, UnknownTopicHandling::Error);
    Ok(opened.await?)
}

/// All partitions of a topic.
async fn open_all(client: &Client, topic: &str) -> anyhow::Result<Vec<PartitionClient>> {
    let topics = client.list_topics().await?;
    let found = topics.iter().find(|found| found.name == topic);
    let mut partitions = Vec::new();
    for partition in &found.context("no such topic")?.partitions {
        partitions.push(open(client, topic, *partition).await?);
    }
    Ok(partitions)
}

fn within_ms() -> i32 {
    WITHIN.as_millis() as i32
}
