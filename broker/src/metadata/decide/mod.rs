//! Requests into records: what the controller decides, and why it refuses.
//!
//! A decision depends on the image, the request and the [`Context`], on nothing else. It is made on a draft: an image
//! into which its own records are folded as they are written, so that the items of one request see each other.

mod acls;
mod apply_topic;
mod apply_user;
mod assignment;
mod brokers;
mod change;
mod configs;
mod effects;
mod election;
mod features;
mod internal_topics;
mod isr;
mod partitions;
mod producer_ids;
mod quotas;
mod reassignment;
mod restart;
mod scram;
mod tokens;
mod topic_name;
mod topics;

pub use acls::matches as acl_matches;
pub use features::FLOTILLA_VERSION;
pub use internal_topics::is_internal;
pub use producer_ids::PRODUCER_ID_BLOCK;

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{ItemResult, Refusal, Request, Response};
use flotilla_control::settings::{self, Scope};
use flotilla_protocol::{BrokerId, Uuid};

use super::{Fact, Image, Partition, Record};

/// How many partitions one request may create, as in Kafka: more would make the quorum's entries too large.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// What a decision needs that is not in the image.
pub struct Context<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
    /// The index that the entry with these records gets in the quorum's log, or one that is not above it. A registering
    /// broker's epoch is drawn from it.
    pub index: u64,
    /// What a broker setting is set to in the controller's own configuration file, if it is set there.
    pub settings: &'a dyn Fn(&str) -> Option<String>,
    /// The quorum's voters: a majority of them must stay up during a restart.
    pub voters: &'a [BrokerId],
    /// Draws an id that nothing else has.
    pub fresh_id: &'a mut dyn FnMut() -> Uuid,
}

/// What is to be written, and what is answered once it is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// In the order in which they must be folded. None for a dry run.
    pub records: Vec<Record>,
    /// The answer.
    pub response: Response,
}

/// Decides a request. Never fails: a refusal is an answer.
#[must_use]
pub fn decide(image: &Image, request: &Request, context: &mut Context<'_>) -> Decision {
    let mut draft = Draft {
        image: image.clone(),
        records: Vec::new(),
        context,
    };
    let answer = draft.attempt(|draft| match &request.request {
        Some(asked) => answer(draft, asked),
        None => Err(refuse(
            Refusal::InvalidRequest,
            "the request is of a kind that this controller does not know",
        )),
    });
    let mut response = answer.unwrap_or_else(|refused| Response {
        refusal: refused.refusal.into(),
        message: refused.message,
        ..Response::default()
    });
    response.changed = !draft.records.is_empty();
    let records = if request.validate_only {
        Vec::new()
    } else {
        draft.records
    };
    Decision { records, response }
}

fn answer(draft: &mut Draft<'_, '_>, asked: &Asked) -> Result<Response, Refused> {
    match asked {
        Asked::RegisterBroker(request) => brokers::register(draft, request),
        Asked::BrokerHeartbeat(request) => brokers::heartbeat(draft, request),
        Asked::FenceBrokers(request) => Ok(brokers::fence(draft, request)),
        Asked::UnregisterBroker(request) => brokers::unregister(draft, request),
        Asked::AlterPartitions(request) => isr::alter_partitions(draft, request),
        Asked::AllocateProducerIds(request) => producer_ids::allocate(draft, request),
        Asked::CreateTopics(request) => topics::create(draft, request),
        Asked::DeleteTopics(request) => Ok(topics::delete(draft, request)),
        Asked::CreatePartitions(request) => partitions::create(draft, request),
        Asked::AlterConfigs(request) => Ok(configs::alter(draft, request)),
        Asked::CreateAcls(request) => acls::create(draft, request),
        Asked::DeleteAcls(request) => acls::delete(draft, request),
        Asked::AlterScram(request) => Ok(scram::alter(draft, request)),
        Asked::AlterClientQuotas(request) => Ok(quotas::alter(draft, request)),
        Asked::AlterReassignments(request) => Ok(reassignment::alter(draft, request)),
        Asked::ElectLeaders(request) => Ok(election::elect(draft, request)),
        Asked::HandOver(request) => election::hand_over(draft, request),
        Asked::ApplyTopic(request) => apply_topic::apply(draft, request),
        Asked::ApplyUser(request) => apply_user::apply(draft, request),
        Asked::DeleteUser(request) => apply_user::delete(draft, request),
        Asked::ApplyBroker(request) => restart::apply_broker(draft, request),
        Asked::SetDrain(request) => restart::set_drain(draft, request),
        Asked::PrepareRestart(request) => restart::prepare(draft, request),
        Asked::FinalizeFeature(request) => features::finalize(draft, request),
        Asked::UpdateFeatures(request) => features::update(draft, request),
        Asked::CreateDelegationToken(request) => tokens::create(draft, request),
        Asked::RenewDelegationToken(request) => tokens::renew(draft, request),
        Asked::ExpireDelegationToken(request) => tokens::expire(draft, request),
        Asked::RemoveExpiredTokens(_) => Ok(tokens::remove_expired(draft)),
    }
}

