//! One session, as a leader keeps it.

use super::{INITIAL_EPOCH, next_epoch};
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use flotilla_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use flotilla_protocol::{Str, Uuid};
use std::collections::BTreeMap;

/// Which partition: by the topic's id since version 13, by its name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    topic_id: Uuid,
    topic: Str,
    partition: i32,
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    /// Its place in the order of answers.
    turn: u64,
    asked: FetchPartition,
    /// As they were told last; -1 after an error, so that its end is told.
    high_watermark: i64,
    log_start: i64,
}

/// Why a fetch is not taken as part of the session that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its epoch is not the one that comes next: an answer was lost, or the session is used twice.
    #[error("the fetch session is at another epoch")]
    Epoch,
    /// It names topics by id and the session by name, or the other way round.
    #[error("the fetch session names topics in another way")]
    TopicIds,
}

/// The partitions of a session, and what its owner knows of them.
#[derive(Clone, Debug)]
pub struct Session {
    /// That of the fetch that comes next.
    epoch: i32,
    names_ids: bool,
    next_turn: u64,
    turns: BTreeMap<u64, Key>,
    partitions: BTreeMap<Key, Kept>,
}

impl Session {
    /// Of a fetch that named all its partitions, after its answer. `names_ids`: topics are named by their ids.
    #[must_use]
    pub fn new(names_ids: bool, asked: &[FetchTopic], answered: &[FetchableTopicResponse]) -> Self {
        let mut session = Self {
            epoch: next_epoch(INITIAL_EPOCH),
            names_ids,
            next_turn: 0,
            turns: BTreeMap::new(),
            partitions: BTreeMap::new(),
        };
        session.ask(asked);
        for topic in answered {
            for data in &topic.partitions {
                if let Some(kept) = session.partitions.get_mut(&key_of(topic, data)) {
                    kept.told(data);
                }
            }
        }
        session
    }

    /// How many partitions it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether it has none: then it is over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Takes in what the next fetch says: new and changed partitions, and those that are not fetched any more.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is changed, and the fetch is to be refused.
    pub fn begin(
        &mut self,
        epoch: i32,
        names_ids: bool,
        asked: &[FetchTopic],
        forgotten: &[ForgottenTopic],
    ) -> Result<(), Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Epoch);
        }
        if names_ids != self.names_ids {
            return Err(Refusal::TopicIds);
        }
        self.ask(asked);
        for topic in forgotten {
            for partition in &topic.partitions {
                let key = Key {
                    topic_id: topic.topic_id,
                    topic: topic.topic.clone(),
                    partition: *partition,
                };
                if let Some(kept) = self.partitions.remove(&key) {
                    self.turns.remove(&kept.turn);
                }
            }
        }
        self.epoch = next_epoch(epoch);
        Ok(())
    }

    /// All that is fetched, in the order in which it is to be read.
    #[must_use]
    pub fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for key in self.turns.values() {
            let Some(kept) = self.partitions.get(key) else {
                continue;
            };
            let partition = kept.asked.clone();
            match topics.last_mut() {
                Some(topic) if topic.topic_id == key.topic_id && topic.topic == key.topic => {
                    topic.partitions.push(partition);
                }
                _ => topics.push(FetchTopic {
                    topic: key.topic.clone(),
                    topic_id: key.topic_id,
                    partitions: vec![partition],
                }),
            }
        }
        topics
    }

    /// Whether the answer to the fetch of `epoch` may still be given.
    ///
    /// # Errors
    /// [`Refusal::Epoch`]: another fetch came meanwhile.
    pub fn answers(&self, epoch: i32) -> Result<(), Refusal> {
        if self.epoch == next_epoch(epoch) {
            Ok(())
        } else {
            Err(Refusal::Epoch)
        }
    }

    /// Leaves in the answer to the fetch of `epoch` what is news. Partitions that records were read from have their turn after all others next time, so
    /// that none starves.
    ///
    /// # Errors
    /// [`Refusal::Epoch`]: another fetch came meanwhile.
    pub fn keep_news(&mut self, epoch: i32, answer: &mut Vec<FetchableTopicResponse>) -> Result<(), Refusal> {
        self.answers(epoch)?;
        for topic in answer.iter_mut() {
            let mut partitions = std::mem::take(&mut topic.partitions);
            partitions.retain(|data| self.is_news(key_of(topic, data), data));
            topic.partitions = partitions;
        }
        answer.retain(|topic| !topic.partitions.is_empty());
        Ok(())
    }

    fn is_news(&mut self, key: Key, data: &PartitionData) -> bool {
        let Some(kept) = self.partitions.get_mut(&key) else {
            return true;
        };
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let is_news = has_records
            || kept.high_watermark != data.high_watermark
            || kept.log_start != data.log_start_offset
            // A follower says which one it knows, and waits for a higher one; others say that they know all.
            || kept.asked.high_watermark < data.high_watermark
            || !is_fine(data)
            || data.preferred_read_replica >= 0;
        kept.told(data);
        if has_records {
            self.turns.remove(&kept.turn);
            kept.turn = self.next_turn;
            self.turns.insert(self.next_turn, key);
            self.next_turn += 1;
        }
        is_news
    }

    fn ask(&mut self, topics: &[FetchTopic]) {
        for topic in topics {
            // The request's bytes are not kept for the sake of a name.
            let name = topic.topic.detached();
            for asked in &topic.partitions {
                let key = Key {
                    topic_id: topic.topic_id,
                    topic: name.clone(),
                    partition: asked.partition,
                };
                if let Some(kept) = self.partitions.get_mut(&key) {
                    kept.asked = asked.clone();
                    continue;
                }
                let turn = self.next_turn;
                self.next_turn += 1;
                self.turns.insert(turn, key.clone());
                let kept = Kept {
                    turn,
                    asked: asked.clone(),
                    high_watermark: -1,
                    log_start: -1,
                };
                self.partitions.insert(key, kept);
            }
        }
    }
}

