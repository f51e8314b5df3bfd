use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::{ProducerEpoch, ProducerId};

use super::request::{Add, End, Ended, Filter, Init, Initialized, Marked, Reply, Request};
use super::*;
use crate::transaction::metadata::Version;

const COORDINATOR_EPOCH: i32 = 4;
const ID: &str = "payments";

/// A shard whose writes are committed at once, unless they are held.
struct Bench {
    shard: Shard,
    now_ms: u64,
    tickets: u64,
    replies: BTreeMap<Ticket, Reply>,
    marks: Vec<Mark>,
    log: Vec<Record>,
    held: Option<Vec<WriteId>>,
}

impl Bench {
    fn new() -> Self {
        Self::of(&[])
    }

    fn of(log: &[Record]) -> Self {
        let mut shard = Shard::new(Config::default(), COORDINATOR_EPOCH);
        for record in log {
            shard.replay(record);
        }
        let effects = shard.loaded(1_000);
        let mut bench = Self {
            shard,
            now_ms: 1_000,
            tickets: 0,
            replies: BTreeMap::new(),
            marks: Vec::new(),
            log: log.to_vec(),
            held: None,
        };
        bench.carry_out(effects);
        bench
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { to, reply } => {
                    assert_eq!(self.replies.insert(to, reply), None, "answered twice");
                }
                Effect::Mark(mark) => self.marks.push(mark),
                Effect::Append { write, records } => {
                    self.log.extend(records.iter().cloned());
                    match &mut self.held {
                        Some(held) => held.push(write),
                        None => {
                            let more = self.shard.committed(self.now_ms, write);
                            self.carry_out(more);
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let to = Ticket(self.tickets);
        let effects = self.shard.apply(self.now_ms, to, request);
        self.carry_out(effects);
        to
    }

    fn ask(&mut self, request: Request) -> Reply {
        let to = self.send(request);
        self.replies.remove(&to).expect("an answer")
    }

    fn advance(&mut self, by_ms: u64) {
        let until_ms = self.now_ms + by_ms;
        while let Some(at_ms) = self.shard.next_deadline().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let effects = self.shard.tick(self.now_ms);
            self.carry_out(effects);
        }
        self.now_ms = until_ms;
    }

    fn init(&mut self, fresh: i64, expected: Option<(i64, i16)>) -> Result<(i64, i16), Error> {
        let reply = self.ask(Request::Init(Init {
            id: ID.into(),
            timeout_ms: 60_000,
            expected: expected.map(|(id, epoch)| ProducerRef::of(id, epoch)),
            fresh: ProducerId(fresh),
        }));
        match reply {
            Reply::Init(result) => result.map(|Initialized { producer }| (producer.id.0, producer.epoch.0)),
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, producer: (i64, i16), partition: i32, version: Version) -> Result<(), Error> {
        match self.ask(Request::Add(add(producer, partition, version))) {
            Reply::Add(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, producer: (i64, i16), committed: bool, version: Version) -> Result<(i64, i16), Error> {
        let reply = self.ask(Request::End(End {
            id: ID.into(),
            producer: ProducerRef::of(producer.0, producer.1),
            committed,
            version,
            fresh: (producer.1 >= i16::MAX - 1).then_some(ProducerId(99)),
        }));
        match reply {
            Reply::End(result) => result.map(|Ended { producer }| (producer.id.0, producer.epoch.0)),
            other => panic!("{other:?}"),
        }
    }

    /// All markers that are wanted are written.
    fn mark_all(&mut self) {
        for mark in std::mem::take(&mut self.marks) {
            let reply = self.ask(Request::Marked(Marked {
                id: mark.id,
                producer: mark.producer,
                coordinator_epoch: mark.coordinator_epoch,
            }));
            assert_eq!(reply, Reply::Marked(Ok(())));
        }
    }

    fn state(&mut self) -> Transaction {
        match self.ask(Request::Describe(vec![ID.into()])) {
            Reply::Describe(Ok(mut described)) => described.remove(0).expect("it is there").transaction,
            other => panic!("{other:?}"),
        }
    }
}

fn add(producer: (i64, i16), partition: i32, version: Version) -> Add {
    Add {
        id: ID.into(),
        producer: ProducerRef::of(producer.0, producer.1),
        partitions: vec![("orders".into(), partition)],
        version,
    }
}

fn mark(producer: (i64, i16), committed: bool, is_bumped: bool, partitions: &[i32]) -> Mark {
    Mark {
        id: ID.into(),
        producer: ProducerRef::of(producer.0, producer.1),
        committed,
        coordinator_epoch: COORDINATOR_EPOCH,
        is_bumped,
        partitions: partitions.iter().map(|index| ("orders".into(), *index)).collect(),
    }
}

#[test]
fn transaction_of_an_older_client_keeps_its_epoch() {
    let mut bench = Bench::new();
    assert_eq!(bench.init(7, None), Ok((7, 0)));
    assert_eq!(bench.add((7, 0), 0, Version::V0), Ok(()));
    let written = bench.log.len();
    assert_eq!(bench.add((7, 0), 0, Version::V0), Ok(()));
    assert_eq!(bench.log.len(), written, "nothing is new");
    assert_eq!(bench.add((7, 0), 1, Version::V0), Ok(()));
    assert_eq!(bench.end((7, 0), true, Version::V0), Ok((7, 0)));
    assert_eq!(bench.marks, [mark((7, 0), true, false, &[0, 1])]);
    // Until all markers are written, neither the next transaction nor another end.
    assert_eq!(bench.add((7, 0), 0, Version::V0), Err(Error::Concurrent));
    assert_eq!(bench.end((7, 0), true, Version::V0), Err(Error::Concurrent));
    assert_eq!(bench.end((7, 0), false, Version::V0), Err(Error::InvalidState));
    bench.mark_all();
    assert_eq!(bench.state().status, Status::CompleteCommit);
    assert_eq!(bench.end((7, 0), true, Version::V0), Ok((7, 0)));
    assert_eq!(bench.end((7, 0), false, Version::V0), Err(Error::InvalidState));
    assert_eq!(bench.add((7, 0), 2, Version::V0), Ok(()));
    assert_eq!(bench.end((7, 0), false, Version::V0), Ok((7, 0)));
    assert_eq!(bench.marks, [mark((7, 0), false, false, &[2])]);
}

#[test]
fn delayed_end_never_hits_the_next_transaction() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.add((7, 0), 0, Version::V2).unwrap();
    assert_eq!(bench.end((7, 0), true, Version::V2), Ok((7, 1)));
    assert_eq!(bench.marks, [mark((7, 1), true, true, &[0])]);
    // The answer was lost: it is asked again, before and after the markers.
    assert_eq!(bench.end((7, 0), true, Version::V2), Err(Error::Concurrent));
    bench.mark_all();
    assert_eq!(bench.end((7, 0), true, Version::V2), Ok((7, 1)));
    assert_eq!(bench.end((7, 0), false, Version::V2), Err(Error::InvalidState));
    // The next one is open. Now the old request comes once more.
    bench.add((7, 1), 0, Version::V2).unwrap();
    assert_eq!(bench.end((7, 0), true, Version::V2), Err(Error::Fenced));
    assert_eq!(bench.end((7, 0), false, Version::V2), Err(Error::Fenced));
    assert_eq!(bench.state().status, Status::Ongoing);
    assert_eq!(bench.add((7, 0), 1, Version::V2), Err(Error::Fenced));
}

#[test]
fn abort_of_nothing_raises_the_epoch_and_a_commit_of_nothing_is_refused() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    assert_eq!(bench.end((7, 0), true, Version::V2), Err(Error::InvalidState));
    assert_eq!(bench.end((7, 0), false, Version::V2), Ok((7, 1)));
    assert_eq!(bench.marks, []);
    assert_eq!(bench.state().status, Status::CompleteAbort);
    assert_eq!(bench.end((7, 1), false, Version::V2), Ok((7, 2)));
    assert_eq!(bench.end((7, 2), true, Version::V2), Err(Error::InvalidState));
    assert_eq!(bench.end((7, 2), false, Version::V0), Ok((7, 2)));
}

#[test]
fn new_instance_fences_the_old_one_and_aborts_what_it_left_open() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.add((7, 0), 0, Version::V0).unwrap();
    assert_eq!(bench.init(8, None), Err(Error::Concurrent));
    assert_eq!(bench.marks, [mark((7, 1), false, true, &[0])]);
    assert_eq!(bench.end((7, 0), true, Version::V0), Err(Error::Fenced));
    assert_eq!(bench.init(8, None), Err(Error::Concurrent));
    bench.mark_all();
    assert_eq!(bench.end((7, 0), false, Version::V2), Err(Error::Fenced));
    assert_eq!(bench.init(8, None), Ok((7, 2)));
    for error in [
        bench.add((7, 0), 0, Version::V0),
        bench.end((7, 1), true, Version::V2).map(drop),
        bench.init(8, Some((7, 0))).map(drop),
    ] {
        assert_eq!(error, Err(Error::Fenced));
    }
    assert_eq!(bench.add((9, 2), 0, Version::V0), Err(Error::ProducerIdMapping));
}

#[test]
fn producer_that_goes_on_after_an_error_may_ask_twice() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    assert_eq!(bench.init(8, Some((7, 0))), Ok((7, 1)));
    assert_eq!(bench.init(8, Some((7, 0))), Ok((7, 1)), "the answer was lost");
    assert_eq!(bench.init(8, None), Ok((7, 2)));
    assert_eq!(bench.init(8, Some((7, 1))), Err(Error::Fenced));
    assert_eq!(bench.init(8, Some((6, 2))), Err(Error::Fenced));
}

#[test]
fn delayed_init_never_hits_the_next_transaction() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    assert_eq!(bench.init(8, Some((7, 0))), Ok((7, 1)));
    bench.add((7, 1), 0, Version::V2).unwrap();
    // Sent twice, and the second one comes late.
    assert_eq!(bench.init(8, Some((7, 0))), Err(Error::Fenced));
    assert_eq!(bench.marks, []);
    assert_eq!(bench.end((7, 1), true, Version::V2), Ok((7, 2)));
    bench.mark_all();
    // The producer itself may give up what it has open.
    bench.add((7, 2), 0, Version::V2).unwrap();
    assert_eq!(bench.init(8, Some((7, 2))), Err(Error::Concurrent));
    assert_eq!(bench.marks, [mark((7, 3), false, true, &[0])]);
}

