//! Transactional ids on the partitions of `__transaction_state`.

use bytes::Bytes;
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::records::BatchHeader;

use super::machine::{Content, Effect, Machine, Refusal, TopicShape};
use super::partitions::Place;
use crate::group::{Ticket, WriteError, WriteId};
use crate::metadata::Image;
use crate::transaction::{self, Config, Error, Mark, Record, Reply, Request, Shard};

fn translated(effects: Vec<transaction::Effect>) -> Vec<Effect<Shard>> {
    let one = |effect| match effect {
        transaction::Effect::Reply { to, reply } => Effect::Reply { to, reply },
        transaction::Effect::Append { write, records } => Effect::Append {
            write,
            content: Content::Records(records),
        },
        transaction::Effect::Mark(mark) => Effect::Errand(mark),
    };
    effects.into_iter().map(one).collect()
}

/// The settings of transactions, from those of the broker.
#[must_use]
pub fn transaction_config(settings: &BrokerSettings) -> Config {
    let ms = |value: i32| u64::try_from(value).unwrap_or(1).max(1);
    Config {
        timeout_max_ms: settings.transaction_max_timeout_ms,
        id_expiration_ms: settings.transactional_id_expiration_ms.into(),
        abort_interval_ms: ms(settings.transaction_abort_timed_out_transaction_cleanup_interval_ms),
        expiry_interval_ms: ms(settings.transaction_remove_expired_transaction_cleanup_interval_ms),
    }
}

impl Machine for Shard {
    type Config = Config;
    type Request = Request;
    type Reply = Reply;
    type Record = Record;
    type Errand = Mark;

    const TOPIC: &'static str = transaction::TOPIC;

    fn new(config: Config, place: Place) -> Self {
        Self::new(config, place.leader_epoch.0)
    }

    fn topic_shape(settings: &BrokerSettings) -> TopicShape {
        TopicShape {
            partitions: settings.transaction_state_log_num_partitions,
            replication_factor: settings.transaction_state_log_replication_factor,
            segment_bytes: settings.transaction_state_log_segment_bytes,
            min_insync_replicas: Some(settings.transaction_state_log_min_isr),
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

    fn changed(_old: &Image, _new: &Image) -> Option<Request> {
        None
    }

    fn copied(request: &Request) -> Request {
        request.clone()
    }
}
