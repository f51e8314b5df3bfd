mod property;

use flotilla_protocol::{LeaderEpoch, Offset};

use super::*;
use crate::share::state::Stored;

const LIMITS: Limits = Limits {
    delivery_count: 3,
    record_locks: 100,
    lock_ms: 1_000,
    may_renew: true,
};

fn read(first: i64, last: i64) -> Read {
    Read {
        first: Offset(first),
        last: Offset(last),
        is_delivered: true,
    }
}

fn wanted(records_max: i64) -> Wanted {
    Wanted {
        records_max,
        is_strict: false,
        batch_size: 0,
    }
}

fn says(first: i64, last: i64, verdicts: &[Verdict]) -> Acknowledgement {
    Acknowledgement {
        first: Offset(first),
        last: Offset(last),
        verdicts: verdicts.to_vec(),
    }
}

fn given(first: i64, last: i64, delivery_count: i16) -> Acquired {
    Acquired {
        first: Offset(first),
        last: Offset(last),
        delivery_count,
    }
}

fn stored(first: i64, last: i64, state: RecordState, delivery_count: i16) -> Batch {
    Batch {
        first: Offset(first),
        last: Offset(last),
        state,
        delivery_count,
    }
}

/// One partition whose log holds batches, and the members of a group.
struct Group {
    delivery: Delivery,
    log: Vec<Read>,
    limits: Limits,
    now_ms: u64,
}

impl Group {
    fn of(log: &[Read]) -> Self {
        let mut delivery = Delivery::begin(Offset(0));
        let write = delivery.next_write().expect("the start is stored");
        assert_eq!((write.start, write.batches), (Offset(0), Vec::new()));
        delivery.written(write.number, true);
        Self {
            delivery,
            log: log.to_vec(),
            limits: LIMITS,
            now_ms: 0,
        }
    }

    fn acquire(&mut self, member: &str, wanted: Wanted) -> Vec<Acquired> {
        let Some(from) = self.delivery.next_fetch(&self.limits) else {
            return Vec::new();
        };
        let found: Vec<Read> = self
            .log
            .iter()
            .filter(|batch| batch.last >= from)
            .copied()
            .collect();
        let upto = self.log.last().map_or(from, |batch| batch.last.plus(1)).max(from);
        self.delivery.acquire(
            &member.into(),
            self.now_ms,
            &self.limits,
            &wanted,
            (from, upto),
            &found,
        )
    }

    fn acknowledge(&mut self, member: &str, says: &[Acknowledgement]) -> Result<Option<u64>, Refused> {
        self.delivery.acknowledge(member, self.now_ms, &self.limits, says)
    }

    /// Stores what is to be stored, or loses it.
    fn write(&mut self, is_stored: bool) -> Option<Write> {
        let write = self.delivery.next_write()?;
        self.delivery.written(write.number, is_stored);
        Some(write)
    }

    fn tick(&mut self, after_ms: u64) -> bool {
        self.now_ms += after_ms;
        self.delivery.tick(self.now_ms, &self.limits)
    }
}

#[test]
fn accepted_records_are_finished_once_that_is_stored() {
    let mut group = Group::of(&[read(0, 9)]);
    assert_eq!(group.acquire("a", wanted(500)), [given(0, 9, 1)]);
    assert_eq!(group.acquire("b", wanted(500)), []);
    let number = group.acknowledge("a", &[says(0, 9, &[Verdict::Accept])]).unwrap();
    assert_eq!(group.delivery.start(), Offset(0));
    let write = group.write(true).expect("to be stored");
    assert_eq!(Some(write.number), number);
    assert_eq!(
        (write.start, write.finished, write.batches),
        (Offset(10), 0, vec![stored(0, 9, RecordState::Acknowledged, 1)])
    );
    assert_eq!(group.delivery.start(), Offset(10));
    assert_eq!(group.write(true), None);
}

#[test]
fn what_could_not_be_stored_is_held_as_before() {
    let mut group = Group::of(&[read(0, 9)]);
    group.acquire("a", wanted(500));
    group.acknowledge("a", &[says(0, 4, &[Verdict::Accept])]).unwrap();
    // On its way it takes nothing else.
    assert_eq!(
        group.acknowledge("a", &[says(4, 4, &[Verdict::Release])]),
        Err(Refused::InvalidRecordState)
    );
    group.write(false).expect("to be stored");
    assert_eq!(group.delivery.start(), Offset(0));
    assert!(group.acknowledge("a", &[says(0, 9, &[Verdict::Accept])]).is_ok());
    assert_eq!(group.write(true).map(|write| write.start), Some(Offset(10)));
}

