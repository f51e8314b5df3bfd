//! What is stored of share groups' deliveries, on the partitions of `__share_group_state`.

use bytes::Bytes;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::Uuid;
use flotilla_protocol::records::BatchHeader;

use super::machine::{Content, Effect, Machine, Refusal, TopicShape};
use super::partitions::Place;
use crate::group::{Ticket, WriteError, WriteId};
use crate::metadata::{Image, changed_topics};
use crate::share::{self, Config, Error, Record, Reply, Request, Shard};

fn translated(effects: Vec<share::Effect>) -> Vec<Effect<Shard>> {
    let one = |effect| match effect {
        share::Effect::Reply { to, reply } => Effect::Reply { to, reply },
        share::Effect::Append { write, records } => Effect::Append {
            write,
            content: Content::Records(records),
        },
    };
    effects.into_iter().map(one).collect()
}

/// The settings of share coordinators, from those of the broker.
#[must_use]
pub fn share_config(settings: &BrokerSettings) -> Config {
    Config {
        write_timeout_ms: u64::try_from(settings.share_coordinator_write_timeout_ms)
            .unwrap_or(1)
            .max(1),
    }
}

impl Machine for Shard {
    type Config = Config;
    type Request = Request;
    type Reply = Reply;
    type Record = Record;
    type Errand = std::convert::Infallible;

    const TOPIC: &'static str = share::TOPIC;

    fn new(config: Config, _place: Place) -> Self {
        Self::new(config)
    }

    fn topic_shape(settings: &BrokerSettings) -> TopicShape {
        TopicShape {
            partitions: settings.share_coordinator_state_topic_num_partitions,
            replication_factor: settings.share_coordinator_state_topic_replication_factor,
            segment_bytes: settings.share_coordinator_state_topic_segment_bytes,
            min_insync_replicas: Some(settings.share_coordinator_state_topic_min_isr.into()),
        }
    }

    fn configure(&mut self, config: Config) {
        self.configure(config);
    }

    fn replay(&mut self, _header: &BatchHeader, key: &[u8], value: Option<&[u8]>) -> bool {
        match Record::decode(key, value) {
            Ok(Some(record)) => {
                self.replay(&record);
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Nothing is written here by transactions.
    fn replay_marker(&mut self, _header: &BatchHeader, _committed: bool) {}

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
        let deleted: Vec<Uuid> = changed_topics(old, new)
            .into_iter()
            .filter_map(|change| change.old.filter(|_| change.new.is_none()).map(|old| old.id))
            .collect();
        (!deleted.is_empty()).then_some(Request::TopicsDeleted(deleted))
    }

    fn copied(request: &Request) -> Request {
        request.clone()
    }
}
