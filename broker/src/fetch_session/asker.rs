//! A follower's half of a session.

use super::{INITIAL_EPOCH, NO_SESSION, next_epoch};
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{ErrorCode, Uuid};
use std::collections::BTreeMap;

/// What an answer means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It can be taken.
    Answer,
    /// The leader does not know the session as it was meant. All partitions are to be named again, at once.
    Again,
}

/// One session with one leader, over one connection. Topics are named by their ids.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    session_id: i32,
    epoch: i32,
    /// What the leader has been told, by topic and partition.
    told: BTreeMap<(Uuid, i32), FetchPartition>,
}

impl Asker {
    /// From a fetch that names everything, the one that goes to the leader. Each one that was made is to be sent, and its answer to be [`Self::heard`].
    #[must_use]
    pub fn shape(&mut self, mut full: FetchRequest) -> FetchRequest {
        full.session_id = self.session_id;
        full.session_epoch = self.epoch;
        if self.epoch == INITIAL_EPOCH {
            self.told = by_partition(&full);
            return full;
        }
        let wanted = by_partition(&full);
        let told = std::mem::take(&mut self.told);
        full.forgotten_topics_data = forgotten(told.keys().filter(|key| !wanted.contains_key(key)));
        for topic in &mut full.topics {
            let id = topic.topic_id;
            topic
                .partitions
                .retain(|partition| told.get(&(id, partition.partition)) != Some(partition));
        }
        full.topics.retain(|topic| !topic.partitions.is_empty());
        self.told = wanted;
        full
    }

    /// An answer was lost, or will be: the next fetch names everything, and the session before it so that it ends.
    pub fn begin_anew(&mut self) {
        self.epoch = INITIAL_EPOCH;
    }

    /// Takes note of what the leader answered.
    pub fn heard(&mut self, response: &FetchResponse) -> Heard {
        match ErrorCode::from(response.error_code) {
            ErrorCode::None if self.epoch == INITIAL_EPOCH => {
                self.session_id = response.session_id;
                if self.session_id != NO_SESSION {
                    self.epoch = next_epoch(INITIAL_EPOCH);
                }
                Heard::Answer
            }
            ErrorCode::None => {
                self.epoch = next_epoch(self.epoch);
                Heard::Answer
            }
            error => {
                let was_initial = self.epoch == INITIAL_EPOCH;
                self.begin_anew();
                let is_of_session = matches!(
                    error,
                    ErrorCode::FetchSessionIdNotFound
                        | ErrorCode::InvalidFetchSessionEpoch
                        | ErrorCode::FetchSessionTopicIdError
                );
                if is_of_session && !was_initial {
                    Heard::Again
                } else {
                    Heard::Answer
                }
            }
        }
    }
}

fn by_partition(request: &FetchRequest) -> BTreeMap<(Uuid, i32), FetchPartition> {
    let of_topic = |topic: &FetchTopic| {
        let id = topic.topic_id;
        let partitions = topic.partitions.iter();
        partitions
            .map(|partition| ((id, partition.partition), partition.clone()))
            .collect::<Vec<_>>()
    };
    request.topics.iter().flat_map(of_topic).collect()
}

