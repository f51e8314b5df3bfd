//! Which sessions a leader keeps, where there is not room for all.

use std::collections::BTreeMap;

/// A session that was not used for so long goes before any other, in milliseconds; a younger one is not pushed out by its like (KIP-227).
const EVICTION_MS: i64 = 120_000;

/// A session that asks to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// A follower's, which may push out those of consumers.
    pub is_privileged: bool,
    /// Its partitions.
    pub size: usize,
}

#[derive(Clone, Debug)]
struct Slot<S> {
    session: S,
    is_privileged: bool,
    size: usize,
    created_ms: i64,
    used_ms: i64,
}

/// Sessions by their ids: at most so many, and with at most so many partitions in all. `S` is what the owner keeps of one.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    slots_max: usize,
    partitions_max: usize,
    partitions: usize,
    evictions: u64,
    slots: BTreeMap<i32, Slot<S>>,
}

impl<S> Cache<S> {
    /// Empty, with these limits.
    #[must_use]
    pub fn new(slots_max: usize, partitions_max: usize) -> Self {
        Self {
            slots_max,
            partitions_max,
            partitions: 0,
            evictions: 0,
            slots: BTreeMap::new(),
        }
    }

    /// How many sessions there may be.
    #[must_use]
    pub fn slots_max(&self) -> usize {
        self.slots_max
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many partitions they have together.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// How many had to go for others, since the start.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// One session.
    #[must_use]
    pub fn get(&self, id: i32) -> Option<&S> {
        self.slots.get(&id).map(|slot| &slot.session)
    }

    /// Ends a session.
    pub fn remove(&mut self, id: i32) -> Option<S> {
        let slot = self.slots.remove(&id)?;
        self.partitions -= slot.size;
        Some(slot.session)
    }

    /// A session was used, and has so many partitions now. Whether it may go on: one that has grown beyond what there is room for ends.
    pub fn touch(&mut self, id: i32, size: usize, now_ms: i64) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else {
            return false;
        };
        self.partitions = self.partitions - slot.size + size;
        slot.size = size;
        slot.used_ms = now_ms;
        let fits = self.partitions <= self.partitions_max;
        if !fits {
            self.remove(id);
            self.evictions += 1;
        }
        fits
    }

    /// Keeps a session under an id that is free, if there is room or another one is worth less. Whether it is kept.
    pub fn admit(&mut self, id: i32, candidate: Candidate, session: S, now_ms: i64) -> bool {
        if candidate.size == 0 || candidate.size > self.partitions_max || self.slots_max == 0 {
            return false;
        }
        while self.slots.len() >= self.slots_max || self.partitions + candidate.size > self.partitions_max {
            if !self.evict_for(candidate, now_ms) {
                return false;
            }
        }
        self.partitions += candidate.size;
        let slot = Slot {
            session,
            is_privileged: candidate.is_privileged,
            size: candidate.size,
            created_ms: now_ms,
            used_ms: now_ms,
        };
        self.slots.insert(id, slot);
        true
    }

