//! What is to happen later: deadlines by key, nearest first.

use std::collections::{BTreeMap, BTreeSet};

/// Deadlines in ms, at most one for each key. Setting a key again moves it.
#[derive(Clone, Debug)]
pub(super) struct Timers<K, A> {
    by_key: BTreeMap<K, (u64, A)>,
    by_time: BTreeSet<(u64, K)>,
}

impl<K: Ord + Clone, A> Timers<K, A> {
    pub(super) fn new() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    pub(super) fn set(&mut self, key: K, at_ms: u64, alarm: A) {
        if let Some((before, _)) = self.by_key.insert(key.clone(), (at_ms, alarm)) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at_ms, key));
    }

    pub(super) fn cancel(&mut self, key: &K) {
        if let Some((key, (at_ms, _))) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(at_ms, key));
        }
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the earliest alarm that is due.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<(K, A)> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        let (_, alarm) = self.by_key.remove(&key)?;
        Some((key, alarm))
    }

    /// When the alarm of a key is due; none: it is not set.
    pub(super) fn deadline(&self, key: &K) -> Option<u64> {
        self.by_key.get(key).map(|(at_ms, _)| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_order_and_only_when_due() {
        let mut timers = Timers::new();
        timers.set("late", 30, 'c');
        timers.set("early", 10, 'a');
        timers.set("middle", 20, 'b');
        timers.set("early", 25, 'd');
        timers.cancel(&"late");
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.pop(19), None);
        assert_eq!(timers.pop(100), Some(("middle", 'b')));
        assert_eq!(timers.pop(100), Some(("early", 'd')));
        assert_eq!(timers.pop(100), None);
        assert_eq!(timers.deadline(&"late"), None);
    }
}
