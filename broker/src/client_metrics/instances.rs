//! The clients that asked, as many as there is room for, and Kafka's rules for what they may do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_protocol::Uuid;

use super::client::Client;
use super::instance::Instance;
use super::subscription::{Subscription, select};

/// How many are kept. Beyond them, who was not heard of for longest goes, and is known again when it comes back.
pub const INSTANCES_MAX: usize = 16_384;
/// The least time for which one is kept that is not heard of, in milliseconds; three intervals, if that is more.
const KEPT_MS_MIN: i64 = 60_000;
/// Ids that stand for something else than an instance.
const RESERVED: [Uuid; 2] = [Uuid::ZERO, Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])];
/// The numbers of codecs that a push may name: none, gzip, snappy, LZ4, zstd.
const CODECS: std::ops::RangeInclusive<i8> = 0..=4;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The id is none of an instance.
    InvalidId,
    /// The client has said that its push before was its last.
    Terminated,
    /// An interval has not gone by.
    TooSoon,
    /// The client was told to push something else meanwhile, or was never told.
    UnknownSubscription,
    /// The codec is not known.
    UnknownCodec,
    /// More bytes than may come.
    TooLarge,
    /// It cannot be read.
    Malformed,
}

/// What a client is told to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// To be named in each push.
    pub subscription_id: i32,
    /// How often, in milliseconds.
    pub interval_ms: i64,
    /// What the names begin with.
    pub metrics: Vec<String>,
}

/// What a push says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push {
    /// Whose it is.
    pub instance_id: Uuid,
    /// As the client was told.
    pub subscription_id: i32,
    /// Whether no other one follows.
    pub terminating: bool,
    /// The number of the codec.
    pub codec: i8,
    /// How many bytes it has, compressed as they are.
    pub bytes: usize,
}

/// What is known of whose push is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What the client calls itself.
    pub client_id: Option<Arc<str>>,
    /// How often it pushes, in milliseconds.
    pub interval_ms: i64,
    /// What the names of the metrics begin with that it was asked for.
    pub metrics: Vec<String>,
}

/// What was counted since the start, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clients that are known.
    pub instances: usize,
    /// Pushes that were taken.
    pub pushes: u64,
    /// Requests that came too soon.
    pub throttled: u64,
    /// Pushes for a subscription that the client does not have.
    pub unknown_subscriptions: u64,
    /// Clients that had to go for others.
    pub evictions: u64,
}

/// All that are known.
#[derive(Debug, Default)]
pub struct Instances {
    subscriptions: Vec<Subscription>,
    /// Of the subscriptions.
    version: u64,
    known: BTreeMap<Uuid, Instance>,
    by_expiry: BTreeSet<(i64, Uuid)>,
    by_use: BTreeSet<(u64, Uuid)>,
    by_connection: BTreeSet<(u64, Uuid)>,
    used: u64,
    counts: Counts,
}

impl Instances {
    /// From now on clients are held against these. Each is told when it comes the next time.
    pub fn subscribe(&mut self, subscriptions: Vec<Subscription>) {
        self.subscriptions = subscriptions;
        self.version += 1;
    }

    /// Whether an instance is known.
    #[must_use]
    pub fn is_known(&self, id: Uuid) -> bool {
        self.known.contains_key(&id)
    }

    /// What was counted, and how many there are now.
    pub fn counts(&mut self, now_ms: i64) -> Counts {
        self.expire(now_ms);
        Counts {
            instances: self.known.len(),
            ..self.counts
        }
    }

    /// A client asks what to push.
    ///
    /// # Errors
    /// [`Refusal::TooSoon`], unless the client was refused for what the answer tells.
    pub fn get(&mut self, client: Client, connection: u64, now_ms: i64) -> Result<Wanted, Refusal> {
        let instance = self.seen(client, connection, now_ms);
        let may_ask_again = matches!(
            instance.refused,
            Some(Refusal::UnknownSubscription | Refusal::UnknownCodec)
        );
        if !instance.may_get(now_ms) && !may_ask_again {
            self.counts.throttled += 1;
            return Err(Refusal::TooSoon);
        }
        instance.refused = None;
        Ok(Wanted {
            subscription_id: instance.subscription_id,
            interval_ms: instance.selected.interval_ms,
            metrics: instance.selected.metrics.iter().cloned().collect(),
        })
    }