    /// Lets one session go that is stale, or worth less than the candidate: consumers' before followers', small ones before large ones. Those younger
    /// than [`EVICTION_MS`] stay, but a follower pushes out any consumer's.
    fn evict_for(&mut self, candidate: Candidate, now_ms: i64) -> bool {
        let stalest = self.slots.iter().min_by_key(|(_, slot)| slot.used_ms);
        let stale = stalest
            .filter(|(_, slot)| now_ms - slot.used_ms > EVICTION_MS)
            .map(|(id, _)| *id);
        let least = || {
            let may_go = |slot: &Slot<S>| {
                now_ms - slot.created_ms > EVICTION_MS || (candidate.is_privileged && !slot.is_privileged)
            };
            let worth = |slot: &Slot<S>| (slot.is_privileged, slot.size);
            self.slots
                .iter()
                .filter(|(_, slot)| may_go(slot))
                .min_by_key(|(_, slot)| worth(slot))
                .filter(|(_, slot)| worth(slot) < (candidate.is_privileged, candidate.size))
                .map(|(id, _)| *id)
        };
        let Some(id) = stale.or_else(least) else {
            return false;
        };
        self.remove(id);
        self.evictions += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSUMER: bool = false;
    const FOLLOWER: bool = true;
    const LATER: i64 = EVICTION_MS + 1;

    fn admit(cache: &mut Cache<()>, id: i32, is_privileged: bool, size: usize, now_ms: i64) -> bool {
        cache.admit(id, Candidate { is_privileged, size }, (), now_ms)
    }

    fn ids(cache: &Cache<()>) -> Vec<i32> {
        cache.slots.keys().copied().collect()
    }

    #[test]
    fn sessions_are_kept_while_there_are_slots() {
        let mut cache = Cache::new(2, 1_000);
        assert!(admit(&mut cache, 1, CONSUMER, 5, 0));
        assert!(admit(&mut cache, 2, CONSUMER, 5, 0));
        assert!(!admit(&mut cache, 3, CONSUMER, 500, 0), "both are young");
        assert_eq!(
            (ids(&cache), cache.partitions(), cache.evictions()),
            (vec![1, 2], 10, 0)
        );
        assert_eq!(cache.remove(1), Some(()));
        assert!(admit(&mut cache, 3, CONSUMER, 1, 0));
        assert_eq!((ids(&cache), cache.partitions()), (vec![2, 3], 6));
    }

    #[test]
    fn stale_session_goes_for_any_other() {
        let mut cache = Cache::new(2, 1_000);
        admit(&mut cache, 1, FOLLOWER, 100, 0);
        admit(&mut cache, 2, CONSUMER, 5, 0);
        cache.touch(2, 5, LATER);
        assert!(admit(&mut cache, 3, CONSUMER, 1, LATER));
        assert_eq!((ids(&cache), cache.evictions()), (vec![2, 3], 1));
    }

    #[test]
    fn larger_session_pushes_out_a_smaller_one_that_has_had_its_time() {
        let mut cache = Cache::new(2, 1_000);
        admit(&mut cache, 1, CONSUMER, 10, 0);
        admit(&mut cache, 2, CONSUMER, 5, 0);
        cache.touch(1, 10, LATER);
        cache.touch(2, 5, LATER);
        assert!(
            !admit(&mut cache, 3, CONSUMER, 5, LATER),
            "as large is not larger"
        );
        assert!(admit(&mut cache, 3, CONSUMER, 6, LATER));
        assert_eq!(ids(&cache), [1, 3]);
    }

    #[test]
    fn follower_pushes_out_the_smallest_consumer_however_young() {
        let mut cache = Cache::new(3, 1_000);
        admit(&mut cache, 1, CONSUMER, 10, 0);
        admit(&mut cache, 2, CONSUMER, 5, 0);
        admit(&mut cache, 3, FOLLOWER, 1, 0);
        assert!(admit(&mut cache, 4, FOLLOWER, 1, 0));
        assert_eq!(ids(&cache), [1, 3, 4]);
        assert!(admit(&mut cache, 5, FOLLOWER, 1, 0));
        assert!(
            !admit(&mut cache, 6, FOLLOWER, 100, 0),
            "followers are left alone"
        );
        assert!(
            !admit(&mut cache, 7, CONSUMER, 100, LATER - 1),
            "by consumers too"
        );
        assert_eq!(ids(&cache), [3, 4, 5]);
    }

    #[test]
    fn partitions_are_bounded_as_slots_are() {
        let mut cache = Cache::new(10, 100);
        assert!(
            !admit(&mut cache, 1, FOLLOWER, 101, 0),
            "larger than all there is"
        );
        assert!(admit(&mut cache, 1, CONSUMER, 60, 0));
        assert!(!admit(&mut cache, 2, CONSUMER, 50, 0));
        assert!(admit(&mut cache, 3, FOLLOWER, 50, 0));
        assert_eq!((ids(&cache), cache.partitions()), (vec![3], 50));
        assert!(cache.touch(3, 100, 0));
        assert!(!cache.touch(3, 101, 0), "grown beyond the limit");
        assert_eq!((ids(&cache), cache.partitions()), (vec![], 0));
        assert!(!cache.touch(3, 1, 0), "it is gone");
    }

    #[test]
    fn cache_without_slots_keeps_nothing() {
        let mut cache = Cache::new(0, 100);
        assert!(!admit(&mut cache, 1, FOLLOWER, 1, 0));
        let mut cache = Cache::new(1, 100);
        assert!(!admit(&mut cache, 1, FOLLOWER, 0, 0), "no partitions, no session");
    }
}