#[test]
fn producer_id_changes_when_its_epochs_are_used_up() {
    let last = i16::MAX - 1;
    let mut transaction = Transaction::new(ProducerId(7), 0);
    transaction.epoch = ProducerEpoch(last);
    transaction.timeout_ms = 60_000;
    let record = Record {
        id: ID.into(),
        value: Some(transaction),
    };
    let mut bench = Bench::of(std::slice::from_ref(&record));
    bench.add((7, last), 0, Version::V2).unwrap();
    assert_eq!(bench.end((7, last), true, Version::V2), Ok((99, 0)));
    assert_eq!(bench.marks, [mark((7, i16::MAX), true, true, &[0])]);
    bench.mark_all();
    assert_eq!(
        bench.end((7, last), true, Version::V2),
        Ok((99, 0)),
        "asked again"
    );
    assert_eq!(bench.add((99, 0), 0, Version::V2), Ok(()));
    assert_eq!(bench.end((7, last), true, Version::V2), Err(Error::Fenced));

    let mut bench = Bench::of(std::slice::from_ref(&record));
    assert_eq!(bench.init(8, Some((7, last))), Ok((8, 0)));
    assert_eq!(bench.init(9, Some((7, last))), Ok((8, 0)), "asked again");
}

#[test]
fn transaction_that_is_open_for_too_long_is_aborted() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.add((7, 0), 0, Version::V0).unwrap();
    bench.advance(59_000);
    assert_eq!(bench.marks, []);
    bench.advance(12_000);
    assert_eq!(bench.marks, [mark((7, 1), false, true, &[0])]);
    bench.mark_all();
    assert_eq!(bench.end((7, 0), true, Version::V0), Err(Error::Fenced));
    assert_eq!(bench.state().status, Status::CompleteAbort);
}

