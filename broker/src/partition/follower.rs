//! A follower of a partition: from where it fetches, what it drops, how far it believes the leader.

use flotilla_protocol::{BrokerId, LeaderEpoch, Offset};

/// The local log, as far as following is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where it starts.
    pub log_start: Offset,
    /// Where it ends.
    pub log_end: Offset,
    /// The epoch of its last record. [`LeaderEpoch::UNKNOWN`] where it has none.
    pub last_epoch: LeaderEpoch,
    /// What is known to be committed.
    pub high_watermark: Offset,
}

/// What a follower asks its leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The epoch that it believes in.
    pub leader_epoch: LeaderEpoch,
    /// The end of its log: all before is on its disk.
    pub fetch_offset: Offset,
    /// The epoch of its last record, by which the leader finds where the logs part (KIP-595).
    pub last_fetched_epoch: LeaderEpoch,
    /// Where its log starts.
    pub log_start: Offset,
}

/// What the leader said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has what was asked for.
    Records {
        /// The offset after the last record sent. None where none was sent.
        end: Option<Offset>,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The logs part: the leader's part of the largest epoch that is no larger than the follower's last ends here.
    Diverging {
        /// That epoch.
        epoch: LeaderEpoch,
        /// Its end in the leader's log.
        end: Offset,
    },
    /// The leader has no such offset.
    OutOfRange {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The leader is another, is not ready, or knows another epoch: metadata is on its way to one of the two.
    NotNow,
    /// The leader cannot, and nothing that is on its way will change that.
    Refused,
}

/// What is to be done after an answer, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Drop all records from here on.
    Truncate(Offset),
    /// Drop all records. The log is empty and starts here.
    StartOver(Offset),
    /// Append what was sent.
    Append,
    /// The high watermark is here now.
    HighWatermark(Offset),
    /// Records before this are gone at the leader: they may go here.
    LogStart(Offset),
}

/// The end of an epoch in the local log, for the epoch that a leader named (KIP-279).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest local epoch that is no larger than the one named.
    pub epoch: LeaderEpoch,
    /// Where it ends.
    pub end: Offset,
}

/// The state of following one leader in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    leader: BrokerId,
    epoch: LeaderEpoch,
    not_before_ms: i64,
    /// The end and the last epoch of the log that was cut last: cutting the same log again would not help.
    cut: Option<(Offset, LeaderEpoch)>,
}

impl Follower {
    /// How long a partition rests after an answer that helped nobody: `replica.fetch.backoff.ms` of Kafka.
    pub const BACKOFF_MS: i64 = 1_000;
    /// The rest where metadata is on its way to one of the two sides: it takes milliseconds, not seconds.
    pub const METADATA_BACKOFF_MS: i64 = 50;

    /// Follows `leader` in `epoch`.
    #[must_use]
    pub fn new(leader: BrokerId, epoch: LeaderEpoch) -> Self {
        Self {
            leader,
            epoch,
            not_before_ms: i64::MIN,
            cut: None,
        }
    }

    /// Whom it follows.
    #[must_use]
    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    /// The epoch in which it follows.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// When it may fetch again, in milliseconds.
    #[must_use]
    pub fn not_before_ms(&self) -> i64 {
        self.not_before_ms
    }

    /// What to ask for next. None while it rests.
    #[must_use]
    pub fn ask(&self, local: &Local, now_ms: i64) -> Option<Ask> {
        // No rest is longer than that: if this one seems to be, then the clock was set back.
        let rests = now_ms < self.not_before_ms && self.not_before_ms - now_ms <= Self::BACKOFF_MS;
        (!rests).then_some(Ask {
            leader_epoch: self.epoch,
            fetch_offset: local.log_end,
            last_fetched_epoch: local.last_epoch,
            log_start: local.log_start,
        })
    }

    /// Something local went wrong: rest.
    pub fn rest(&mut self, now_ms: i64) {
        self.not_before_ms = now_ms + Self::BACKOFF_MS;
    }

