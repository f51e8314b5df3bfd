//! Those who wait for a mark of the partition to pass an offset.

use flotilla_protocol::Offset;
use std::collections::BTreeSet;

/// Names one who waits, within one partition. The shell knows whom it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// A queue by offset: waking costs what is woken, not what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    by_offset: BTreeSet<(Offset, WaiterId)>,
}

impl Waiting {
    /// `waiter` is due once the mark is at `offset` or beyond.
    pub fn insert(&mut self, offset: Offset, waiter: WaiterId) {
        self.by_offset.insert((offset, waiter));
    }

    /// `waiter` no longer waits: its time was up.
    pub fn remove(&mut self, offset: Offset, waiter: WaiterId) {
        self.by_offset.remove(&(offset, waiter));
    }

    /// Takes out, in order, all that are due at `mark`.
    pub fn take_due(&mut self, mark: Offset) -> Vec<WaiterId> {
        let mut due = Vec::new();
        while let Some(first) = self.by_offset.first()
            && first.0 <= mark
        {
            due.extend(self.by_offset.pop_first().map(|(_, waiter)| waiter));
        }
        due
    }

    /// Takes out all, in order.
    pub fn take_all(&mut self) -> Vec<WaiterId> {
        std::mem::take(&mut self.by_offset)
            .into_iter()
            .map(|(_, waiter)| waiter)
            .collect()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_offset.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_waiters_leave_in_order_of_offset() {
        let mut waiting = Waiting::default();
        waiting.insert(Offset(7), WaiterId(1));
        waiting.insert(Offset(5), WaiterId(2));
        waiting.insert(Offset(5), WaiterId(3));
        waiting.insert(Offset(6), WaiterId(4));
        waiting.remove(Offset(5), WaiterId(3));
        assert_eq!(waiting.take_due(Offset(4)), []);
        assert_eq!(waiting.take_due(Offset(6)), [WaiterId(2), WaiterId(4)]);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting.take_all(), [WaiterId(1)]);
        assert!(waiting.is_empty());
    }
}
