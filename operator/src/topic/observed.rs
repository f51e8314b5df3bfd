use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::Uuid;
use flotilla_control::proto::fleet::TopicState;
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
    pub configs: BTreeMap<&'a str, &'a str>,
    /// What a status says of it.
    pub observed: Observed,
    /// The numbers of replicas that its partitions will have once nothing moves any more.
    pub replicas: BTreeSet<i32>,
}

impl<'a> Found<'a> {
    /// What the fleet says of a topic.
    #[must_use]
    pub fn of(state: &'a TopicState) -> Self {
        let topic = state.topic.as_ref();
        let id = topic.and_then(|topic| Uuid::from_slice(&topic.topic_id));
        let mut observed = Observed {
            id: id.unwrap_or_default(),
            partitions: count(state.partitions.len()),
            replicas: 0,
            changing: 0,
        };
        let mut replicas = BTreeSet::new();
        for partition in &state.partitions {
            let all = partition.replicas.len();
            let there = count(all.saturating_sub(partition.adding_replicas.len()));
            let target = count(all.saturating_sub(partition.removing_replicas.len()));
            observed.replicas = match observed.replicas {
                0 => there,
                fewest => fewest.min(there),
            };
            observed.changing += i32::from(there != target);
            replicas.insert(target);
        }
        let configs = state.configs.iter();
        Self {
            owner: topic.and_then(|topic| topic.owner.as_ref()),
            configs: configs
                .filter_map(|config| Some((config.key.as_str(), config.value.as_deref()?)))
                .collect(),
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
    use super::super::testing::held;
    use super::*;

    #[test]
    fn replicas_on_their_way_are_not_there_yet() {
        let found = |partitions: &[(usize, usize, usize)]| {
            let sizes: Vec<usize> = partitions.iter().map(|(all, ..)| *all).collect();
            let mut state = held(None, &sizes, &[]);
            for (partition, (_, adding, removing)) in state.partitions.iter_mut().zip(partitions) {
                partition.adding_replicas = vec![7; *adding];
                partition.removing_replicas = vec![8; *removing];
            }
            let found = Found::of(&state);
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
        assert_eq!(found(&[(2, 0, 0), (3, 1, 0)]), (2, 2, 1, vec![2, 3]));
        assert_eq!(found(&[(3, 0, 1), (3, 0, 0)]), (2, 3, 1, vec![2, 3]));
        // A replica that moves changes no number.
        assert_eq!(found(&[(3, 1, 1), (2, 0, 0)]), (2, 2, 0, vec![2]));
    }
}