#[test]
fn each_record_is_judged_by_itself() {
    let mut group = Group::of(&[read(0, 5)]);
    group.acquire("a", wanted(500));
    let verdicts = [
        Verdict::Reject,
        Verdict::Accept,
        Verdict::Release,
        Verdict::Gap,
        Verdict::Renew,
        Verdict::Accept,
    ];
    group.now_ms = 500;
    group.acknowledge("a", &[says(0, 5, &verdicts)]).unwrap();
    let write = group.write(true).unwrap();
    assert_eq!((write.start, write.finished), (Offset(2), 2));
    assert_eq!(
        write.batches,
        [
            stored(0, 0, RecordState::Archived, 1),
            stored(1, 1, RecordState::Acknowledged, 1),
            stored(2, 2, RecordState::Available, 1),
            stored(3, 3, RecordState::Archived, 1),
            stored(5, 5, RecordState::Acknowledged, 1),
        ]
    );
    // What was released is delivered again, and what was renewed is locked until 1500.
    assert_eq!(group.acquire("b", wanted(500)), [given(2, 2, 2)]);
    assert_eq!(group.delivery.next_deadline(), Some(1_500));
}

#[test]
fn only_who_holds_the_lock_is_heard() {
    let mut group = Group::of(&[read(0, 9)]);
    group.acquire("a", wanted(500));
    let accept = [says(0, 9, &[Verdict::Accept])];
    assert_eq!(group.acknowledge("b", &accept), Err(Refused::InvalidRecordState));
    assert!(!group.tick(999));
    assert!(group.tick(1));
    assert_eq!(group.acknowledge("a", &accept), Err(Refused::InvalidRecordState));
    assert_eq!(group.acquire("b", wanted(500)), [given(0, 9, 2)]);
    assert_eq!(group.acknowledge("a", &accept), Err(Refused::InvalidRecordState));
    assert!(group.acknowledge("b", &accept).is_ok());
    group.write(true).unwrap();
    // Finished already: nobody minds.
    assert_eq!(group.acknowledge("a", &accept), Ok(None));
}

#[test]
fn one_wrong_batch_undoes_the_whole_acknowledgement() {
    let mut group = Group::of(&[read(0, 9)]);
    group.acquire("a", wanted(500));
    let late = says(10, 10, &[Verdict::Accept]);
    assert_eq!(
        group.acknowledge("a", &[says(0, 9, &[Verdict::Accept]), late]),
        Err(Refused::InvalidRequest)
    );
    assert_eq!(group.write(true), None);
    let too_few = says(0, 9, &[Verdict::Accept, Verdict::Accept]);
    assert_eq!(group.acknowledge("a", &[too_few]), Err(Refused::InvalidRequest));
    assert!(group.acknowledge("a", &[says(0, 9, &[Verdict::Accept])]).is_ok());
}

#[test]
fn records_are_given_up_after_the_last_delivery() {
    let mut group = Group::of(&[read(0, 0), read(1, 1)]);
    for count in 1..=3 {
        assert_eq!(group.acquire("a", wanted(1)), [given(0, 0, count)]);
        assert!(group.tick(1_000));
    }
    let write = group.write(true).unwrap();
    assert_eq!(write.start, Offset(1));
    assert_eq!(group.acquire("a", wanted(1)), [given(1, 1, 1)]);
    // By word instead of silence.
    for count in 2..=3 {
        group
            .acknowledge("a", &[says(1, 1, &[Verdict::Release])])
            .unwrap();
        group.write(true).unwrap();
        assert_eq!(group.acquire("a", wanted(1)), [given(1, 1, count)]);
    }
    group
        .acknowledge("a", &[says(1, 1, &[Verdict::Release])])
        .unwrap();
    assert_eq!(group.write(true).unwrap().start, Offset(2));
    assert_eq!(group.acquire("a", wanted(1)), []);
}

#[test]
fn limit_that_was_lowered_counts_for_deliveries_of_before() {
    let mut group = Group::of(&[read(0, 0), read(1, 1)]);
    for count in 1..=2 {
        assert_eq!(group.acquire("a", wanted(1)), [given(0, 0, count)]);
        assert!(group.tick(1_000));
    }
    group.write(true).unwrap();
    group.limits.delivery_count = 2;
    assert_eq!(group.acquire("a", wanted(1)), [given(1, 1, 1)]);
    let write = group.write(true).unwrap();
    assert_eq!(
        (write.start, write.batches),
        (Offset(1), vec![stored(0, 0, RecordState::Archived, 2)])
    );
}

