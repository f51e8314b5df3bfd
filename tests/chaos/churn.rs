//! What goes on beside the faults: topics are made, written, read, deleted and made again under the same name, and replicas move.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;

use crate::chance::Chance;
use crate::clients::librdkafka::{config, write_some};
use crate::clients::{Stop, java, reader};
use crate::history::Logs;
use crate::recorder::Recorder;

/// Partitions of a topic that is made to be deleted.
pub const PARTITIONS: i32 = 2;

/// Records that are written to it.
const RECORDS: u64 = 60;

/// What is done, and what has come of it.
pub struct Churn {
    pub bootstrap: String,
    pub brokers: usize,
    pub recorder: Recorder,
    pub chance: Chance,
    pub directory: std::path::PathBuf,
    /// Topics whose replicas may be moved, with their partitions.
    pub movable: Vec<(Arc<str>, i32)>,
    pub java: bool,
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Topics that were read before they were deleted.
    pub logs: Logs,
    /// Topics that still exist, to be read in the end: their names, and what the history knows them as.
    pub left: Vec<(String, Arc<str>)>,
    pub made: u32,
    pub deleted: u32,
    pub moves: u32,
}

impl Churn {
    /// Until it is told to stop.
    pub fn run(mut self, stop: &Stop) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let admin: AdminClient<DefaultClientContext> = config(&self.bootstrap)
            .create()
            .expect("an administrator's configuration is right");
        let mut name = 0;
        let mut generation = 0;
        while !stop.is_set() {
            stop.sleep(Duration::from_millis(self.chance.between(1_000, 6_000)));
            if self.java && self.chance.percent(25) {
                self.reassign();
                continue;
            }
            generation += 1;
            if !runtime.block_on(self.topic(&admin, &format!("churn-{name}"), generation)) {
                // Whether it is there is not known: another name.
                name += 1;
            }
        }
        self.outcome
    }

    /// The life of one topic. Says whether it is known to be gone.
    async fn topic(
        &mut self,
        admin: &AdminClient<DefaultClientContext>,
        name: &str,
        generation: u32,
    ) -> bool {
        let options = AdminOptions::new()
            .request_timeout(Some(Duration::from_secs(20)))
            .operation_timeout(Some(Duration::from_secs(20)));
        let new = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(3));
        if !succeeded(admin.create_topics([&new], &options).await) {
            return false;
        }
        self.outcome.made += 1;
        let topic: Arc<str> = format!("{name}#{generation}").into();
        let written = write_some(&self.recorder, &self.bootstrap, name, &topic, RECORDS);
        let read = reader::read_all(&self.bootstrap, name, &topic, PARTITIONS, Duration::from_secs(60));
        let (true, Ok(read)) = (written, read) else {
            // It is judged in the end, when nothing is in the way.
            self.outcome.left.push((name.to_owned(), topic));
            return false;
        };
        match admin.delete_topics(&[name], &options).await {
            Ok(results) if results.iter().all(Result::is_ok) => {
                self.outcome.logs.extend(read);
                self.outcome.deleted += 1;
                true
            }
            // It may be gone, and was read whole.
            _ => {
                self.outcome.logs.extend(read);
                false
            }
        }
    }

    /// Gives a partition or two other replicas.
    fn reassign(&mut self) {
        let moves: Vec<(String, i32, Vec<i32>)> = (0..self.chance.between(1, 2))
            .map(|_| {
                let (topic, partitions) = self.chance.one_of(&self.movable).clone();
                let partition = self.chance.below(partitions as u64) as i32;
                let mut brokers: Vec<i32> = (0..self.brokers as i32).collect();
                while brokers.len() > 3 {
                    let gone = self.chance.below(brokers.len() as u64) as usize;
                    brokers.remove(gone);
                }
                let first = self.chance.below(3) as usize;
                brokers.rotate_left(first);
                (topic.to_string(), partition, brokers)
            })
            .collect();
        // While the fleet has no controller it does not work, and that is no fault of anybody.
        if java::reassign(&self.bootstrap, &moves, &self.directory).is_ok() {
            self.outcome.moves += moves.len() as u32;
        }
    }
}

/// That it exists already is what an attempt that was answered too late leaves.
fn succeeded(results: rdkafka::error::KafkaResult<Vec<rdkafka::admin::TopicResult>>) -> bool {
    results.is_ok_and(|results| {
        results
            .iter()
            .all(|result| !matches!(result, Err((_, code)) if *code != RDKafkaErrorCode::TopicAlreadyExists))
    })
}
