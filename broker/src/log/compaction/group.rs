//! Which segments become one.

use std::collections::VecDeque;
use std::sync::Arc;

use flotilla_protocol::Offset;
use flotilla_protocol::records::HEADER_BYTES;

use crate::log::Config;
use crate::log::segment::Sealed;

/// The larger of the entries of both indexes.
const INDEX_ENTRY_BYTES: u64 = 12;

/// Segments that become one.
pub(super) type Group = Vec<Arc<Sealed>>;

/// Puts neighbours together as long as what they become is no larger than a segment may be, its indexes included, and
/// offsets in it fit into the 32 bits that indexes have for them. Oldest first.
pub(super) fn groups(segments: &[(Arc<Sealed>, Offset)], config: &Config) -> VecDeque<Group> {
    let interval = u64::from(config.index_interval_bytes).max(HEADER_BYTES as u64);
    let bytes_of_index = |bytes: u64| bytes / interval * INDEX_ENTRY_BYTES;
    let mut groups: VecDeque<Group> = VecDeque::new();
    let mut group_bytes = 0;
    for (segment, end) in segments {
        let bytes = group_bytes + segment.size_bytes;
        let open = groups.back_mut().filter(|group| {
            bytes <= u64::from(config.segment_bytes)
                && bytes_of_index(bytes) <= u64::from(config.segment_index_bytes)
                && end.0 - group[0].base.0 <= i64::from(i32::MAX)
        });
        match open {
            Some(group) => {
                group.push(Arc::clone(segment));
                group_bytes = bytes;
            }
            None => {
                groups.push_back(vec![Arc::clone(segment)]);
                group_bytes = segment.size_bytes;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(segments: &[(i64, u64, i64)], config: &Config) -> Vec<Vec<i64>> {
        let segments: Vec<_> = segments
            .iter()
            .map(|(base, bytes, end)| (Sealed::found(Offset(*base), *bytes, 0, false), Offset(*end)))
            .collect();
        let bases = |group: &Group| group.iter().map(|segment| segment.base.0).collect();
        groups(&segments, config).iter().map(bases).collect()
    }

    #[test]
    fn neighbours_join_while_they_fit_into_one_segment() {
        let config = Config {
            segment_bytes: 1_000,
            ..Config::default()
        };
        let segments = [
            (0, 400, 10),
            (10, 600, 20),
            (20, 1, 30),
            (30, 1_500, 40),
            (40, 10, 50),
            (50, 10, 60),
        ];
        assert_eq!(
            grouped(&segments, &config),
            [vec![0, 10], vec![20], vec![30], vec![40, 50]]
        );
        assert_eq!(grouped(&[], &config), Vec::<Vec<i64>>::new());
    }

    #[test]
    fn offsets_and_indexes_bound_a_group() {
        let most = i64::from(i32::MAX);
        let config = Config::default();
        assert_eq!(grouped(&[(0, 10, 5), (5, 10, most)], &config), [vec![0, 5]]);
        assert_eq!(
            grouped(&[(0, 10, 5), (5, 10, most + 1)], &config),
            [vec![0], vec![5]]
        );
        let config = Config {
            index_interval_bytes: 100,
            segment_index_bytes: 120,
            ..config
        };
        let segments = [(0, 500, 5), (5, 500, 10), (10, 500, 15)];
        assert_eq!(grouped(&segments, &config), [vec![0, 5], vec![10]]);
    }
}
