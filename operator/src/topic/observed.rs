use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::Uuid;
use flotilla_control::proto::metadata::Owner;

/// What a status says of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Kafka's id of it.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: i32,
    /// The replicas of the partition that has fewest, those on their way not counted.
    pub replicas: i32,
    /// Partitions whose number of replicas is still changing.
    pub changing: i32,
}

/// A topic as the fleet has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Who owns it.
    pub owner: Option<&'a Owner>,
    /// What is set on it.
    pub configs: &'a BTreeMap<String, String>,
    /// What a status says of it.
    pub observed: Observed,
    /// The numbers of replicas that its partitions will have once nothing moves any more.
    pub replicas: BTreeSet<i32>,
}

/// The replicas of one partition, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// All, those that come and those that go included.
    pub all: usize,
    /// Those that come.
    pub adding: usize,
    /// Those that go.
    pub removing: usize,
}

impl<'a> Found<'a> {
    /// A topic with these partitions.
    #[must_use]
    pub fn new(
        id: Uuid,
        owner: Option<&'a Owner>,
        configs: &'a BTreeMap<String, String>,
        partitions: impl IntoIterator<Item = Replicas>,
    ) -> Self {
        let mut observed = Observed {
            id,
            partitions: 0,
            replicas: 0,
            changing: 0,
        };
        let mut replicas = BTreeSet::new();
        for partition in partitions {
            let there = count(partition.all.saturating_sub(partition.adding));
            let target = count(partition.all.saturating_sub(partition.removing));
            observed.replicas = match observed.partitions {
                0 => there,
                _ => observed.replicas.min(there),
            };
            observed.partitions = observed.partitions.saturating_add(1);
            observed.changing += i32::from(there != target);
            replicas.insert(target);
        }
        Self {
            owner,
            configs,
            observed,
            replicas,
        }
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_on_their_way_are_not_there_yet() {
        let of = |all, adding, removing| Replicas {
            all,
            adding,
            removing,
        };
        let configs = BTreeMap::new();
        let found = |partitions: &[Replicas]| {
            let found = Found::new(Uuid([1; 16]), None, &configs, partitions.iter().copied());
            let Observed {
                partitions,
                replicas,
                changing,
                ..
            } = found.observed;
            (
                partitions,
                replicas,
                changing,
                found.replicas.into_iter().collect::<Vec<_>>(),
            )
        };
        assert_eq!(found(&[]), (0, 0, 0, vec![]));
        assert_eq!(found(&[of(2, 0, 0), of(3, 1, 0)]), (2, 2, 1, vec![2, 3]));
        assert_eq!(found(&[of(3, 0, 1), of(3, 0, 0)]), (2, 3, 1, vec![2, 3]));
        // A replica that moves changes no number.
        assert_eq!(found(&[of(3, 1, 1), of(2, 0, 0)]), (2, 2, 0, vec![2]));
    }
}
