//! Any order of fetches, acknowledgements, writes, silence and restarts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Fetch(u8, i64, bool),
    Acknowledge(u8, usize, Verdict),
    Write(bool),
    Wait(u64),
    Leave(u8),
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verdict = prop_oneof![
        Just(Verdict::Accept),
        Just(Verdict::Release),
        Just(Verdict::Reject),
        Just(Verdict::Renew),
        Just(Verdict::Gap),
    ];
    let step = prop_oneof![
        4 => (0_u8..3, 1_i64..20, any::<bool>()).prop_map(|(m, n, strict)| Step::Fetch(m, n, strict)),
        6 => (0_u8..3, any::<usize>(), verdict).prop_map(|(m, which, v)| Step::Acknowledge(m, which, v)),
        3 => any::<bool>().prop_map(Step::Write),
        2 => (1_u64..800).prop_map(Step::Wait),
        1 => (0_u8..3).prop_map(Step::Leave),
        1 => Just(Step::Reload),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What happened to each record, as seen from outside.
#[derive(Default)]
struct Seen {
    /// Deliveries since the delivery was last loaded: what a broker that dies had not stored, nobody counts.
    counts: BTreeMap<i64, i16>,
    held: BTreeMap<u8, Vec<Acquired>>,
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let log: Vec<Read> = (0..8).map(|n| read(n * 7, n * 7 + 6)).collect();
    let records = 56;
    let mut group = Group::of(&log);
    group.limits.record_locks = 25;
    let mut store = Stored::new(0, Offset(0));
    let mut seen = Seen::default();
    let mut finished: BTreeMap<i64, RecordState> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Fetch(member, records_max, is_strict) => {
                let wanted = Wanted {
                    records_max,
                    is_strict,
                    batch_size: 4,
                };
                let acquired = group.acquire(&member.to_string(), wanted);
                let total: i64 = acquired.iter().map(|one| one.last.0 - one.first.0 + 1).sum();
                prop_assert!(!is_strict || total <= records_max);
                for one in &acquired {
                    for offset in one.first.0..=one.last.0 {
                        let count = seen.counts.entry(offset).or_default();
                        *count += 1;
                        prop_assert!(
                            *count <= group.limits.delivery_count,
                            "{offset} came {count} times"
                        );
                        prop_assert!(!finished.contains_key(&offset), "{offset} was finished");
                    }
                }
                seen.held.entry(member).or_default().extend(acquired);
            }
            Step::Acknowledge(member, which, verdict) => {
                let held = seen.held.entry(member).or_default();
                if !held.is_empty() {
                    let one = held.swap_remove(which % held.len());
                    let says = [says(one.first.0, one.last.0, &[verdict])];
                    let _ = group.acknowledge(&member.to_string(), &says);
                }
            }
            Step::Write(is_stored) => {
                if let Some(write) = group.write(is_stored).filter(|_| is_stored) {
                    store = store.with(write.start, 0, &write.batches);
                    note_finished(&store, &mut finished);
                }
            }
            Step::Wait(ms) => {
                group.tick(ms);
            }
            Step::Leave(member) => {
                group.delivery.release(&member.to_string(), &group.limits);
            }
            Step::Reload => {
                group.delivery = Delivery::load(&store);
                seen = Seen::default();
            }
        }
        check_start(&group, &store, &finished)?;
    }
    drain(&mut group, store, finished, records)
}

fn note_finished(store: &Stored, finished: &mut BTreeMap<i64, RecordState>) {
    for batch in store.batches.iter().filter(|batch| batch.state.is_final()) {
        for offset in batch.first.0..=batch.last.0 {
            finished.entry(offset).or_insert(batch.state);
        }
    }
    for offset in 0..store.start.0 {
        finished.entry(offset).or_insert(RecordState::Acknowledged);
    }
}

/// What was stored as finished never comes back, and the store's start is never behind a record that is not.
fn check_start(
    group: &Group,
    store: &Stored,
    finished: &BTreeMap<i64, RecordState>,
) -> Result<(), TestCaseError> {
    let last = group.delivery.ranges.values().map(|range| range.last).max();
    prop_assert!(last.is_none_or(|last| last < group.delivery.end));
    let mut next = group.delivery.start;
    for (first, range) in &group.delivery.ranges {
        prop_assert_eq!(*first, next, "there is no hole");
        next = range.last.plus(1);
        if !range.state.is_final() && range.pending.is_none() {
            prop_assert!(store.start <= range.last);
            let mut unfinished = first.0..=range.last.0;
            prop_assert!(unfinished.all(|offset| !finished.contains_key(&offset)));
        }
    }
    prop_assert_eq!(next, group.delivery.end);
    Ok(())
}

/// One member that does its work: all that is left is finished.
fn drain(
    group: &mut Group,
    mut store: Stored,
    mut finished: BTreeMap<i64, RecordState>,
    records: i64,
) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        group.tick(1_000);
        for one in group.acquire("last", wanted(10)) {
            let says = [says(one.first.0, one.last.0, &[Verdict::Accept])];
            prop_assert!(group.acknowledge("last", &says).is_ok());
        }
        while let Some(write) = group.write(true) {
            store = store.with(write.start, 0, &write.batches);
            note_finished(&store, &mut finished);
        }
    }
    prop_assert_eq!(group.delivery.start(), Offset(records));
    prop_assert_eq!(store.start, Offset(records));
    prop_assert_eq!(finished.len() as i64, records);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Each record is delivered no more often than allowed, is at last finished, and is not delivered once that is stored.
    #[test]
    fn records_are_delivered_until_they_are_finished_and_never_after(steps in steps()) {
        run(steps)?;
    }
}
