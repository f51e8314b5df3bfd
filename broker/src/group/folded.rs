//! Groups that are the folds of their records: those of all protocols in which the coordinator assigns.

use std::sync::Arc;

use imbl::OrdMap;

use super::Text;

/// A group that is made of records. Cloning one must be cheap.
pub(super) trait Folded: Clone + Default {
    type Record;

    /// Folds a record in.
    fn apply(&mut self, record: &Self::Record);

    /// Whether the group ends with the record.
    fn ends_with(record: &Self::Record) -> bool;

    /// Whether the record only deletes something.
    fn is_tombstone(record: &Self::Record) -> bool;
}

/// All groups of one protocol in one shard at one moment, by id. Cloning is cheap: the clones share what they have in common.
#[derive(Clone, Debug)]
pub(super) struct Groups<G>(OrdMap<Text, Arc<G>>);

impl<G> Default for Groups<G> {
    fn default() -> Self {
        Self(OrdMap::new())
    }
}

impl<G: Folded> Groups<G> {
    /// Folds a record in.
    pub(super) fn apply(&mut self, id: &Text, record: &G::Record) {
        if G::ends_with(record) {
            self.0.remove(id);
            return;
        }
        if let Some(group) = self.0.get_mut(id) {
            Arc::make_mut(group).apply(record);
        } else if !G::is_tombstone(record) {
            let mut group = G::default();
            group.apply(record);
            self.0.insert(id.clone(), Arc::new(group));
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Arc<G>> {
        self.0.get(id)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets a group that the log says is one of another protocol.
    pub(super) fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Text, &Arc<G>)> {
        self.0.iter()
    }
}

/// A decision in the making: a copy of a group, and the records that made it what it is, so that every step sees the one before.
pub(super) struct Draft<G: Folded> {
    pub(super) group: G,
    pub(super) records: Vec<G::Record>,
}

impl<G: Folded> Draft<G> {
    pub(super) fn of(group: Option<&G>) -> Self {
        Self {
            group: group.cloned().unwrap_or_default(),
            records: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, record: G::Record) {
        self.group.apply(&record);
        self.records.push(record);
    }
}
