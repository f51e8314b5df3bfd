use std::collections::BTreeSet;

use flotilla_control::Uuid;
use flotilla_control::proto::fleet::TopicState;
use flotilla_control::proto::metadata::Partition;

/// A topic as the fleet has it.
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

impl Observed {
    /// What the fleet says of a topic; `None` where it says nothing that makes sense.
    #[must_use]
    pub fn of(state: &TopicState) -> Option<Self> {
        let id = Uuid::from_slice(&state.topic.as_ref()?.topic_id)?;
        let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
        let changing = state
            .partitions
            .iter()
            .filter(|partition| settled(partition) != target(partition));
        Some(Self {
            id,
            partitions: count(state.partitions.len()),
            replicas: count(state.partitions.iter().map(settled).min().unwrap_or(0)),
            changing: count(changing.count()),
        })
    }
}

/// The numbers of replicas that partitions will have once nothing moves any more.
pub(super) fn targets(state: &TopicState) -> BTreeSet<usize> {
    state.partitions.iter().map(target).collect()
}

fn target(partition: &Partition) -> usize {
    partition.replicas.len() - partition.removing_replicas.len().min(partition.replicas.len())
}

fn settled(partition: &Partition) -> usize {
    partition.replicas.len() - partition.adding_replicas.len().min(partition.replicas.len())
}

#[cfg(test)]
mod tests {
    use super::super::testing::found;
    use super::*;

    #[test]
    fn replicas_on_their_way_are_not_there_yet() {
        let mut state = found(None, &[&[0, 1], &[1, 2, 3]], &[]);
        state.partitions[1].adding_replicas = vec![3];
        let observed = Observed {
            id: Uuid([1; 16]),
            partitions: 2,
            replicas: 2,
            changing: 1,
        };
        assert_eq!(Observed::of(&state), Some(observed));
        assert_eq!(targets(&state), BTreeSet::from([2, 3]));
        // A replica that moves changes no number.
        state.partitions[1].removing_replicas = vec![1];
        assert_eq!(
            Observed::of(&state),
            Some(Observed {
                changing: 0,
                ..observed
            })
        );
        assert_eq!(targets(&state), BTreeSet::from([2]));
    }
}