#[test]
fn id_that_nobody_uses_is_forgotten() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.advance(8 * 24 * 3_600_000);
    let forgotten = Record {
        id: ID.into(),
        value: None,
    };
    assert_eq!(bench.log.last(), Some(&forgotten));
    assert_eq!(bench.add((7, 0), 0, Version::V0), Err(Error::ProducerIdMapping));
    let reply = bench.ask(Request::Describe(vec![ID.into()]));
    assert_eq!(reply, Reply::Describe(Ok(vec![Err(Error::NotFound)])));
}

#[test]
fn nothing_counts_or_is_answered_before_it_is_committed() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.held = Some(Vec::new());
    let to = bench.send(Request::Add(add((7, 0), 0, Version::V0)));
    assert_eq!(bench.replies.get(&to), None);
    assert_eq!(bench.state().status, Status::Empty);
    assert_eq!(bench.add((7, 0), 0, Version::V0), Err(Error::Concurrent));
    // It is late: the client is told, but the change is under way still.
    bench.advance(6_000);
    assert_eq!(
        bench.replies.remove(&to),
        Some(Reply::Add(Err(Error::NotAvailable)))
    );
    assert_eq!(bench.end((7, 0), true, Version::V0), Err(Error::Concurrent));
    let write = bench.held.take().unwrap()[0];
    let effects = bench.shard.committed(bench.now_ms, write);
    assert_eq!(effects, []);
    assert_eq!(bench.state().status, Status::Ongoing);
}

