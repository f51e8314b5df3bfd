//! Groups on the partitions of `__consumer_offsets`.

use bytes::Bytes;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::records::BatchHeader;

use super::machine::{Content, Effect, Machine, Refusal, TopicShape};
use super::partitions::Place;
use crate::group::{
    self, Config, DeletedTopic, Error, Record, Reply, Request, Shard, Ticket, WriteError, WriteId,
};
use crate::metadata::{Image, changed_topics};

fn translated(effects: Vec<group::Effect>) -> Vec<Effect<Shard>> {
    let one = |effect| match effect {
        group::Effect::Reply { to, reply } => Effect::Reply { to, reply },
        group::Effect::Append { write, records } => Effect::Append {
            write,
            content: Content::Records(records),
        },
        group::Effect::AppendInTransaction {
            write,
            producer,
            records,
        } => Effect::Append {
            write,
            content: Content::InTransaction(producer, records),
        },
        group::Effect::AppendMarker { write, marker } => Effect::Append {
            write,
            content: Content::Marker(marker),
        },
    };
    effects.into_iter().map(one).collect()
}

impl Machine for Shard {
    type Config = Config;
    type Request = Request;
    type Reply = Reply;
    type Record = Record;
    type Errand = std::convert::Infallible;

    const TOPIC: &'static str = group::TOPIC;

    fn new(config: Config, _place: Place) -> Self {
        Self::new(config)
    }

    fn topic_shape(settings: &BrokerSettings) -> TopicShape {
        TopicShape {
            partitions: settings.offsets_topic_num_partitions,
            replication_factor: settings.offsets_topic_replication_factor,
            segment_bytes: settings.offsets_topic_segment_bytes,
            min_insync_replicas: None,
        }
    }

    fn configure(&mut self, config: Config) {
        self.configure(config);
    }

    fn replay(&mut self, header: &BatchHeader, key: &[u8], value: Option<&[u8]>) -> bool {
        let Ok(Some(record)) = Record::decode(key, value) else {
            return false;
        };
        if header.is_transactional() {
            self.replay_in_transaction(header.producer_id, &record);
        } else {
            self.replay(&record);
        }
        true
    }

    fn replay_marker(&mut self, header: &BatchHeader, committed: bool) {
        self.replay_marker(header.producer_id, committed);
    }

    fn loaded(&mut self, now_ms: u64) -> Vec<Effect<Self>> {
        translated(self.loaded(now_ms))
    }

    fn apply(&mut self, now_ms: u64, to: Ticket, request: Request) -> Vec<Effect<Self>> {
        translated(self.apply(now_ms, to, request))
    }

    fn tick(&mut self, now_ms: u64) -> Vec<Effect<Self>> {
        translated(self.tick(now_ms))
    }

    fn next_deadline(&self) -> Option<u64> {
        self.next_deadline()
    }

    fn committed(&mut self, now_ms: u64, write: WriteId) -> Vec<Effect<Self>> {
        translated(self.committed(now_ms, write))
    }

    fn failed(&mut self, now_ms: u64, write: WriteId, error: WriteError) -> Vec<Effect<Self>> {
        translated(self.failed(now_ms, write, error))
    }

    fn unload(self) -> Vec<Effect<Self>> {
        translated(self.unload())
    }

    fn encode(record: &Record) -> Option<(Bytes, Option<Bytes>)> {
        record.encode().ok()
    }

    fn refused(request: &Request, refusal: Refusal) -> Reply {
        request.refused(match refusal {
            Refusal::NotCoordinator => Error::NotCoordinator,
            Refusal::LoadInProgress => Error::LoadInProgress,
        })
    }

    fn changed(old: &Image, new: &Image) -> Option<Request> {
        let deleted: Vec<DeletedTopic> = changed_topics(old, new)
            .into_iter()
            .filter_map(|change| match (change.old, change.new) {
                (Some(old), None) => Some(DeletedTopic {
                    name: (*old.name).into(),
                    id: old.id,
                }),
                _ => None,
            })
            .collect();
        (!deleted.is_empty()).then_some(Request::TopicsDeleted(deleted))
    }

    fn copied(request: &Request) -> Request {
        request.clone()
    }
}