fn forgotten<'a>(keys: impl Iterator<Item = &'a (Uuid, i32)>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (topic_id, partition) in keys {
        match topics.last_mut().filter(|topic| topic.topic_id == *topic_id) {
            Some(topic) => topic.partitions.push(*partition),
            None => topics.push(ForgottenTopic {
                topic_id: *topic_id,
                partitions: vec![*partition],
                ..ForgottenTopic::default()
            }),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid([1; 16]);
    const B: Uuid = Uuid([2; 16]);

    fn full(partitions: &[(Uuid, i32, i64)]) -> FetchRequest {
        let topics = partitions.iter().map(|(topic_id, partition, offset)| FetchTopic {
            topic_id: *topic_id,
            partitions: vec![FetchPartition {
                partition: *partition,
                fetch_offset: *offset,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        });
        FetchRequest {
            topics: topics.collect(),
            ..FetchRequest::default()
        }
    }

    /// Its session, the partitions that it names, and those that it forgets.
    type Shape = ((i32, i32), Vec<(Uuid, i32, i64)>, Vec<(Uuid, Vec<i32>)>);

    fn shape(asker: &mut Asker, partitions: &[(Uuid, i32, i64)]) -> Shape {
        let request = asker.shape(full(partitions));
        let named = request.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.topic_id, partition.partition, partition.fetch_offset))
        });
        let forgotten = request.forgotten_topics_data.iter();
        (
            (request.session_id, request.session_epoch),
            named.collect(),
            forgotten
                .map(|topic| (topic.topic_id, topic.partitions.clone()))
                .collect(),
        )
    }

    fn answer(error: ErrorCode, session_id: i32) -> FetchResponse {
        FetchResponse {
            error_code: error.into(),
            session_id,
            ..FetchResponse::default()
        }
    }

    #[test]
    fn what_is_as_before_is_not_named_again() {
        let mut asker = Asker::default();
        let first = [(A, 0, 10), (A, 1, 10), (B, 0, 10)];
        assert_eq!(shape(&mut asker, &first), ((0, 0), first.to_vec(), vec![]));
        assert_eq!(asker.heard(&answer(ErrorCode::None, 5)), Heard::Answer);
        let moved = [(A, 1, 12), (B, 0, 10), (A, 0, 10)];
        assert_eq!(
            shape(&mut asker, &moved),
            ((5, 1), vec![(A, 1, 12)], vec![]),
            "whatever the order"
        );
        assert_eq!(asker.heard(&answer(ErrorCode::None, 5)), Heard::Answer);
        let fewer = [(B, 0, 10), (B, 1, 0)];
        assert_eq!(
            shape(&mut asker, &fewer),
            ((5, 2), vec![(B, 1, 0)], vec![(A, vec![0, 1])])
        );
        assert_eq!(asker.heard(&answer(ErrorCode::None, 5)), Heard::Answer);
        // What was forgotten is told anew when it is wanted again.
        let again = [(A, 0, 10), (B, 0, 10), (B, 1, 0)];
        assert_eq!(shape(&mut asker, &again), ((5, 3), vec![(A, 0, 10)], vec![]));
    }

    #[test]
    fn leader_without_room_for_a_session_is_told_everything_each_time() {
        let mut asker = Asker::default();
        for _ in 0..2 {
            let all = [(A, 0, 10)];
            assert_eq!(shape(&mut asker, &all), ((0, 0), all.to_vec(), vec![]));
            assert_eq!(asker.heard(&answer(ErrorCode::None, 0)), Heard::Answer);
        }
    }

    #[test]
    fn session_that_the_leader_lost_begins_anew_at_once() {
        for lost in [
            ErrorCode::FetchSessionIdNotFound,
            ErrorCode::InvalidFetchSessionEpoch,
            ErrorCode::FetchSessionTopicIdError,
        ] {
            let mut asker = Asker::default();
            let all = [(A, 0, 10), (A, 1, 10)];
            let _ = shape(&mut asker, &all);
            asker.heard(&answer(ErrorCode::None, 5));
            assert_eq!(shape(&mut asker, &all), ((5, 1), vec![], vec![]));
            assert_eq!(asker.heard(&answer(lost, 0)), Heard::Again);
            assert_eq!(shape(&mut asker, &all), ((5, 0), all.to_vec(), vec![]));
            // Once: a leader that goes on like that is not asked in a loop.
            assert_eq!(asker.heard(&answer(lost, 0)), Heard::Answer);
        }
    }

    #[test]
    fn session_whose_connection_broke_is_ended_with_the_next_fetch() {
        let mut asker = Asker::default();
        let all = [(A, 0, 10)];
        let _ = shape(&mut asker, &all);
        asker.heard(&answer(ErrorCode::None, 5));
        let _ = shape(&mut asker, &[(A, 0, 11)]);
        asker.begin_anew();
        assert_eq!(shape(&mut asker, &all), ((5, 0), all.to_vec(), vec![]));
        asker.heard(&answer(ErrorCode::None, 6));
        assert_eq!(shape(&mut asker, &all), ((6, 1), vec![], vec![]));
    }

    #[test]
    fn other_refusal_is_an_answer_and_ends_the_session() {
        let mut asker = Asker::default();
        let all = [(A, 0, 10)];
        let _ = shape(&mut asker, &all);
        asker.heard(&answer(ErrorCode::None, 5));
        let _ = shape(&mut asker, &all);
        let stale = answer(ErrorCode::StaleBrokerEpoch, 0);
        assert_eq!(asker.heard(&stale), Heard::Answer);
        assert_eq!(shape(&mut asker, &all), ((5, 0), all.to_vec(), vec![]));
    }
}