impl Kept {
    fn told(&mut self, data: &PartitionData) {
        self.high_watermark = if is_fine(data) { data.high_watermark } else { -1 };
        self.log_start = data.log_start_offset;
    }
}

/// Neither an error nor a log that parts.
fn is_fine(data: &PartitionData) -> bool {
    data.error_code == 0 && data.diverging_epoch.epoch < 0
}

fn key_of(topic: &FetchableTopicResponse, data: &PartitionData) -> Key {
    Key {
        topic_id: topic.topic_id,
        topic: topic.topic.clone(),
        partition: data.partition_index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flotilla_protocol::{ErrorCode, Records};

    const ID: Uuid = Uuid([7; 16]);

    fn asked(partitions: &[(i32, i64)]) -> Vec<FetchTopic> {
        let partitions = partitions.iter().map(|(partition, offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            ..FetchPartition::default()
        });
        vec![FetchTopic {
            topic_id: ID,
            partitions: partitions.collect(),
            ..FetchTopic::default()
        }]
    }

    fn data(partition: i32, high_watermark: i64) -> PartitionData {
        PartitionData {
            partition_index: partition,
            high_watermark,
            log_start_offset: 0,
            records: Some(Records::default()),
            ..PartitionData::default()
        }
    }

    fn with_records(partition: i32, high_watermark: i64) -> PartitionData {
        PartitionData {
            records: Some(vec![bytes::Bytes::from_static(b"batch")].into()),
            ..data(partition, high_watermark)
        }
    }

    fn answer(partitions: Vec<PartitionData>) -> Vec<FetchableTopicResponse> {
        vec![FetchableTopicResponse {
            topic_id: ID,
            partitions,
            ..FetchableTopicResponse::default()
        }]
    }

    fn offsets(topics: &[FetchTopic]) -> Vec<(i32, i64)> {
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|partition| (partition.partition, partition.fetch_offset))
            .collect()
    }

    fn indexes(answer: &[FetchableTopicResponse]) -> Vec<i32> {
        let partitions = answer.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|data| data.partition_index).collect()
    }

    /// Partitions 0 to 2 from offset 10, told a high watermark of 10.
    fn session() -> Session {
        Session::new(
            true,
            &asked(&[(0, 10), (1, 10), (2, 10)]),
            &answer(vec![data(0, 10), data(1, 10), data(2, 10)]),
        )
    }

    #[test]
    fn fetch_adds_changes_and_forgets_partitions() {
        let mut session = session();
        let forgotten = ForgottenTopic {
            topic_id: ID,
            partitions: vec![0, 9],
            ..ForgottenTopic::default()
        };
        session
            .begin(1, true, &asked(&[(1, 15), (3, 4)]), &[forgotten])
            .unwrap();
        assert_eq!(offsets(&session.topics()), [(1, 15), (2, 10), (3, 4)]);
        assert_eq!(session.len(), 3);
    }

    #[test]
    fn session_whose_partitions_are_all_forgotten_is_empty() {
        let mut session = session();
        let forgotten = ForgottenTopic {
            topic_id: ID,
            partitions: vec![0, 1, 2],
            ..ForgottenTopic::default()
        };
        session.begin(1, true, &[], &[forgotten]).unwrap();
        assert!(session.is_empty());
        assert_eq!(session.topics(), []);
    }

    #[test]
    fn only_the_epoch_that_comes_next_is_taken() {
        let mut session = session();
        for epoch in [0, 2, -1, i32::MAX] {
            assert_eq!(session.begin(epoch, true, &[], &[]), Err(Refusal::Epoch));
        }
        session.begin(1, true, &[], &[]).unwrap();
        assert_eq!(session.begin(1, true, &[], &[]), Err(Refusal::Epoch));
        session.begin(2, true, &[], &[]).unwrap();
        assert_eq!(next_epoch(i32::MAX), 1, "a session outlives all numbers");
    }

    #[test]
    fn names_and_ids_are_not_mixed() {
        let mut session = session();
        assert_eq!(session.begin(1, false, &[], &[]), Err(Refusal::TopicIds));
        session.begin(1, true, &[], &[]).unwrap();
    }

    #[test]
    fn answer_holds_what_is_news_and_nothing_else() {
        let mut session = session();
        session.begin(1, true, &[], &[]).unwrap();
        let mut log_start_moved = data(1, 10);
        log_start_moved.log_start_offset = 5;
        let mut news = answer(vec![data(0, 11), log_start_moved.clone(), data(2, 10)]);
        session.keep_news(1, &mut news).unwrap();
        assert_eq!(indexes(&news), [0, 1]);
        // What was told is no news any more.
        session.begin(2, true, &[], &[]).unwrap();
        let mut news = answer(vec![data(0, 11), log_start_moved, data(2, 10)]);
        session.keep_news(2, &mut news).unwrap();
        assert_eq!(news, []);
    }

    #[test]
    fn errors_are_told_each_time_and_so_is_their_end() {
        let mut session = session();
        let mut failed = data(0, -1);
        failed.error_code = ErrorCode::NotLeaderOrFollower.into();
        let mut parting = data(1, 10);
        parting.diverging_epoch.epoch = 3;
        for epoch in 1..3 {
            session.begin(epoch, true, &[], &[]).unwrap();
            let mut news = answer(vec![failed.clone(), parting.clone(), data(2, 10)]);
            session.keep_news(epoch, &mut news).unwrap();
            assert_eq!(indexes(&news), [0, 1]);
        }
        session.begin(3, true, &[], &[]).unwrap();
        let mut news = answer(vec![data(0, 10), data(1, 10), data(2, 10)]);
        session.keep_news(3, &mut news).unwrap();
        assert_eq!(indexes(&news), [0, 1]);
    }

    #[test]
    fn high_watermark_that_a_follower_does_not_know_is_told_again() {
        let mut session = session();
        let mut behind = asked(&[(0, 10)]);
        behind[0].partitions[0].high_watermark = 8;
        session.begin(1, true, &behind, &[]).unwrap();
        let mut news = answer(vec![data(0, 10), data(1, 10), data(2, 10)]);
        session.keep_news(1, &mut news).unwrap();
        assert_eq!(indexes(&news), [0]);
    }

    #[test]
    fn partition_that_was_read_from_has_its_turn_after_the_others() {
        let mut session = session();
        session.begin(1, true, &[], &[]).unwrap();
        let mut news = answer(vec![with_records(0, 10), data(1, 10), data(2, 10)]);
        session.keep_news(1, &mut news).unwrap();
        assert_eq!(indexes(&news), [0]);
        assert_eq!(offsets(&session.topics()), [(1, 10), (2, 10), (0, 10)]);
    }

    #[test]
    fn answer_to_a_fetch_that_was_overtaken_is_refused() {
        let mut session = session();
        session.begin(1, true, &[], &[]).unwrap();
        session.begin(2, true, &[], &[]).unwrap();
        let mut late = answer(vec![with_records(0, 11)]);
        assert_eq!(session.keep_news(1, &mut late), Err(Refusal::Epoch));
        assert_eq!(session.answers(2), Ok(()));
    }
}
