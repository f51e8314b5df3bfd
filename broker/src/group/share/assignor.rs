//! Who reads what in a share group: every partition has a reader and every member a partition, as evenly as that goes, and
//! as it was before as far as that goes (Kafka's assignor `simple`).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;

use crate::group::Text;
use crate::group::consumer::Partitions;

type Place = (Uuid, i32);

/// What an assignment goes by.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberSpec {
    /// The partitions that it may have.
    pub(super) readable: BTreeSet<Place>,
    /// Those that it had.
    pub(super) before: Partitions,
}

/// Assigns. Partitions that the same members may have are shared out together.
pub(super) fn assign(members: &BTreeMap<Text, MemberSpec>) -> BTreeMap<Text, Partitions> {
    let mut readers: BTreeMap<Place, Vec<&Text>> = BTreeMap::new();
    for (id, spec) in members {
        for place in &spec.readable {
            readers.entry(*place).or_default().push(id);
        }
    }
    let mut pools: BTreeMap<Vec<&Text>, Vec<Place>> = BTreeMap::new();
    for (place, readers) in readers {
        pools.entry(readers).or_default().push(place);
    }
    let mut assigned: BTreeMap<Text, Partitions> = members
        .keys()
        .map(|id| (id.clone(), Partitions::default()))
        .collect();
    for (readers, places) in &pools {
        let shared = match places.len() >= readers.len() {
            true => deal_partitions(members, readers, places),
            false => deal_members(members, readers, places),
        };
        for (id, place) in shared {
            if let Some(partitions) = assigned.get_mut(id) {
                partitions.insert(place.0, place.1);
            }
        }
    }
    assigned
}

/// Enough partitions for all: each goes to one member.
fn deal_partitions<'a>(
    members: &BTreeMap<Text, MemberSpec>,
    readers: &[&'a Text],
    places: &[Place],
) -> Vec<(&'a Text, Place)> {
    let (each, mut more) = (places.len() / readers.len(), places.len() % readers.len());
    let mut free: BTreeSet<Place> = places.iter().copied().collect();
    let mut dealt: Vec<(&Text, Place)> = Vec::with_capacity(places.len());
    let mut counts: Vec<usize> = Vec::with_capacity(readers.len());
    for id in readers {
        let mut count = 0;
        for place in members.get(*id).into_iter().flat_map(|spec| spec.before.iter()) {
            let fits = count < each || (count == each && more > 0);
            if fits && free.remove(&place) {
                dealt.push((id, place));
                count += 1;
            }
        }
        more -= usize::from(count > each);
        counts.push(count);
    }
    let mut free = free.into_iter();
    for (id, count) in readers.iter().zip(counts) {
        let takes_more = count <= each && more > 0;
        more -= usize::from(takes_more);
        let wanted = (each + usize::from(takes_more)).saturating_sub(count);
        dealt.extend(free.by_ref().take(wanted).map(|place| (*id, place)));
    }
    dealt
}

/// Fewer partitions than members: each member gets one, and shares it.
fn deal_members<'a>(
    members: &BTreeMap<Text, MemberSpec>,
    readers: &[&'a Text],
    places: &[Place],
) -> Vec<(&'a Text, Place)> {
    let (each, mut more) = (readers.len() / places.len(), readers.len() % places.len());
    let mut counts: BTreeMap<Place, usize> = places.iter().map(|place| (*place, 0)).collect();
    let mut dealt = Vec::with_capacity(readers.len());
    let mut without: Vec<&Text> = Vec::new();
    for id in readers {
        let mut before = members.get(*id).into_iter().flat_map(|spec| spec.before.iter());
        let kept = before.find(|place| {
            let count = counts.get(place).copied();
            count.is_some_and(|count| count < each || (count == each && more > 0))
        });
        match kept.and_then(|place| counts.get_mut(&place).map(|count| (place, count))) {
            Some((place, count)) => {
                more -= usize::from(*count == each);
                *count += 1;
                dealt.push((*id, place));
            }
            None => without.push(id),
        }
    }
    for id in without {
        let emptiest = counts.iter_mut().min_by_key(|(_, count)| **count);
        if let Some((place, count)) = emptiest {
            *count += 1;
            dealt.push((id, *place));
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOPIC: Uuid = Uuid([1; 16]);

    fn specs(
        members: usize,
        partitions: i32,
        before: &BTreeMap<Text, Partitions>,
    ) -> BTreeMap<Text, MemberSpec> {
        let of = |n: usize| {
            let id = Text::from(format!("m{n:02}"));
            let spec = MemberSpec {
                readable: (0..partitions).map(|partition| (TOPIC, partition)).collect(),
                before: before.get(&id).cloned().unwrap_or_default(),
            };
            (id, spec)
        };
        (0..members).map(of).collect()
    }

    fn readers(assigned: &BTreeMap<Text, Partitions>) -> BTreeMap<Place, usize> {
        let mut counts = BTreeMap::new();
        for place in assigned.values().flat_map(Partitions::iter) {
            *counts.entry(place).or_default() += 1;
        }
        counts
    }

    #[test]
    fn members_share_partitions_where_there_are_too_few() {
        let assigned = assign(&specs(5, 2, &BTreeMap::new()));
        assert!(assigned.values().all(|partitions| partitions.len() == 1));
        assert_eq!(readers(&assigned).into_values().collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn members_of_other_topics_leave_each_other_alone() {
        let other = Uuid([2; 16]);
        let mut members = specs(2, 2, &BTreeMap::new());
        let alone = MemberSpec {
            readable: [(other, 0)].into(),
            before: Partitions::default(),
        };
        members.insert("alone".into(), alone);
        let assigned = assign(&members);
        assert_eq!(assigned["alone"], [(other, 0)].into_iter().collect());
        assert!(assigned.values().all(|partitions| partitions.len() == 1));
    }

    proptest! {
        /// Every partition has a reader, every member a partition, none has two more than another, and who stays keeps
        /// what it can.
        #[test]
        fn assignments_are_even_and_stay(
            first in 1_usize..8,
            second in 1_usize..8,
            partitions in 1_i32..12,
        ) {
            let before = assign(&specs(first, partitions, &BTreeMap::new()));
            let after = assign(&specs(second, partitions, &before));
            for (count, assigned) in [(first, &before), (second, &after)] {
                let readers = readers(assigned);
                prop_assert_eq!(readers.len(), partitions as usize);
                let sizes: Vec<usize> = assigned.values().map(Partitions::len).collect();
                let spread = |counts: &[usize]| counts.iter().max().unwrap() - counts.iter().min().unwrap();
                prop_assert!(sizes.iter().all(|size| *size >= 1) && spread(&sizes) <= 1);
                let counts: Vec<usize> = readers.into_values().collect();
                prop_assert!(spread(&counts) <= 1);
                prop_assert_eq!(sizes.iter().sum::<usize>(), count.max(partitions as usize));
            }
            if first == second {
                prop_assert_eq!(before, after);
            }
        }
    }
}
