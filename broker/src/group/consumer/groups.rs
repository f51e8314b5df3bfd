//! All groups of the new protocol of one shard at one moment.

use std::sync::Arc;

use imbl::OrdMap;

use super::group::Group;
use super::record::Record;
use crate::group::Text;

/// Groups by id. Cloning is cheap: the clones share what they have in common.
#[derive(Clone, Debug, Default)]
pub(in crate::group) struct Groups(OrdMap<Text, Arc<Group>>);

impl Groups {
    /// Folds a record in.
    pub(in crate::group) fn apply(&mut self, id: &Text, record: &Record) {
        if matches!(record, Record::Group(None)) {
            self.0.remove(id);
            return;
        }
        if let Some(group) = self.0.get_mut(id) {
            Arc::make_mut(group).apply(record);
        } else if !record.is_tombstone() {
            let mut group = Group::default();
            group.apply(record);
            self.0.insert(id.clone(), Arc::new(group));
        }
    }

    pub(in crate::group) fn get(&self, id: &str) -> Option<&Arc<Group>> {
        self.0.get(id)
    }

    pub(in crate::group) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub(in crate::group) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets a group that the log says is a classic one.
    pub(in crate::group) fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    pub(in crate::group) fn iter(&self) -> impl Iterator<Item = (&Text, &Arc<Group>)> {
        self.0.iter()
    }
}