#[test]
fn failed_write_leaves_no_trace() {
    let mut bench = Bench::new();
    bench.held = Some(Vec::new());
    let to = bench.send(Request::Init(Init {
        id: ID.into(),
        timeout_ms: 1,
        expected: None,
        fresh: ProducerId(7),
    }));
    let write = bench.held.take().unwrap()[0];
    let effects = bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated);
    bench.carry_out(effects);
    assert_eq!(
        bench.replies.remove(&to),
        Some(Reply::Init(Err(Error::NotAvailable)))
    );
    assert_eq!(
        bench.ask(Request::List(Filter::default())),
        Reply::List(Ok(vec![]))
    );
    assert_eq!(bench.init(8, None), Ok((8, 0)));
}

#[test]
fn end_that_could_not_be_noted_is_noted_later() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.add((7, 0), 0, Version::V2).unwrap();
    bench.end((7, 0), true, Version::V2).unwrap();
    bench.held = Some(Vec::new());
    bench.mark_all();
    let write = bench.held.take().unwrap()[0];
    let effects = bench.shard.failed(bench.now_ms, write, WriteError::NotReplicated);
    bench.carry_out(effects);
    assert_eq!(bench.state().status, Status::PrepareCommit);
    bench.advance(RETRY_MS);
    assert_eq!(bench.state().status, Status::CompleteCommit);
}

