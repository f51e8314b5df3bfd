//! What a run does, and what the rules' tests need.

use flotilla_broker::coordination::VoterId;
use flotilla_control::proto::metadata::{FeatureLevel, Record, record};
use flotilla_protocol::{BrokerId, Uuid};

/// A voter of a broker's first disk.
pub fn voter(broker: i32) -> VoterId {
    VoterId::new(BrokerId(broker), Uuid([1; 16]))
}

/// A record.
pub fn feature(name: &str) -> Record {
    let level = FeatureLevel {
        name: name.to_owned(),
        level: 1,
    };
    Record {
        record: Some(record::Record::FeatureLevel(level)),
    }
}

#[cfg(tokio_unstable)]
mod seeded {
    use crate::outcome::Counts;
    use crate::quorum::{kinds, play};
    use crate::trace::Trace;

    #[test]
    fn seed_played_twice_gives_one_trace() {
        for seed in 0..3 {
            let (one, other) = (play(seed, Trace::quiet()), play(seed, Trace::quiet()));
            assert_eq!(one, other, "seed {seed}");
            assert_eq!(one.violation, None, "seed {seed}");
        }
    }

    #[test]
    fn seeds_bring_about_what_they_are_for() {
        let mut counts = Counts::default();
        for seed in 100..116 {
            let outcome = play(seed, Trace::quiet());
            assert_eq!(outcome.violation, None, "seed {seed}");
            counts.merge(&outcome.counts);
        }
        let missing: Vec<_> = kinds().into_iter().filter(|kind| counts.of(kind) == 0).collect();
        assert!(missing.is_empty(), "{missing:?} never happened");
        for (kind, least) in [
            ("leaders elected", 50),
            ("entries committed", 1_000),
            ("writes answered", 500),
            ("voters added", 10),
            ("disks of voters emptied", 5),
        ] {
            assert!(counts.of(kind) >= least, "{kind}: {}", counts.of(kind));
        }
    }
}
