//! Groups and how far they have come: each broker knows those that it coordinates.

use std::collections::BTreeMap;

use anyhow::bail;
use flotilla_control::BrokerId;
use flotilla_protocol::messages::{ListGroupsRequest, OffsetFetchRequest};
use flotilla_protocol::{ErrorCode, Str};

use super::report::{Group, GroupPartition};
use crate::kafka::Brokers;

/// The versions spoken: brokers and command line are of one release.
const LIST_GROUPS: i16 = 4;
const OFFSET_FETCH: i16 = 7;

/// A group that has committed offsets, before it is known where the partitions end.
struct Committed {
    name: String,
    state: String,
    offsets: BTreeMap<(String, i32), i64>,
}

/// All groups of the fleet, by name.
pub async fn collect(
    brokers: &mut Brokers,
    online: &[BrokerId],
    leaders: &BTreeMap<(String, i32), BrokerId>,
) -> anyhow::Result<Vec<Group>> {
    let mut committed = Vec::new();
    for broker in online {
        committed.extend(coordinated(brokers, *broker).await?);
    }
    let wanted: BTreeMap<_, _> = leaders
        .iter()
        .filter(|(partition, _)| {
            committed
                .iter()
                .any(|group| group.offsets.contains_key(*partition))
        })
        .map(|(partition, leader)| (partition.clone(), *leader))
        .collect();
    let ends = brokers.latest(&wanted).await;
    let mut groups: Vec<Group> = committed
        .into_iter()
        .map(|group| with_lag(group, &ends))
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups.dedup_by(|a, b| a.name == b.name);
    Ok(groups)
}

async fn coordinated(brokers: &mut Brokers, broker: BrokerId) -> anyhow::Result<Vec<Committed>> {
    let listed = brokers
        .ask(broker, LIST_GROUPS, &ListGroupsRequest::default())
        .await?;
    if listed.error_code != 0 && listed.error_code != ErrorCode::CoordinatorLoadInProgress.code() {
        bail!(
            "broker {broker} cannot list its groups (error {})",
            listed.error_code
        );
    }
    let mut groups = Vec::new();
    for group in listed.groups {
        let request = OffsetFetchRequest {
            group_id: group.group_id.clone(),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        let offsets = brokers.ask(broker, OFFSET_FETCH, &request).await?;
        groups.push(Committed {
            name: text(&group.group_id),
            state: text(&group.group_state),
            offsets: offsets
                .topics
                .into_iter()
                .flat_map(|topic| {
                    let name = text(&topic.name);
                    topic
                        .partitions
                        .into_iter()
                        .filter(|partition| partition.error_code == 0 && partition.committed_offset >= 0)
                        .map(move |partition| {
                            (
                                (name.clone(), partition.partition_index),
                                partition.committed_offset,
                            )
                        })
                        .collect::<Vec<_>>()
                })
                .collect(),
        });
    }
    Ok(groups)
}

fn with_lag(group: Committed, ends: &BTreeMap<(String, i32), i64>) -> Group {
    let partitions: Vec<GroupPartition> = group
        .offsets
        .into_iter()
        .map(|((topic, partition), committed)| {
            let at = (topic, partition);
            let end = ends.get(&at).copied().unwrap_or(-1);
            GroupPartition {
                topic: at.0,
                partition,
                committed,
                end,
                // A commit beyond the end is that of a partition that lost records: nothing is left to read.
                lag: (end - committed).max(0),
            }
        })
        .collect();
    Group {
        name: group.name,
        state: group.state,
        lag: partitions.iter().map(|partition| partition.lag).sum(),
        partitions,
    }
}

fn text(text: &Str) -> String {
    text.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_lies_between_the_commit_and_the_end() {
        let group = Committed {
            name: "g".to_owned(),
            state: "Empty".to_owned(),
            offsets: BTreeMap::from([
                (("a".to_owned(), 0), 3),
                (("a".to_owned(), 1), 12),
                (("b".to_owned(), 0), 1),
            ]),
        };
        let ends = BTreeMap::from([(("a".to_owned(), 0), 10), (("a".to_owned(), 1), 11)]);
        let group = with_lag(group, &ends);
        let lags: Vec<i64> = group.partitions.iter().map(|partition| partition.lag).collect();
        assert_eq!((group.lag, lags), (7, vec![7, 0, 0]));
        assert_eq!(group.partitions[2].end, -1);
    }
}
