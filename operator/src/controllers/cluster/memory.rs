use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::Key;
use crate::certificate::Issued;

/// A fleet that falls silent for less is not spoken of: streams break off whenever the broker that they come from restarts.
pub(super) const SILENCE_MIN: Duration = Duration::from_secs(5);

/// The cache is never behind for longer.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// What is known of each Cluster beside its status. All of it can be lost: then it is found out, or made, again.
#[derive(Clone, Default)]
pub struct Memories(Arc<Mutex<BTreeMap<Key, Memory>>>);

/// What is known of one Cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// The Cluster that this is about: another one of the same name begins anew.
    uid: String,
    /// What proves the operator to the brokers.
    pub(super) operator: Option<Operator>,
    /// Since when the fleet does not answer.
    pub(super) silent_since: Option<Instant>,
    /// Digests of the StatefulSets that the API server would take, by pool.
    pub(super) accepted: BTreeMap<String, String>,
    /// Claims that cannot grow: to which size, and why not.
    pub(super) ungrowable: BTreeMap<String, (String, String)>,
    /// Digests of the requests to cert-manager that were sent, by name.
    pub(super) requested: BTreeMap<String, String>,
    /// The versions of Secrets as they were last written, by name, and when.
    pub(super) written: BTreeMap<String, (u64, Instant)>,
    /// When preferred leaders were asked for last.
    pub(super) elected: Option<Instant>,
    /// Whether the state of single topics matters now.
    pub(super) watches_topics: bool,
}

/// The operator's certificate for one fleet. It lives in memory alone.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    /// The certificate and its key.
    pub(super) issued: Issued,
    /// A digest of the key of the authority that issued it.
    pub(super) authority: String,
    /// When the next one is due: seconds since 1970.
    pub(super) due_unix_s: u64,
}

impl Memories {
    /// What is known of a Cluster. No two reconciles of one Cluster run at a time.
    pub(super) fn recall(&self, key: &Key, uid: &str) -> Memory {
        let known = self.0.lock().get(key).filter(|memory| memory.uid == uid).cloned();
        known.unwrap_or_else(|| Memory {
            uid: uid.to_owned(),
            ..Memory::default()
        })
    }

    pub(super) fn keep(&self, key: &Key, memory: Memory) {
        self.0.lock().insert(key.clone(), memory);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }

    /// Whether the state of single topics matters now.
    pub(super) fn watches_topics(&self, key: &Key) -> bool {
        self.0.lock().get(key).is_some_and(|memory| memory.watches_topics)
    }
}

impl Memory {
    /// Notes that a Secret was written: until the cache has it, nothing may be issued again for want of it.
    pub(super) fn wrote(&mut self, name: &str, version: Option<&str>, now: Instant) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.written.insert(name.to_owned(), (version, now));
        }
    }

    /// Whether the cache is behind what was written of a Secret. One that somebody deleted since is not waited for.
    pub(super) fn is_behind(&self, name: &str, cached: Option<&str>, now: Instant) -> bool {
        let cached: u64 = cached.and_then(|version| version.parse().ok()).unwrap_or(0);
        self.written
            .get(name)
            .is_some_and(|(version, at)| cached < *version && now.saturating_duration_since(*at) < BEHIND_MAX)
    }

    /// Notes whether the fleet answers. How much longer its silence is not spoken of; `None` when it is, or there is none.
    pub(super) fn silence(&mut self, silent: bool, now: Instant) -> Option<Duration> {
        if !silent {
            self.silent_since = None;
            return None;
        }
        let since = *self.silent_since.get_or_insert(now);
        SILENCE_MIN
            .checked_sub(now.saturating_duration_since(since))
            .filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_spoken_of_only_when_it_lasts() {
        let mut memory = Memory::default();
        let start = Instant::now();
        assert_eq!(memory.silence(false, start), None);
        assert_eq!(memory.silence(true, start), Some(SILENCE_MIN));
        let later = start + Duration::from_secs(2);
        assert_eq!(
            memory.silence(true, later),
            Some(SILENCE_MIN - Duration::from_secs(2))
        );
        assert_eq!(memory.silence(true, start + SILENCE_MIN), None);
        assert_eq!(memory.silence(false, later), None);
        assert_eq!(memory.silence(true, later), Some(SILENCE_MIN));
    }

    #[test]
    fn cache_that_is_behind_a_write_is_waited_for_but_not_for_ever() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.wrote("a", Some("9"), now);
        assert!(memory.is_behind("a", None, now) && memory.is_behind("a", Some("8"), now));
        assert!(!memory.is_behind("a", Some("9"), now) && !memory.is_behind("b", None, now));
        assert!(!memory.is_behind("a", None, now + BEHIND_MAX));
    }

    #[test]
    fn another_cluster_of_the_same_name_begins_anew() {
        let (memories, key) = (Memories::default(), Key::new("streaming", "events"));
        let mut memory = memories.recall(&key, "one");
        memory.watches_topics = true;
        memories.keep(&key, memory);
        assert!(memories.watches_topics(&key) && memories.recall(&key, "one").watches_topics);
        assert!(!memories.recall(&key, "two").watches_topics);
        memories.forget(&key);
        assert!(!memories.watches_topics(&key));
    }
}