#[test]
fn next_coordinator_finds_all_in_the_log_and_writes_the_markers_again() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.add((7, 0), 3, Version::V2).unwrap();
    bench.end((7, 0), false, Version::V2).unwrap();
    let mut next = Bench::of(&bench.log);
    assert_eq!(next.marks, bench.marks);
    assert_eq!(next.end((7, 0), false, Version::V2), Err(Error::Concurrent));
    // Markers of the coordinator before are none of this one's concern.
    let stale = Request::Marked(Marked {
        id: ID.into(),
        producer: ProducerRef::of(7, 1),
        coordinator_epoch: COORDINATOR_EPOCH - 1,
    });
    assert_eq!(next.ask(stale), Reply::Marked(Err(Error::NotCoordinator)));
    next.mark_all();
    assert_eq!(next.end((7, 0), false, Version::V2), Ok((7, 1)));
    assert_eq!(next.add((7, 1), 0, Version::V2), Ok(()));
}

#[test]
fn verification_adds_nothing() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    let verify =
        |bench: &mut Bench, partition| bench.ask(Request::Verify(add((7, 0), partition, Version::V2)));
    let abortable = Reply::Verify(Ok(vec![Err(Error::Abortable)]));
    assert_eq!(verify(&mut bench, 0), abortable);
    bench.add((7, 0), 0, Version::V0).unwrap();
    assert_eq!(verify(&mut bench, 0), Reply::Verify(Ok(vec![Ok(())])));
    assert_eq!(verify(&mut bench, 1), abortable);
    bench.end((7, 0), true, Version::V0).unwrap();
    assert_eq!(verify(&mut bench, 0), Reply::Verify(Err(Error::Concurrent)));
    bench.mark_all();
    assert_eq!(verify(&mut bench, 0), abortable, "of the transaction before");
}

#[test]
fn what_cannot_be_is_refused() {
    let mut bench = Bench::new();
    let init = |id: &str, timeout_ms| {
        Request::Init(Init {
            id: id.into(),
            timeout_ms,
            expected: None,
            fresh: ProducerId(7),
        })
    };
    for (request, error) in [
        (init("", 1), Error::InvalidId),
        (init(&"x".repeat(32_001), 1), Error::InvalidId),
        (init(ID, 0), Error::InvalidTimeout),
        (init(ID, 900_001), Error::InvalidTimeout),
    ] {
        assert_eq!(bench.ask(request), Reply::Init(Err(error)));
    }
    assert_eq!(bench.add((7, 0), 0, Version::V0), Err(Error::ProducerIdMapping));
    assert_eq!(bench.log, []);
}

#[test]
fn list_shows_what_passes_all_filters() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.add((7, 0), 0, Version::V0).unwrap();
    bench.advance(5_000);
    let mut count = |filter: Filter| match bench.ask(Request::List(filter)) {
        Reply::List(Ok(listed)) => listed.len(),
        other => panic!("{other:?}"),
    };
    let all = Filter {
        open_for_ms: -1,
        ..Filter::default()
    };
    assert_eq!(count(all.clone()), 1);
    for (filter, expected) in [
        (
            Filter {
                statuses: [Status::Ongoing].into(),
                ..all.clone()
            },
            1,
        ),
        (
            Filter {
                statuses: [Status::Empty].into(),
                ..all.clone()
            },
            0,
        ),
        (
            Filter {
                producer_ids: BTreeSet::from([ProducerId(7)]),
                ..all.clone()
            },
            1,
        ),
        (
            Filter {
                producer_ids: BTreeSet::from([ProducerId(8)]),
                ..all.clone()
            },
            0,
        ),
        (
            Filter {
                open_for_ms: 4_999,
                ..all.clone()
            },
            1,
        ),
        (
            Filter {
                open_for_ms: 5_000,
                ..all
            },
            0,
        ),
    ] {
        assert_eq!(count(filter.clone()), expected, "{filter:?}");
    }
}

#[test]
fn whoever_waits_is_sent_away_when_the_shard_goes() {
    let mut bench = Bench::new();
    bench.init(7, None).unwrap();
    bench.held = Some(Vec::new());
    let to = bench.send(Request::Add(add((7, 0), 0, Version::V0)));
    let reply = Reply::Add(Err(Error::NotCoordinator));
    assert_eq!(bench.shard.unload(), [Effect::Reply { to, reply }]);
}
