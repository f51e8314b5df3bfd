//! The latest offset of each key, in memory that does not grow with the keys.

use flotilla_protocol::Offset;
use ring::digest::{Context, SHA256};

/// A digest of 128 bits, and the offset plus one: zero is a free slot.
type Slot = [u64; 3];

/// What a slot takes, in bytes: as much as in Kafka, so that `log.cleaner.dedupe.buffer.size` means as many keys.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

/// Knows keys by the first 128 bits of SHA-256 over a salt and the key.
///
/// Two keys with one digest would lose the older one's record. Kafka takes MD5, for which anybody can make such keys today.
/// Here the salt is drawn anew for each compaction and leaves the process never, so that nobody can aim; and by chance, five
/// million keys in the map against a million million records meet with a probability of some 10^-20, which is far less than
/// that of memory and disks to alter a key unseen.
pub(super) struct OffsetMap {
    salt: [u8; 16],
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    latest: Offset,
}

impl OffsetMap {
    /// For `keys` keys, or as many as go into `memory_bytes` when a part of `load_factor` of the slots is used; one at least.
    pub(super) fn new(salt: [u8; 16], keys: u64, memory_bytes: usize, load_factor: f64) -> Self {
        let load_factor = if load_factor > 0.0 && load_factor <= 1.0 {
            load_factor
        } else {
            1.0
        };
        let wanted = (keys as f64 / load_factor).ceil() as usize;
        // One slot is always free: a search ends there.
        let slots = wanted.saturating_add(1).min(memory_bytes / SLOT_BYTES).max(2);
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        Self {
            salt,
            slots: vec![[0; 3]; slots],
            keys: 0,
            keys_max,
            latest: Offset(-1),
        }
    }

    /// How many keys are known.
    pub(super) fn len(&self) -> usize {
        self.keys
    }

    /// Everything up to this offset has been taken in; `-1`: nothing yet.
    pub(super) fn latest(&self) -> Offset {
        self.latest
    }

    /// Everything up to `offset` has been taken in.
    pub(super) fn reached(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// Takes in the next record of the log. False: there is no room for one more key, and nothing was done.
    pub(super) fn insert(&mut self, key: &[u8], offset: Offset) -> bool {
        let digest = self.digest(key);
        let slot = self.find(digest);
        if self.slots[slot][2] == 0 {
            if self.keys == self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        self.slots[slot] = [digest[0], digest[1], offset.0 as u64 + 1];
        self.reached(offset);
        true
    }

    /// The latest offset of a key that was taken in.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.find(self.digest(key));
        let after = self.slots[slot][2];
        after.checked_sub(1).map(|offset| Offset(offset as i64))
    }

    /// The slot of a digest, or the free one where it would go.
    fn find(&self, digest: [u64; 2]) -> usize {
        let mut slot = ((u128::from(digest[0]) * self.slots.len() as u128) >> 64) as usize;
        loop {
            let [first, second, after] = self.slots[slot];
            if after == 0 || [first, second] == digest {
                return slot;
            }
            slot += 1;
            if slot == self.slots.len() {
                slot = 0;
            }
        }
    }

    fn digest(&self, key: &[u8]) -> [u64; 2] {
        let mut context = Context::new(&SHA256);
        context.update(&self.salt);
        context.update(key);
        let digest = context.finish();
        let mut halves = [0; 2];
        for (half, bytes) in halves.iter_mut().zip(digest.as_ref().chunks_exact(8)) {
            *half = bytes.iter().fold(0, |half, byte| half << 8 | u64::from(*byte));
        }
        halves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn latest_offset_of_each_key_is_found_and_unknown_keys_are_not() {
        let mut map = OffsetMap::new([7; 16], 1_000, 1 << 20, 0.9);
        let mut model = BTreeMap::new();
        for n in 0..5_000_i64 {
            let key = format!("key-{}", n * n % 997);
            assert!(map.insert(key.as_bytes(), Offset(n)));
            model.insert(key, Offset(n));
        }
        for (key, offset) in &model {
            assert_eq!(map.get(key.as_bytes()), Some(*offset));
        }
        assert_eq!((map.len(), map.latest()), (model.len(), Offset(4_999)));
        assert_eq!(map.get(b"another"), None);
        assert_eq!(map.get(b""), None);
        assert!(map.insert(b"", Offset(5_000)));
        assert_eq!(map.get(b""), Some(Offset(5_000)));
    }

    #[test]
    fn memory_bounds_the_keys_and_known_keys_still_move() {
        let mut map = OffsetMap::new([0; 16], u64::MAX, 100 * SLOT_BYTES, 0.9);
        assert_eq!(map.slots.len(), 100);
        for n in 0..90_i64 {
            assert!(map.insert(&n.to_be_bytes(), Offset(n)));
        }
        assert!(!map.insert(b"one more", Offset(90)));
        assert_eq!((map.len(), map.latest()), (90, Offset(89)));
        assert!(map.insert(&5_i64.to_be_bytes(), Offset(91)));
        assert_eq!(map.get(&5_i64.to_be_bytes()), Some(Offset(91)));
    }

    #[test]
    fn slots_are_no_more_than_keys_need_and_never_none() {
        assert_eq!(OffsetMap::new([0; 16], 10, 1 << 30, 0.5).slots.len(), 21);
        for (keys, memory_bytes, load_factor) in [(0, 0, 0.0), (5, 0, 1.0), (u64::MAX, 48, f64::NAN)] {
            let mut map = OffsetMap::new([0; 16], keys, memory_bytes, load_factor);
            assert!(
                map.insert(b"key", Offset(0)),
                "{keys} {memory_bytes} {load_factor}"
            );
        }
    }
}
