//! How far a partition is committed.

use flotilla_protocol::Offset;

/// The smallest number of in-sync replicas that acks=all asks for: no more than there are replicas (KIP-966).
#[must_use]
pub fn effective_min_isr(min_insync_replicas: usize, replicas: usize) -> usize {
    min_insync_replicas.min(replicas).max(1)
}

/// The high watermark that these ends allow: the smallest of them, the leader's own synced end included. None where one
/// of them is not known yet. It never moves back by this: who calls takes the higher of this and what was.
pub fn committed_end(
    leader_synced_end: Offset,
    follower_ends: impl IntoIterator<Item = Option<Offset>>,
) -> Option<Offset> {
    follower_ends
        .into_iter()
        .try_fold(leader_synced_end, |smallest, end| Some(smallest.min(end?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_bounds_the_minimum() {
        assert_eq!(effective_min_isr(2, 3), 2);
        assert_eq!(effective_min_isr(2, 1), 1);
        assert_eq!(effective_min_isr(0, 3), 1);
    }

    #[test]
    fn smallest_end_is_committed() {
        let ends = |ends: &[i64]| ends.iter().map(|end| Some(Offset(*end))).collect::<Vec<_>>();
        assert_eq!(committed_end(Offset(5), ends(&[])), Some(Offset(5)));
        assert_eq!(committed_end(Offset(5), ends(&[9, 3])), Some(Offset(3)));
        assert_eq!(committed_end(Offset(5), ends(&[9, 7])), Some(Offset(5)));
        assert_eq!(committed_end(Offset(5), [Some(Offset(9)), None]), None);
    }
}