    /// Takes the answer to `asked`. An answer to what is not true any more (another epoch, a log that moved) is dropped.
    /// `epoch_end` finds the local end of an epoch.
    pub fn answered(
        &mut self,
        asked: &Ask,
        answer: Answer,
        local: &Local,
        epoch_end: impl FnOnce(LeaderEpoch) -> Option<EpochEnd>,
        now_ms: i64,
    ) -> Vec<Effect> {
        if asked.leader_epoch != self.epoch || asked.fetch_offset != local.log_end {
            return Vec::new();
        }
        match answer {
            Answer::Records {
                end,
                high_watermark,
                log_start,
            } => {
                let mut effects = Vec::new();
                let mut log_end = local.log_end;
                if let Some(end) = end {
                    effects.push(Effect::Append);
                    log_end = log_end.max(end);
                }
                let high_watermark = high_watermark.min(log_end);
                if high_watermark > local.high_watermark {
                    effects.push(Effect::HighWatermark(high_watermark));
                }
                if log_start > local.log_start {
                    effects.push(Effect::LogStart(log_start.min(log_end)));
                }
                effects
            }
            Answer::Diverging { epoch, end } => {
                let to = truncation(epoch, end, local.log_end, epoch_end(epoch));
                let log = (local.log_end, local.last_epoch);
                // A leader that was deposed before it appended anything has an epoch, but no record, to drop.
                let drops_nothing = to >= local.log_end && epoch >= local.last_epoch;
                if drops_nothing || self.cut.replace(log) == Some(log) {
                    // The leader sees a fork that cutting does not end: asking again at once would spin.
                    self.rest(now_ms);
                    return Vec::new();
                }
                drop_from(to, local)
            }
            Answer::OutOfRange {
                high_watermark,
                log_start,
            } => {
                if local.log_end < log_start {
                    vec![Effect::StartOver(log_start)]
                } else if local.log_end > high_watermark && local.last_epoch == LeaderEpoch::UNKNOWN {
                    // Without an epoch the logs cannot be compared. What the leader knows as committed is all that is sure.
                    drop_from(high_watermark, local)
                } else {
                    self.rest(now_ms);
                    Vec::new()
                }
            }
            Answer::Refused => {
                self.rest(now_ms);
                Vec::new()
            }
            Answer::NotNow => {
                self.not_before_ms = now_ms + Self::METADATA_BACKOFF_MS;
                Vec::new()
            }
        }
    }
}

fn drop_from(to: Offset, local: &Local) -> Vec<Effect> {
    if to < local.log_start {
        vec![Effect::StartOver(to)]
    } else {
        vec![Effect::Truncate(to)]
    }
}

