//! `uniform`: every member as many partitions as the others, and as few moved as that allows.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use super::MemberSpec;
use crate::group::Text;
use crate::group::consumer::Partitions;

/// Members by how much each has, as (load, place).
type ByLoad = BTreeSet<(usize, usize)>;

/// Most rounds over all topics. Each move makes the loads more even, so that rounds end by themselves; this bounds the time
/// that a group with odd subscriptions takes.
const ROUNDS_MAX: usize = 16;

/// Keeps what can stay, hands out the rest, and evens out.
pub(super) fn assign(members: &BTreeMap<Text, MemberSpec>) -> BTreeMap<Text, Partitions> {
    let mut board = Board::of(members);
    let mut specs = members.values();
    let first = specs.next();
    if specs.all(|spec| first.is_some_and(|first| first.topics == spec.topics)) {
        board.shed_above_quota();
        board.hand_out_rest();
    } else {
        board.hand_out_rest();
        board.even_out();
    }
    members.keys().cloned().zip(board.assigned).collect()
}

/// Members by their place in the order of ids.
struct Board {
    assigned: Vec<Partitions>,
    loads: Vec<usize>,
    /// Of each topic: how many partitions it has, and who reads it.
    topics: BTreeMap<Uuid, (i32, Vec<usize>)>,
    free: Vec<(Uuid, i32)>,
}

impl Board {
    /// What each had, of that which it still reads and which is there; the rest is free.
    fn of(members: &BTreeMap<Text, MemberSpec>) -> Self {
        let mut topics: BTreeMap<Uuid, (i32, Vec<usize>)> = BTreeMap::new();
        for (place, spec) in members.values().enumerate() {
            for (topic, partitions) in &spec.topics {
                topics
                    .entry(*topic)
                    .or_insert((*partitions, Vec::new()))
                    .1
                    .push(place);
            }
        }
        let mut taken: BTreeSet<(Uuid, i32)> = BTreeSet::new();
        let mut assigned = Vec::with_capacity(members.len());
        for spec in members.values() {
            let kept: Partitions = spec
                .before
                .iter()
                .filter(|(topic, partition)| {
                    spec.topics.get(topic).is_some_and(|count| partition < count)
                        && taken.insert((*topic, *partition))
                })
                .collect();
            assigned.push(kept);
        }
        // Those with fewest readers first: they have least choice.
        let mut order: Vec<(usize, Uuid, i32)> = topics
            .iter()
            .map(|(topic, (partitions, readers))| (readers.len(), *topic, *partitions))
            .collect();
        order.sort_unstable();
        let free = order
            .into_iter()
            .flat_map(|(_, topic, partitions)| (0..partitions).map(move |partition| (topic, partition)))
            .filter(|place| !taken.contains(place))
            .collect();
        Self {
            loads: assigned.iter().map(Partitions::len).collect(),
            assigned,
            topics,
            free,
        }
    }

    /// Where all read the same: those with most keep one more where the numbers do not divide evenly.
    fn shed_above_quota(&mut self) {
        let all: usize = self
            .topics
            .values()
            .map(|(partitions, _)| usize::try_from(*partitions).unwrap_or(0))
            .sum();
        let (each, mut extra) = (all / self.loads.len().max(1), all % self.loads.len().max(1));
        for place in 0..self.loads.len() {
            let mut quota = each;
            if self.loads[place] > each && extra > 0 {
                quota += 1;
                extra -= 1;
            }
            let above: Vec<(Uuid, i32)> = self.assigned[place].iter().skip(quota).collect();
            for (topic, partition) in above {
                self.assigned[place].remove(topic, partition);
                self.loads[place] -= 1;
                self.free.push((topic, partition));
            }
        }
    }

    /// Each to the one with the fewest among those who read it.
    fn hand_out_rest(&mut self) {
        let free = std::mem::take(&mut self.free);
        let mut queue: Option<(&Vec<usize>, ByLoad)> = None;
        for (topic, partition) in free {
            let Some((_, readers)) = self.topics.get(&topic) else {
                continue;
            };
            // The order stays good for as long as the readers are the same.
            let by_load = match &mut queue {
                Some((same, by_load)) if std::ptr::eq(*same, readers) || *same == readers => by_load,
                _ => {
                    let by_load: ByLoad = readers.iter().map(|place| (self.loads[*place], *place)).collect();
                    &mut queue.insert((readers, by_load)).1
                }
            };
            if let Some((load, place)) = by_load.pop_first() {
                by_load.insert((load + 1, place));
                self.loads[place] += 1;
                self.assigned[place].insert(topic, partition);
            }
        }
    }

    /// Moves partitions from those with most to those with fewest, topic by topic, until no move makes it more even.
    fn even_out(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for (topic, (_, readers)) in &self.topics {
                let mut by_load: BTreeSet<(usize, usize)> =
                    readers.iter().map(|place| (self.loads[*place], *place)).collect();
                let mut holders: BTreeSet<(usize, usize)> = BTreeSet::new();
                for (load, place) in &by_load {
                    if last_of(&self.assigned[*place], *topic).is_some() {
                        holders.insert((*load, *place));
                    }
                }
                while let (Some(&(most, from)), Some(&(fewest, to))) = (holders.last(), by_load.first())
                    && most > fewest + 1
                    && let Some(partition) = last_of(&self.assigned[from], *topic)
                {
                    self.assigned[from].remove(*topic, partition);
                    self.assigned[to].insert(*topic, partition);
                    self.loads[from] -= 1;
                    self.loads[to] += 1;
                    holders.remove(&(most, from));
                    holders.remove(&(fewest, to));
                    by_load.remove(&(most, from));
                    by_load.remove(&(fewest, to));
                    by_load.insert((most - 1, from));
                    by_load.insert((fewest + 1, to));
                    holders.insert((fewest + 1, to));
                    if last_of(&self.assigned[from], *topic).is_some() {
                        holders.insert((most - 1, from));
                    }
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }
}

fn last_of(partitions: &Partitions, topic: Uuid) -> Option<i32> {
    partitions.of_topic(topic)?.last().copied()
}
