//! The checker finds faults that were planted, each kind, and finds nothing where nothing is wrong.

use std::sync::Arc;

use crate::checker::{Violation, check};
use crate::history::{Acknowledged, Event, History, Id, Logs, Member, Partition, Sent, Stored};

fn orders(index: i32) -> Partition {
    Partition {
        topic: "orders".into(),
        index,
    }
}

fn id(session: u32, number: u64) -> Id {
    Id { session, number }
}

fn member(name: &str) -> Arc<Member> {
    Arc::new(Member {
        group: "readers".into(),
        name: name.to_owned(),
    })
}

fn delivered(name: &str, offset: i64, number: u64) -> Event {
    Event::Delivered {
        member: member(name),
        partition: orders(0),
        offset,
        id: Some(id(1, number)),
    }
}

fn assigned(name: &str) -> Event {
    Event::Assigned {
        member: member(name),
        partition: orders(0),
    }
}

fn revoked(name: &str) -> Event {
    Event::Revoked {
        member: member(name),
        partition: orders(0),
    }
}

fn committed(name: &str, offset: i64) -> Event {
    Event::Committed {
        member: member(name),
        partition: orders(0),
        offset,
    }
}

fn seen(asked_after: usize, offset: Option<i64>) -> Event {
    Event::Seen {
        group: "readers".into(),
        partition: orders(0),
        asked_after,
        offset,
    }
}

fn stored(offset: i64, number: u64) -> Stored {
    Stored {
        offset,
        id: Some(id(1, number)),
    }
}

/// Session 1 sent six records; 0 to 3 lie in partition 0 and were acknowledged, 4 lies in partition 1 and was not, and 5 failed. The
/// group `readers` read partition 0: `a` half of it, and `b` all the rest, one record of it again.
fn sound() -> (History, Logs) {
    let mut history = History::default();
    let sent = Sent {
        topic: "orders".into(),
        attempts: 6,
        idempotent: true,
    };
    history.sessions.insert(1, sent);
    history.acknowledged = (0..4)
        .map(|n| Acknowledged {
            at: n,
            id: id(1, n),
            partition: orders(0),
            offset: Some(n as i64),
        })
        .collect();
    history.events = vec![
        assigned("a"),
        delivered("a", 0, 0),
        committed("a", 1),
        delivered("a", 1, 1),
        revoked("a"),
        assigned("b"),
        delivered("b", 1, 1),
        delivered("b", 2, 2),
        committed("b", 3),
        seen(9, Some(3)),
        delivered("b", 3, 3),
    ];
    let zero = (0..4).map(|n| stored(n, n as u64)).collect();
    let logs = Logs::from([(orders(0), zero), (orders(1), vec![stored(0, 4)])]);
    (history, logs)
}

fn log_of(logs: &mut Logs) -> &mut Vec<Stored> {
    logs.get_mut(&orders(0)).unwrap()
}

fn found(change: impl FnOnce(&mut History, &mut Logs)) -> Vec<Violation> {
    let (mut history, mut logs) = sound();
    change(&mut history, &mut logs);
    check(&history, &logs)
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found(|_, _| {}), []);
}

#[test]
fn acknowledged_record_that_is_not_in_the_log_is_lost() {
    let found = found(|history, logs| {
        log_of(logs).pop();
        history.events.pop();
    });
    let lost = Violation::Lost {
        id: id(1, 3),
        partition: orders(0),
        offset: Some(3),
        at: 3,
    };
    assert_eq!(found, [lost]);
}

#[test]
fn whole_partition_that_is_gone_is_lost_record_by_record() {
    let found = found(|history, logs| {
        logs.remove(&orders(0));
        history.events.clear();
    });
    assert_eq!(found.iter().map(Violation::kind).collect::<Vec<_>>(), ["lost"; 4]);
}

#[test]
fn record_at_another_offset_than_was_acknowledged_is_misplaced() {
    let found = found(|history, _| history.acknowledged[2].offset = Some(7));
    let misplaced = Violation::Misplaced {
        id: id(1, 2),
        partition: orders(0),
        offset: Some(7),
        found: vec![(orders(0), 2)],
    };
    assert_eq!(found, [misplaced]);
}

#[test]
fn record_whose_offset_was_not_told_only_has_to_be_in_its_partition() {
    assert_eq!(found(|history, _| history.acknowledged[2].offset = None), []);
    let found = found(|history, _| {
        (history.acknowledged[2].offset, history.acknowledged[2].partition) = (None, orders(1));
    });
    assert_eq!(
        found.iter().map(Violation::kind).collect::<Vec<_>>(),
        ["misplaced"]
    );
}

#[test]
fn record_that_is_there_twice_is_doubled() {
    let found = found(|_, logs| log_of(logs).push(stored(4, 3)));
    let doubled = Violation::Doubled {
        id: id(1, 3),
        places: vec![(orders(0), 3), (orders(0), 4)],
    };
    assert_eq!(found, [doubled]);
}

#[test]
fn record_in_two_partitions_is_doubled() {
    let found = found(|_, logs| logs.get_mut(&orders(1)).unwrap().push(stored(1, 5)));
    assert_eq!(found, []);
    let found = self::found(|_, logs| logs.get_mut(&orders(1)).unwrap().insert(0, stored(-1, 3)));
    assert_eq!(found.iter().map(Violation::kind).collect::<Vec<_>>(), ["doubled"]);
}