#[test]
fn member_that_goes_leaves_its_records_to_others() {
    let mut group = Group::of(&[read(0, 4), read(5, 9)]);
    assert_eq!(group.acquire("a", wanted(5)), [given(0, 4, 1)]);
    assert_eq!(group.acquire("b", wanted(5)), [given(5, 9, 1)]);
    assert!(group.delivery.release("a", &group.limits));
    assert!(!group.delivery.release("a", &group.limits));
    assert_eq!(group.acquire("b", wanted(50)), [given(0, 4, 2)]);
}

#[test]
fn limits_hold_by_batches_or_by_records() {
    let mut group = Group::of(&[read(0, 9), read(10, 19), read(20, 29)]);
    assert_eq!(group.acquire("a", wanted(11)), [given(0, 9, 1), given(10, 19, 1)]);
    let strict = Wanted {
        records_max: 3,
        is_strict: true,
        batch_size: 2,
    };
    assert_eq!(group.acquire("a", strict), [given(20, 21, 1), given(22, 22, 1)]);
    assert_eq!(group.acquire("a", strict), [given(23, 24, 1), given(25, 25, 1)]);
}

#[test]
fn no_more_records_are_locked_than_allowed() {
    let mut group = Group::of(&[read(0, 59), read(60, 119), read(120, 179)]);
    // The last batch is begun below the limit of a hundred.
    assert_eq!(
        group.acquire("a", wanted(500)),
        [given(0, 59, 1), given(60, 119, 1)]
    );
    assert_eq!(group.delivery.next_fetch(&LIMITS), None);
    group
        .acknowledge("a", &[says(0, 59, &[Verdict::Accept])])
        .unwrap();
    group.write(true).unwrap();
    assert_eq!(group.acquire("a", wanted(500)), [given(120, 179, 1)]);
}

#[test]
fn offsets_without_records_are_passed_over() {
    let marker = Read {
        is_delivered: false,
        ..read(5, 5)
    };
    // Compaction took 0 to 2 and 8 to 9.
    let mut group = Group::of(&[read(3, 4), marker, read(6, 7), read(10, 10)]);
    assert_eq!(
        group.acquire("a", wanted(500)),
        [given(3, 4, 1), given(6, 7, 1), given(10, 10, 1)]
    );
    assert_eq!(group.delivery.start(), Offset(3));
    group.acknowledge("a", &[says(3, 4, &[Verdict::Accept])]).unwrap();
    assert_eq!(group.write(true).unwrap().start, Offset(6));
    group.acknowledge("a", &[says(6, 7, &[Verdict::Accept])]).unwrap();
    assert_eq!(group.write(true).unwrap().start, Offset(10));
}

#[test]
fn what_the_log_lost_is_finished() {
    let mut group = Group::of(&[read(0, 9), read(10, 19)]);
    group.acquire("a", wanted(500));
    group.delivery.log_starts(Offset(15));
    assert_eq!(group.delivery.start(), Offset(15));
    assert_eq!(group.write(true).map(|write| write.start), Some(Offset(15)));
    assert_eq!(
        group.acknowledge("a", &[says(0, 9, &[Verdict::Accept])]),
        Ok(None)
    );
    group
        .acknowledge("a", &[says(10, 19, &[Verdict::Accept])])
        .unwrap();
    assert_eq!(group.write(true).map(|write| write.start), Some(Offset(20)));
}

#[test]
fn loaded_delivery_goes_on_where_the_stored_one_stood() {
    let state = Stored {
        state_epoch: 0,
        leader_epoch: LeaderEpoch(0),
        start: Offset(0),
        finished: 3,
        batches: vec![
            stored(0, 1, RecordState::Acknowledged, 1),
            stored(3, 4, RecordState::Available, 2),
            stored(8, 8, RecordState::Archived, 3),
        ],
    };
    let mut group = Group::of(&[read(0, 9)]);
    group.delivery = Delivery::load(&state);
    assert_eq!(group.delivery.start(), Offset(2));
    assert_eq!(
        group.acquire("a", wanted(500)),
        [given(2, 2, 1), given(3, 4, 3), given(5, 7, 1), given(9, 9, 1)]
    );
}

#[test]
fn switched_off_renewals_are_refused() {
    let mut group = Group::of(&[read(0, 9)]);
    group.limits.may_renew = false;
    group.acquire("a", wanted(500));
    assert_eq!(
        group.acknowledge("a", &[says(0, 9, &[Verdict::Renew])]),
        Err(Refused::RenewDisabled)
    );
}