/// Why a request, or an item of it, is refused. The message says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq)]
struct Refused {
    refusal: Refusal,
    message: String,
}

fn refuse(refusal: Refusal, message: impl Into<String>) -> Refused {
    Refused {
        refusal,
        message: message.into(),
    }
}

/// A decision being made.
struct Draft<'d, 'c> {
    image: Image,
    records: Vec<Record>,
    context: &'d mut Context<'c>,
}

/// The settings of a topic that elections and in-sync sets follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    min_insync_replicas: usize,
    unclean_election: bool,
    /// Whether a record counts as committed only once it is synced, so that a crash loses nothing committed.
    synced: bool,
}

impl Draft<'_, '_> {
    fn write(&mut self, fact: Fact) {
        let record = Record { record: Some(fact) };
        self.image
            .fold(&record)
            .expect("the controller understands the records that it decides itself");
        self.records.push(record);
    }

    /// All or nothing: when it is refused, nothing that it wrote stays.
    fn attempt<T>(&mut self, decide: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        let (image, length) = (self.image.clone(), self.records.len());
        let result = decide(self);
        if result.is_err() {
            self.image = image;
            self.records.truncate(length);
        }
        result
    }

    fn fresh_id(&mut self) -> Uuid {
        (self.context.fresh_id)()
    }

    /// What a broker setting is set to for the whole cluster: while it runs, else in the configuration file.
    fn setting(&self, key: &str) -> Option<String> {
        self.image
            .cluster_setting(key)
            .map(str::to_owned)
            .or_else(|| (self.context.settings)(key))
    }

    /// A number for the whole cluster, or Kafka's default.
    fn number(&self, key: &str) -> i64 {
        let set = self.setting(key).and_then(|value| value.trim().parse().ok());
        let default = || settings::find(Scope::Broker, key)?.default?.parse().ok();
        set.or_else(default).unwrap_or(0)
    }

    fn rules(&self, topic: &str) -> Rules {
        let cluster = |key: &str| self.setting(key);
        let value = |key: &str| self.image.topic_setting(topic, key, &cluster);
        Rules {
            min_insync_replicas: value("min.insync.replicas")
                .and_then(|value| value.parse().ok())
                .unwrap_or(1),
            unclean_election: value("unclean.leader.election.enable").as_deref() == Some("true"),
            synced: value("flush.policy").as_deref() != Some("os"),
        }
    }

    /// Writes a new state of a partition.
    fn write_partition(
        &mut self,
        topic: &super::Topic,
        index: flotilla_protocol::PartitionIndex,
        state: &Partition,
    ) {
        self.write(Fact::Partition(state.to_record(topic.id, index)));
    }
}

/// The result of one item: done, or why not.
fn item(name: &str, result: Result<(), Refused>) -> ItemResult {
    let mut item = ItemResult {
        name: name.to_owned(),
        ..ItemResult::default()
    };
    if let Err(refused) = result {
        item.refusal = refused.refusal.into();
        item.message = refused.message;
    }
    item
}

fn of_items(items: Vec<ItemResult>) -> Response {
    Response {
        items,
        ..Response::default()
    }
}

/// Whether the resource that asks is the one that owns. A resource that was deleted and created again under its name
/// (another uid) takes its things over.
fn owns(asks: &proto::Owner, owner: &proto::Owner) -> bool {
    (!asks.uid.is_empty() && asks.uid == owner.uid)
        || (asks.namespace == owner.namespace && asks.name == owner.name)
}

fn owned_by_another(what: &str, name: &str, owner: &proto::Owner) -> Refused {
    let message = format!(
        "{what} `{name}` belongs to the resource `{}/{}`",
        owner.namespace, owner.name
    );
    refuse(Refusal::OwnedByAnother, message)
}

#[cfg(test)]
mod tests;