    /// A client pushes. Where what it brings cannot be read, [`Instances::failed`] is told so.
    ///
    /// # Errors
    /// The first refusal that fits, in Kafka's order.
    pub fn push(
        &mut self,
        client: Client,
        push: Push,
        bytes_max: usize,
        connection: u64,
        now_ms: i64,
    ) -> Result<Taken, Refusal> {
        if RESERVED.contains(&push.instance_id) {
            return Err(Refusal::InvalidId);
        }
        let instance = self.seen(client, connection, now_ms);
        let admitted = admit(instance, push, bytes_max, now_ms);
        instance.terminating = push.terminating;
        instance.refused = admitted.err();
        let taken = admitted.map(|()| Taken {
            client_id: instance.client.client_id.clone(),
            interval_ms: instance.selected.interval_ms,
            metrics: instance.selected.metrics.iter().cloned().collect(),
        });
        match &taken {
            Ok(_) => self.counts.pushes += 1,
            Err(Refusal::TooSoon) => self.counts.throttled += 1,
            Err(Refusal::UnknownSubscription) => self.counts.unknown_subscriptions += 1,
            Err(_) => {}
        }
        taken
    }

    /// What was pushed could not be taken after all.
    pub fn failed(&mut self, id: Uuid, refusal: Refusal) {
        if let Some(instance) = self.known.get_mut(&id) {
            instance.refused = Some(refusal);
        }
    }

    /// A connection has ended, and those with it who came over it first.
    pub fn disconnected(&mut self, connection: u64) {
        let range = (connection, Uuid::ZERO)..=(connection, Uuid([u8::MAX; 16]));
        let gone: Vec<Uuid> = self.by_connection.range(range).map(|(_, id)| *id).collect();
        for id in gone {
            self.forget(id);
        }
    }

    /// The instance of a request, made if there is none, and anew if the subscriptions are others since.
    fn seen(&mut self, client: Client, connection: u64, now_ms: i64) -> &mut Instance {
        self.expire(now_ms);
        let id = client.instance_id;
        let mut instance = match self.forget(id) {
            Some(instance) if instance.version == self.version => instance,
            Some(before) => self.made(before.client, connection),
            None => self.made(client, connection),
        };
        self.used += 1;
        instance.used = self.used;
        instance.expires_ms = now_ms + KEPT_MS_MIN.max(3 * instance.selected.interval_ms);
        self.by_expiry.insert((instance.expires_ms, id));
        self.by_use.insert((instance.used, id));
        self.by_connection.insert((instance.connection, id));
        self.known.entry(id).or_insert(instance)
    }

    fn made(&mut self, client: Client, connection: u64) -> Instance {
        while self.known.len() >= INSTANCES_MAX {
            let Some((_, longest)) = self.by_use.first().copied() else {
                break;
            };
            self.forget(longest);
            self.counts.evictions += 1;
        }
        let selected = select(&self.subscriptions, &client);
        Instance::new(client, selected, self.version, connection)
    }

    fn expire(&mut self, now_ms: i64) {
        while let Some((expires_ms, id)) = self.by_expiry.first().copied()
            && expires_ms <= now_ms
        {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: Uuid) -> Option<Instance> {
        let instance = self.known.remove(&id)?;
        self.by_expiry.remove(&(instance.expires_ms, id));
        self.by_use.remove(&(instance.used, id));
        self.by_connection.remove(&(instance.connection, id));
        Some(instance)
    }
}

/// Whether a push may be taken, by all that can be seen without reading it.
fn admit(instance: &mut Instance, push: Push, bytes_max: usize, now_ms: i64) -> Result<(), Refusal> {
    if instance.terminating {
        return Err(Refusal::Terminated);
    }
    if !instance.may_push(now_ms) && !push.terminating {
        return Err(Refusal::TooSoon);
    }
    if push.subscription_id != instance.subscription_id {
        return Err(Refusal::UnknownSubscription);
    }
    if !CODECS.contains(&push.codec) {
        return Err(Refusal::UnknownCodec);
    }
    if push.bytes > bytes_max {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
