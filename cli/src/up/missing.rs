//! Which manifests are gone for good: what they made is deleted then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A manifest counts as gone when it has been away for this long: an editor that saves is no deletion.
const GONE: Duration = Duration::from_secs(2);

/// The resources that were followed and have no manifest now, and since when.
#[derive(Debug, Default)]
pub struct Missing {
    since: BTreeMap<String, Instant>,
    deleted: BTreeSet<String>,
}

impl Missing {
    /// Notes what was followed and what is here, and says whether something has just come to be gone. While the manifests
    /// are not `readable`, all of them, nothing is missing: what cannot be read may be the one.
    pub fn note(
        &mut self,
        followed: &BTreeSet<String>,
        here: &BTreeSet<String>,
        readable: bool,
        now: Instant,
    ) -> bool {
        let before = std::mem::take(&mut self.since);
        if readable {
            for key in followed.difference(here) {
                let since = before.get(key).copied().unwrap_or(now);
                self.since.insert(key.clone(), since);
            }
        }
        let gone = self.gone(now);
        let fresh = !gone.is_subset(&self.deleted);
        self.deleted = gone;
        fresh
    }

    /// What is gone.
    pub fn gone(&self, now: Instant) -> BTreeSet<String> {
        let gone = self
            .since
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= GONE);
        gone.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn a_manifest_is_gone_after_two_seconds_and_is_told_once() {
        let mut missing = Missing::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let followed = set(&["Topic a", "Topic b"]);
        let steps = [
            (0, &["Topic a", "Topic b"][..], false),
            (250, &["Topic b"], false),
            (2_000, &["Topic b"], false),
            (2_250, &["Topic b"], true),
            (2_500, &["Topic b"], false),
        ];
        for (ms, here, fresh) in steps {
            assert_eq!(missing.note(&followed, &set(here), true, at(ms)), fresh, "{ms}");
        }
        assert_eq!(missing.gone(at(2_500)), set(&["Topic a"]));
        assert!(!missing.note(&followed, &followed, true, at(2_750)));
        assert_eq!(missing.gone(at(9_000)), set(&[]));
    }

    #[test]
    fn nothing_is_gone_while_a_manifest_cannot_be_read() {
        let mut missing = Missing::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let followed = set(&["User a"]);
        for (second, readable, fresh) in [
            (0, true, false),
            (1, false, false),
            (9, false, false),
            (10, true, false),
            (11, true, false),
            (12, true, true),
        ] {
            assert_eq!(
                missing.note(&followed, &set(&[]), readable, at(second)),
                fresh,
                "{second}"
            );
        }
    }
}