#[test]
fn producer_without_idempotence_may_write_twice() {
    let found = found(|history, logs| {
        log_of(logs).push(stored(4, 3));
        history.sessions.get_mut(&1).unwrap().idempotent = false;
    });
    assert_eq!(found, []);
}

#[test]
fn records_in_another_order_than_sent_are_found() {
    let found = found(|history, logs| {
        let log = log_of(logs);
        (log[2].id, log[3].id) = (log[3].id, log[2].id);
        history.acknowledged.clear();
        history.events.clear();
    });
    let reordered = Violation::Reordered {
        partition: orders(0),
        first: (id(1, 3), 2),
        second: (id(1, 2), 3),
    };
    assert_eq!(found, [reordered]);
}

#[test]
fn record_that_nobody_sent_is_found() {
    for planted in [None, Some(id(1, 6)), Some(id(9, 0))] {
        let found = found(|_, logs| {
            log_of(logs).push(Stored {
                offset: 4,
                id: planted,
            });
        });
        let invented = Violation::Invented {
            partition: orders(0),
            offset: 4,
            id: planted,
        };
        assert_eq!(found, [invented]);
    }
}

#[test]
fn record_of_a_topic_that_was_deleted_before_is_invented() {
    let found = found(|_, logs| {
        let again = Partition {
            topic: "orders#2".into(),
            index: 0,
        };
        logs.insert(again, vec![stored(0, 5)]);
    });
    assert_eq!(
        found.iter().map(Violation::kind).collect::<Vec<_>>(),
        ["invented"]
    );
}

#[test]
fn log_whose_offsets_go_back_is_found() {
    let found = found(|_, logs| log_of(logs).push(stored(2, 5)));
    let unordered = Violation::Unordered {
        partition: orders(0),
        offsets: (3, 2),
    };
    assert!(found.contains(&unordered), "{found:?}");
}

#[test]
fn record_that_a_consumer_saw_and_the_log_does_not_have_is_unreal() {
    let found = found(|history, _| history.events[10] = delivered("b", 3, 5));
    let unreal = Violation::Unreal {
        member: "readers/b".into(),
        partition: orders(0),
        offset: 3,
        handed: Some(id(1, 5)),
        stored: Some(id(1, 3)),
    };
    assert_eq!(found, [unreal]);
    let found = self::found(|history, _| history.events.push(delivered("b", 4, 5)));
    assert_eq!(found.iter().map(Violation::kind).collect::<Vec<_>>(), ["unreal"]);
}

#[test]
fn consumer_that_goes_over_a_record_is_found() {
    let found = found(|history, _| drop(history.events.remove(7)));
    let skipped = Violation::Skipped {
        member: "readers/b".into(),
        partition: orders(0),
        after: 1,
        at: 3,
        records: 1,
    };
    let unread = Violation::Unread {
        group: "readers".into(),
        partition: orders(0),
        below: 4,
        records: 1,
        first: 2,
    };
    assert_eq!(found, [skipped, unread]);
}

#[test]
fn gap_in_the_log_itself_is_no_skip() {
    let found = found(|history, logs| {
        log_of(logs).remove(2);
        history.acknowledged.remove(2);
        history.events.remove(7);
    });
    assert_eq!(found, []);
}

#[test]
fn group_that_starts_behind_records_that_nobody_was_handed_is_found() {
    let found = found(|history, _| {
        history.events.truncate(6);
        history.events.push(delivered("b", 3, 3));
    });
    let unread = Violation::Unread {
        group: "readers".into(),
        partition: orders(0),
        below: 4,
        records: 1,
        first: 2,
    };
    assert_eq!(found, [unread]);
}

#[test]
fn commit_over_records_that_nobody_was_handed_is_found() {
    let found = found(|history, _| {
        history.events.pop();
        history.events.push(committed("b", 4));
    });
    assert_eq!(found.iter().map(Violation::kind).collect::<Vec<_>>(), ["unread"]);
}

#[test]
fn session_that_begins_before_what_was_committed_is_found() {
    let found = found(|history, _| {
        history
            .events
            .extend([revoked("b"), assigned("c"), delivered("c", 1, 1)]);
    });
    let back = Violation::WentBack {
        member: "readers/c".into(),
        partition: orders(0),
        committed: 3,
        began: 1,
    };
    assert_eq!(found, [back]);
}

#[test]
fn session_may_begin_before_what_was_committed_after_it_began() {
    let found = found(|history, _| {
        history.events.insert(5, assigned("c"));
        history.events.push(delivered("c", 1, 1));
    });
    assert_eq!(found, []);
}

#[test]
fn committed_offset_that_is_told_older_or_not_at_all_is_found() {
    for told in [None, Some(2)] {
        let found = found(|history, _| history.events.push(seen(11, told)));
        let forgotten = Violation::Forgotten {
            group: "readers".into(),
            partition: orders(0),
            known: 3,
            told,
        };
        assert_eq!(found, [forgotten]);
    }
}

#[test]
fn committed_offset_that_was_asked_for_before_the_commit_may_be_older() {
    assert_eq!(found(|history, _| history.events.push(seen(8, Some(1)))), []);
}

#[test]
fn offset_that_was_told_once_is_known_from_then_on() {
    let found = found(|history, _| {
        history.events.push(seen(11, Some(4)));
        history.events.push(seen(12, Some(3)));
    });
    assert_eq!(
        found.iter().map(Violation::kind).collect::<Vec<_>>(),
        ["forgotten"]
    );
}
