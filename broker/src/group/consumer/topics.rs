//! Topics as a coordinator sees them: their ids, partitions and racks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flotilla_protocol::Uuid;
use ring::digest::{Context, SHA256};

use crate::group::Text;
use crate::metadata::{Image, Topic, changed_brokers, changed_topics};

/// The metadata at one moment.
#[derive(Clone)]
pub struct Seen {
    /// Grows with each change.
    pub index: u64,
    /// What it was.
    pub image: Arc<Image>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").field("index", &self.index).finish()
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl Eq for Seen {}

impl Default for Seen {
    fn default() -> Self {
        Self {
            index: 0,
            image: Arc::new(Image::default()),
        }
    }
}

impl Seen {
    /// A topic's id, and how many partitions it has.
    pub(in crate::group) fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        let topic = self.image.topic(name)?;
        Some((
            topic.id,
            i32::try_from(topic.partition_count()).unwrap_or(i32::MAX),
        ))
    }
}

/// Hashes of topics, each computed once for as long as the topic stays as it is.
#[derive(Clone, Debug, Default)]
pub(in crate::group) struct Hashes(BTreeMap<Text, u64>);

/// What changed between two moments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Changed {
    /// Names of topics that came, went, or changed in what an assignment depends on.
    pub(in crate::group) topics: BTreeSet<Text>,
    /// Whether there are topics that were not there before.
    pub(in crate::group) has_new: bool,
}

impl Hashes {
    /// Of what an assignment depends on: the topics that there are, with their ids, partitions and racks. 0 for none.
    /// Two moments at which it is the same need no other assignment.
    pub(in crate::group) fn of_group<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a Text>,
        seen: &Seen,
    ) -> i64 {
        let mut context = None;
        for name in names {
            let Some(topic) = seen.image.topic(name) else {
                continue;
            };
            let hash = match self.0.get(name) {
                Some(hash) => *hash,
                None => {
                    let hash = of_topic(topic, &seen.image);
                    self.0.insert(name.clone(), hash);
                    hash
                }
            };
            context
                .get_or_insert_with(|| Context::new(&SHA256))
                .update(&hash.to_be_bytes());
        }
        context.map_or(0, |context| finish(context).cast_signed())
    }

    /// Forgets what is not true any more, and says what it was.
    pub(in crate::group) fn follow(&mut self, old: &Image, new: &Image) -> Changed {
        let mut changed = Changed::default();
        let racks_moved = changed_brokers(old, new).iter().any(|change| {
            let rack = |broker: &Option<Arc<crate::metadata::Broker>>| {
                broker
                    .as_ref()
                    .and_then(|broker| broker.rack().map(str::to_owned))
            };
            rack(&change.old) != rack(&change.new)
        });
        if racks_moved {
            changed
                .topics
                .extend(new.topics().map(|topic| Text::from(&*topic.name)));
            self.0.clear();
        }
        for change in changed_topics(old, new) {
            let hash = |topic: &Option<Arc<Topic>>, image| topic.as_ref().map(|topic| of_topic(topic, image));
            let is_same = match (&change.old, &change.new) {
                (Some(_), Some(_)) => hash(&change.old, old) == hash(&change.new, new),
                _ => false,
            };
            changed.has_new |= change.old.is_none();
            if let Some(topic) = change.new.as_ref().or(change.old.as_ref()).filter(|_| !is_same) {
                self.0.remove(&*topic.name);
                changed.topics.insert((*topic.name).into());
            }
        }
        changed
    }
}

fn of_topic(topic: &Topic, image: &Image) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(&topic.id.0);
    context.update(&(topic.name.len() as u64).to_be_bytes());
    context.update(topic.name.as_bytes());
    for (index, partition) in topic.partitions() {
        context.update(&index.0.to_be_bytes());
        let racks: BTreeSet<&str> = partition
            .replicas
            .iter()
            .filter_map(|replica| image.broker(*replica)?.rack())
            .collect();
        for rack in racks {
            context.update(&(rack.len() as u64).to_be_bytes());
            context.update(rack.as_bytes());
        }
    }
    finish(context)
}

fn finish(context: Context) -> u64 {
    let digest = context.finish();
    let first: [u8; 8] = std::array::from_fn(|place| digest.as_ref()[place]);
    u64::from_be_bytes(first)
}