/// Where to cut, when the leader's part of `epoch` ends at `end` (KIP-279). Where the follower never saw that epoch, it
/// cuts to the end of the largest smaller one that it has, and the next fetch compares again. Never by high watermark
/// (KIP-101).
#[must_use]
pub fn truncation(epoch: LeaderEpoch, end: Offset, log_end: Offset, local: Option<EpochEnd>) -> Offset {
    match local {
        Some(local) if local.epoch == epoch => local.end.min(end).min(log_end),
        Some(local) => local.end.min(log_end),
        None => end.min(log_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: LeaderEpoch = LeaderEpoch(5);

    fn local() -> Local {
        Local {
            log_start: Offset(10),
            log_end: Offset(100),
            last_epoch: LeaderEpoch(3),
            high_watermark: Offset(80),
        }
    }

    fn follower() -> Follower {
        Follower::new(BrokerId(1), EPOCH)
    }

    fn answered(
        follower: &mut Follower,
        local: &Local,
        answer: Answer,
        epoch_end: Option<EpochEnd>,
    ) -> Vec<Effect> {
        let ask = follower.ask(local, 0).unwrap();
        follower.answered(&ask, answer, local, |_| epoch_end, 0)
    }

    #[test]
    fn follower_asks_from_its_end_with_its_last_epoch() {
        assert_eq!(
            follower().ask(&local(), 0),
            Some(Ask {
                leader_epoch: EPOCH,
                fetch_offset: Offset(100),
                last_fetched_epoch: LeaderEpoch(3),
                log_start: Offset(10),
            })
        );
    }

    #[test]
    fn records_are_appended_before_the_high_watermark_rises_to_what_is_here() {
        let answer = |end, high_watermark| Answer::Records {
            end,
            high_watermark: Offset(high_watermark),
            log_start: Offset(12),
        };
        assert_eq!(
            answered(&mut follower(), &local(), answer(Some(Offset(110)), 200), None),
            [
                Effect::Append,
                Effect::HighWatermark(Offset(110)),
                Effect::LogStart(Offset(12)),
            ]
        );
        assert_eq!(
            answered(&mut follower(), &local(), answer(None, 70), None),
            [Effect::LogStart(Offset(12))]
        );
    }

    #[test]
    fn diverging_log_is_cut_where_the_shared_epoch_ends() {
        let diverging = Answer::Diverging {
            epoch: LeaderEpoch(3),
            end: Offset(90),
        };
        let shared = EpochEnd {
            epoch: LeaderEpoch(3),
            end: Offset(100),
        };
        assert_eq!(
            answered(&mut follower(), &local(), diverging, Some(shared)),
            [Effect::Truncate(Offset(90))]
        );
        let older = EpochEnd {
            epoch: LeaderEpoch(2),
            end: Offset(60),
        };
        assert_eq!(
            answered(&mut follower(), &local(), diverging, Some(older)),
            [Effect::Truncate(Offset(60))]
        );
        assert_eq!(
            answered(&mut follower(), &local(), diverging, None),
            [Effect::Truncate(Offset(90))]
        );
        let before_start = EpochEnd {
            epoch: LeaderEpoch(2),
            end: Offset(5),
        };
        assert_eq!(
            answered(&mut follower(), &local(), diverging, Some(before_start)),
            [Effect::StartOver(Offset(5))]
        );
    }

    #[test]
    fn fork_that_cuts_nothing_does_not_spin() {
        let mut follower = follower();
        let diverging = Answer::Diverging {
            epoch: LeaderEpoch(3),
            end: Offset(100),
        };
        let shared = EpochEnd {
            epoch: LeaderEpoch(3),
            end: Offset(100),
        };
        assert_eq!(answered(&mut follower, &local(), diverging, Some(shared)), []);
        assert_eq!(follower.ask(&local(), Follower::BACKOFF_MS - 1), None);
        assert!(follower.ask(&local(), Follower::BACKOFF_MS).is_some());
    }

    #[test]
    fn rest_ends_when_the_clock_is_set_back() {
        let mut follower = follower();
        follower.rest(1_000_000);
        assert_eq!(follower.ask(&local(), 1_000_000), None);
        assert_eq!(follower.ask(&local(), 1_000_000 + Follower::BACKOFF_MS - 1), None);
        // The clock shows an hour less: nobody rests for an hour.
        assert!(follower.ask(&local(), 1_000_000 - 3_600_000).is_some());
    }

    #[test]
    fn epoch_without_records_is_dropped_at_the_end_of_the_log() {
        let diverging = Answer::Diverging {
            epoch: LeaderEpoch(2),
            end: Offset(100),
        };
        let shared = EpochEnd {
            epoch: LeaderEpoch(2),
            end: Offset(100),
        };
        assert_eq!(
            answered(&mut follower(), &local(), diverging, Some(shared)),
            [Effect::Truncate(Offset(100))]
        );
    }

    #[test]
    fn cut_that_left_the_log_as_it_was_is_not_repeated_at_once() {
        let mut follower = follower();
        let diverging = Answer::Diverging {
            epoch: LeaderEpoch(2),
            end: Offset(100),
        };
        let shared = EpochEnd {
            epoch: LeaderEpoch(2),
            end: Offset(100),
        };
        assert_eq!(
            answered(&mut follower, &local(), diverging, Some(shared)),
            [Effect::Truncate(Offset(100))]
        );
        assert_eq!(answered(&mut follower, &local(), diverging, Some(shared)), []);
        assert_eq!(follower.ask(&local(), Follower::BACKOFF_MS - 1), None);
        let cut = Local {
            last_epoch: LeaderEpoch(2),
            ..local()
        };
        assert!(follower.ask(&cut, Follower::BACKOFF_MS).is_some());
    }

    #[test]
    fn follower_behind_the_log_start_starts_over_there() {
        let out_of_range = |log_start| Answer::OutOfRange {
            high_watermark: Offset(90),
            log_start: Offset(log_start),
        };
        assert_eq!(
            answered(&mut follower(), &local(), out_of_range(101), None),
            [Effect::StartOver(Offset(101))]
        );
        assert_eq!(answered(&mut follower(), &local(), out_of_range(50), None), []);
        let without_epochs = Local {
            last_epoch: LeaderEpoch::UNKNOWN,
            ..local()
        };
        assert_eq!(
            answered(&mut follower(), &without_epochs, out_of_range(50), None),
            [Effect::Truncate(Offset(90))]
        );
    }

    #[test]
    fn answer_to_a_question_of_before_is_dropped() {
        let mut follower = follower();
        let records = Answer::Records {
            end: Some(Offset(110)),
            high_watermark: Offset(110),
            log_start: Offset(10),
        };
        let ask = follower.ask(&local(), 0).unwrap();
        let moved = Local {
            log_end: Offset(99),
            ..local()
        };
        assert_eq!(follower.answered(&ask, records, &moved, |_| None, 0), []);
        let older = Ask {
            leader_epoch: LeaderEpoch(4),
            ..ask
        };
        assert_eq!(follower.answered(&older, records, &local(), |_| None, 0), []);
    }

    #[test]
    fn leader_that_is_not_ready_is_asked_again_after_a_rest() {
        let mut follower = follower();
        assert_eq!(answered(&mut follower, &local(), Answer::NotNow, None), []);
        assert_eq!(follower.ask(&local(), Follower::METADATA_BACKOFF_MS - 1), None);
        assert!(follower.ask(&local(), Follower::METADATA_BACKOFF_MS).is_some());
    }
}
