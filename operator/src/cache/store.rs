//! Objects of one kind, by name, and by what they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::RwLock;

use crate::Key;

/// What objects are found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Index {
    /// The Cluster that they belong to.
    Cluster(Key),
    /// Their name in the Kafka of a Cluster.
    Named(Key, String),
    /// A Secret that they use.
    Secret(Key),
}

/// Objects of one kind.
pub struct Store<K> {
    state: RwLock<State<K>>,
    index: fn(&K) -> Vec<Index>,
}

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    by: BTreeMap<Index, BTreeSet<Key>>,
    broken: BTreeMap<Key, Broken>,
}

/// An object that could not be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Why.
    pub why: String,
    /// Its metadata, which could be.
    pub metadata: ObjectMeta,
}

impl<K> Store<K> {
    pub(super) fn new(index: fn(&K) -> Vec<Index>) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            by: BTreeMap::new(),
            broken: BTreeMap::new(),
        };
        Self {
            state: RwLock::new(state),
            index,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.state.read().objects.get(key).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().cloned().collect()
    }

    pub(super) fn keys(&self) -> BTreeSet<Key> {
        self.state.read().objects.keys().cloned().collect()
    }

    pub(super) fn by(&self, index: &Index) -> Vec<Arc<K>> {
        let state = self.state.read();
        let keys = state.by.get(index);
        keys.into_iter()
            .flatten()
            .filter_map(|key| state.objects.get(key).cloned())
            .collect()
    }

    pub(super) fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state.read();
        state
            .objects
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Keeps an object; answers with the one before it.
    pub(super) fn put(&self, key: &Key, object: K) -> Option<Arc<K>> {
        let mut state = self.state.write();
        let indexes = (self.index)(&object);
        state.broken.remove(key);
        let before = state.objects.insert(key.clone(), Arc::new(object));
        let former = before
            .as_ref()
            .map(|before| (self.index)(before))
            .unwrap_or_default();
        if former != indexes {
            state.unlink(key, &former);
            for index in indexes {
                state.by.entry(index).or_default().insert(key.clone());
            }
        }
        before
    }

    pub(super) fn remove(&self, key: &Key) -> Option<Arc<K>> {
        let mut state = self.state.write();
        state.broken.remove(key);
        let before = state.objects.remove(key)?;
        let former = (self.index)(&before);
        state.unlink(key, &former);
        Some(before)
    }

    /// Remembers that an object could not be decoded. Answers whether that is new.
    pub(super) fn set_broken(&self, key: &Key, broken: Broken) -> bool {
        let mut state = self.state.write();
        let why = broken.why.clone();
        let before = state.broken.insert(key.clone(), broken);
        before.is_none_or(|before| before.why != why)
    }

    pub(super) fn broken(&self) -> BTreeMap<Key, Broken> {
        self.state.read().broken.clone()
    }
}

impl<K> State<K> {
    fn unlink(&mut self, key: &Key, indexes: &[Index]) {
        for index in indexes {
            if let Some(keys) = self.by.get_mut(index) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by.remove(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store<&'static str> {
        Store::new(|cluster| vec![Index::Cluster(Key::new("a", cluster))])
    }

    fn found(store: &Store<&'static str>, cluster: &str) -> Vec<&'static str> {
        let index = Index::Cluster(Key::new("a", cluster));
        store.by(&index).iter().map(|object| **object).collect()
    }

    #[test]
    fn objects_are_found_by_what_they_belong_to_while_they_do() {
        let store = store();
        let (one, two) = (Key::new("a", "one"), Key::new("a", "two"));
        store.put(&one, "events");
        store.put(&two, "events");
        assert_eq!(found(&store, "events"), ["events", "events"]);
        store.put(&one, "logs");
        assert_eq!(
            (found(&store, "events"), found(&store, "logs")),
            (vec!["events"], vec!["logs"])
        );
        store.remove(&one);
        store.remove(&two);
        assert_eq!(found(&store, "logs"), [""; 0]);
        assert!(store.state.read().by.is_empty(), "nothing is left behind");
    }

    #[test]
    fn namespaces_are_told_apart() {
        let store = store();
        for (namespace, name) in [("a", "z"), ("aa", "a"), ("b", "a")] {
            store.put(&Key::new(namespace, name), "events");
        }
        assert_eq!(store.within("a").len(), 1);
        assert_eq!(store.within("aa").len(), 1);
        assert_eq!(store.within("c").len(), 0);
    }

    #[test]
    fn broken_object_is_remembered_until_it_can_be_read_or_is_gone() {
        let store = store();
        let key = Key::new("a", "one");
        store.put(&key, "events");
        let broken = || Broken {
            why: "no".into(),
            metadata: ObjectMeta::default(),
        };
        assert!(store.set_broken(&key, broken()));
        assert!(!store.set_broken(&key, broken()));
        assert_eq!(
            store.get(&key),
            Some(Arc::new("events")),
            "what was known goes on"
        );
        store.put(&key, "events");
        assert!(store.broken().is_empty());
        store.set_broken(&key, broken());
        store.remove(&key);
        assert!(store.broken().is_empty());
    }
}
