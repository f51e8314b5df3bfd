//! Which parts of a file were read and found sound, and when.

use std::fs::Metadata;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// For how long a part is trusted, if nobody writes to the file. Within that time a disk is not expected to give back something else than
/// before; after it, what is read is checked again.
const TRUSTED: Duration = Duration::from_secs(600);
/// Parts that adjoin are kept as one if there is no more between their times.
const TOGETHER: Duration = Duration::from_secs(60);
/// The parts of one file that are remembered.
const PARTS_MAX: usize = 64;

/// Which file it is, and when it was changed last (`st_ino`, `st_ctime`): another one, once anybody has written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    inode: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl Version {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            changed_s: metadata.ctime(),
            changed_ns: metadata.ctime_nsec(),
        }
    }
}

/// The parts of one version of a file, in their order, without overlaps.
#[derive(Debug, Default)]
pub(super) struct Vouched {
    version: Option<Version>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    bytes: Range<u64>,
    since: Instant,
}

impl Vouched {
    /// Notes that `bytes` were sound in this version.
    pub(super) fn add(&mut self, version: Version, bytes: Range<u64>, now: Instant) {
        if bytes.is_empty() {
            return;
        }
        if self.version.replace(version) != Some(version) {
            self.parts.clear();
        }
        self.forget(&bytes);
        let at = self.parts.partition_point(|part| part.bytes.start < bytes.start);
        match at.checked_sub(1).and_then(|before| self.parts.get_mut(before)) {
            Some(before) if before.bytes.end == bytes.start && is_together(before.since, now) => {
                before.bytes.end = bytes.end;
            }
            _ => self.parts.insert(at, Part { bytes, since: now }),
        }
        if self.parts.len() > PARTS_MAX
            && let Some((oldest, _)) = self.parts.iter().enumerate().min_by_key(|(_, part)| part.since)
        {
            self.parts.remove(oldest);
        }
    }

    fn forget(&mut self, bytes: &Range<u64>) {
        let first = self.parts.partition_point(|part| part.bytes.end <= bytes.start);
        let behind = self.parts.partition_point(|part| part.bytes.start < bytes.end);
        if first >= behind {
            return;
        }
        let left = self.parts[first].clone();
        let right = self.parts[behind - 1].clone();
        let kept = [
            Part {
                bytes: left.bytes.start..bytes.start,
                since: left.since,
            },
            Part {
                bytes: bytes.end..right.bytes.end,
                since: right.since,
            },
        ];
        let kept = kept.into_iter().filter(|part| !part.bytes.is_empty());
        self.parts.splice(first..behind, kept);
    }

    /// Whether all of `bytes` can be trusted in this version.
    pub(super) fn covers(&self, version: Version, bytes: &Range<u64>, now: Instant) -> bool {
        if self.version != Some(version) {
            return false;
        }
        let first = self.parts.partition_point(|part| part.bytes.end <= bytes.start);
        let mut covered = bytes.start;
        for part in &self.parts[first..] {
            if covered >= bytes.end {
                break;
            }
            if part.bytes.start > covered || now.saturating_duration_since(part.since) > TRUSTED {
                return false;
            }
            covered = part.bytes.end;
        }
        covered >= bytes.end
    }
}

/// Whether what was found sound later may count as found sound before.
fn is_together(before: Instant, now: Instant) -> bool {
    now.checked_duration_since(before)
        .is_some_and(|between| between <= TOGETHER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERSION: Version = Version {
        inode: 1,
        changed_s: 2,
        changed_ns: 3,
    };

    #[test]
    fn what_adjoins_is_one_part_and_what_is_old_is_not_trusted() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut vouched = Vouched::default();
        vouched.add(VERSION, 0..10, begin);
        vouched.add(VERSION, 10..20, after(60));
        assert_eq!(vouched.parts.len(), 1);
        vouched.add(VERSION, 20..30, after(61));
        assert_eq!(vouched.parts.len(), 2);
        assert!(vouched.covers(VERSION, &(5..30), after(600)));
        assert!(!vouched.covers(VERSION, &(5..31), after(600)));
        assert!(!vouched.covers(VERSION, &(5..30), after(601)));
        assert!(vouched.covers(VERSION, &(20..30), after(661)));
    }

    #[test]
    fn nothing_is_known_of_a_file_that_was_changed() {
        let now = Instant::now();
        let changed = Version {
            changed_ns: 4,
            ..VERSION
        };
        let mut vouched = Vouched::default();
        assert!(!vouched.covers(VERSION, &(0..1), now));
        vouched.add(VERSION, 0..10, now);
        assert!(!vouched.covers(changed, &(0..10), now));
        vouched.add(changed, 20..30, now);
        assert!(vouched.covers(changed, &(20..30), now));
        assert!(!vouched.covers(changed, &(0..10), now));
        assert!(!vouched.covers(VERSION, &(0..10), now));
    }

    #[test]
    fn only_so_many_parts_are_remembered() {
        let begin = Instant::now();
        let mut vouched = Vouched::default();
        for part in 0..2 * PARTS_MAX as u64 {
            let now = begin + Duration::from_millis(part);
            vouched.add(VERSION, 2 * part..2 * part + 1, now);
        }
        assert_eq!(vouched.parts.len(), PARTS_MAX);
        assert!(!vouched.covers(VERSION, &(0..1), begin), "the oldest go first");
    }

    proptest! {
        #[test]
        fn parts_are_those_that_were_added(
            added in prop::collection::vec((0u64..64, 0u64..16, 0u64..1_000), 1..40)
        ) {
            let begin = Instant::now();
            let last = begin + Duration::from_secs(1_000);
            let (mut vouched, mut model) = (Vouched::default(), [None; 80]);
            for (start, length, second) in added {
                vouched.add(VERSION, start..start + length, begin + Duration::from_secs(second));
                model[start as usize..(start + length) as usize].fill(Some(second));
            }
            for at in 0..80 {
                let is_covered = vouched.covers(VERSION, &(at..at + 1), last);
                // Where parts became one, the older time counts: never is something trusted for longer.
                if model[at as usize].is_none_or(|second| second < 400) {
                    prop_assert!(!is_covered);
                }
                if model[at as usize].is_some_and(|second| second >= 400 + TOGETHER.as_secs()) {
                    prop_assert!(is_covered);
                }
            }
            let ordered = vouched.parts.windows(2).all(|two| two[0].bytes.end <= two[1].bytes.start);
            prop_assert!(ordered);
        }
    }
}
