use flotilla_protocol::{LeaderEpoch, Offset, Uuid};

use super::*;
use crate::share::state::Batch;

const TOPIC: Uuid = Uuid([3; 16]);

fn of(partition: i32) -> SharePartition {
    SharePartition {
        group: "g".into(),
        topic_id: TOPIC,
        partition,
    }
}

fn batch(first: i64, last: i64, state: RecordState) -> Batch {
    Batch {
        first: Offset(first),
        last: Offset(last),
        state,
        delivery_count: 1,
    }
}

/// A shard whose log commits at once, or when it is told to.
struct Log {
    shard: Shard,
    records: Vec<Record>,
    pending: Vec<(WriteId, Arc<[Record]>)>,
    replies: Vec<(Ticket, Reply)>,
    next_ticket: u64,
    now_ms: u64,
}

impl Log {
    fn new() -> Self {
        let mut shard = Shard::new(Config::default());
        assert_eq!(shard.loaded(0), []);
        Self {
            shard,
            records: Vec::new(),
            pending: Vec::new(),
            replies: Vec::new(),
            next_ticket: 0,
            now_ms: 0,
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply { to, reply } => self.replies.push((to, reply)),
                Effect::Append { write, records } => self.pending.push((write, records)),
            }
        }
    }

    fn send(&mut self, request: Request) -> Ticket {
        let to = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let effects = self.shard.apply(self.now_ms, to, request);
        self.carry_out(effects);
        to
    }

    fn commit(&mut self) {
        for (write, records) in std::mem::take(&mut self.pending) {
            self.records.extend(records.iter().cloned());
            let effects = self.shard.committed(self.now_ms, write);
            self.carry_out(effects);
        }
    }

    fn ask(&mut self, request: Request) -> Reply {
        let to = self.send(request);
        self.commit();
        let place = self
            .replies
            .iter()
            .position(|(of, _)| *of == to)
            .expect("answered");
        self.replies.remove(place).1
    }

    /// The same log, read by another broker.
    fn reloaded(&self) -> Self {
        let mut other = Self::new();
        for record in &self.records {
            let (key, value) = record.encode().expect("a short id");
            let read = Record::decode(&key, value.as_deref()).expect("well-formed");
            other.shard.replay(&read.expect("a known kind"));
        }
        other.shard.loaded(0);
        other.records.clone_from(&self.records);
        other
    }
}

fn initialize(partition: i32, state_epoch: i32, start: i64) -> Request {
    Request::Initialize {
        of: of(partition),
        state_epoch,
        start: Offset(start),
    }
}

fn read(leader_epoch: i32) -> Request {
    Request::Read {
        of: of(0),
        leader_epoch: LeaderEpoch(leader_epoch),
    }
}

fn write(state_epoch: i32, leader_epoch: i32, start: i64, batches: &[Batch]) -> Request {
    Request::Write {
        of: of(0),
        change: WriteState {
            state_epoch,
            leader_epoch: LeaderEpoch(leader_epoch),
            start: Offset(start),
            finished: 0,
            batches: batches.to_vec(),
        },
    }
}

const DONE: Reply = Reply::Done(Ok(()));

fn refused(error: Error) -> Reply {
    Reply::Done(Err(error))
}

#[test]
fn what_was_written_is_read_also_from_the_log() {
    let mut log = Log::new();
    assert_eq!(log.ask(initialize(0, 0, -1)), DONE);
    assert_eq!(
        log.ask(write(0, 4, 10, &[batch(12, 13, RecordState::Acknowledged)])),
        DONE
    );
    assert_eq!(
        log.ask(write(0, 4, -1, &[batch(14, 14, RecordState::Archived)])),
        DONE
    );
    let expected = Stored {
        state_epoch: 0,
        leader_epoch: LeaderEpoch(5),
        start: Offset(10),
        finished: 0,
        batches: vec![
            batch(12, 13, RecordState::Acknowledged),
            batch(14, 14, RecordState::Archived),
        ],
    };
    let mut reloaded = log.reloaded();
    for log in [&mut log, &mut reloaded] {
        assert_eq!(log.ask(read(5)), Reply::Read(Ok(expected.clone())));
        let summary = log.ask(Request::Summary(of(0)));
        assert_eq!(summary, Reply::Summary(Ok(Some(super::summary(&expected)))));
    }
}

#[test]
fn leaders_of_the_past_are_refused() {
    let mut log = Log::new();
    assert_eq!(log.ask(read(3)), Reply::Read(Err(Error::Uninitialized)));
    assert_eq!(log.ask(write(0, 3, 0, &[])), refused(Error::Uninitialized));
    log.ask(initialize(0, 0, 0));
    assert!(matches!(log.ask(read(3)), Reply::Read(Ok(_))));
    // Also by who takes the coordinator over.
    for log in [&mut log.reloaded(), &mut log] {
        assert_eq!(log.ask(read(2)), Reply::Read(Err(Error::FencedLeaderEpoch)));
        assert_eq!(log.ask(write(0, 2, 0, &[])), refused(Error::FencedLeaderEpoch));
    }
    // Beginning once more changes nothing.
    assert_eq!(log.ask(initialize(0, 9, -1)), DONE);
    assert_eq!(log.ask(write(0, 3, 0, &[])), DONE);
    assert_eq!(log.ask(initialize(0, 1, 50)), DONE);
    assert_eq!(log.ask(write(0, 3, 0, &[])), refused(Error::FencedStateEpoch));
    assert_eq!(log.ask(initialize(0, 0, 50)), refused(Error::FencedStateEpoch));
}

#[test]
fn nothing_is_answered_for_before_it_is_committed() {
    let mut log = Log::new();
    log.ask(initialize(0, 0, 0));
    let first = log.send(write(0, 1, 5, &[]));
    let second = log.send(Request::Summary(of(0)));
    assert_eq!(log.replies, []);
    let (lost, _) = log.pending.remove(0);
    let effects = log.shard.failed(0, lost, WriteError::NotLeader);
    log.carry_out(effects);
    assert_eq!(
        log.replies,
        [
            (first, refused(Error::NotCoordinator)),
            (second, Reply::Summary(Err(Error::NotCoordinator))),
        ]
    );
    log.replies.clear();
    let Reply::Summary(Ok(Some(summary))) = log.ask(Request::Summary(of(0))) else {
        panic!("there is one");
    };
    assert_eq!(summary.start, Offset(0));
    // One that takes too long is told so, and counts if it is committed after all.
    let late = log.send(write(0, 1, 6, &[]));
    log.now_ms = 5_000;
    assert_eq!(log.shard.next_deadline(), Some(5_000));
    let effects = log.shard.tick(log.now_ms);
    log.carry_out(effects);
    assert_eq!(log.replies.pop(), Some((late, refused(Error::NotAvailable))));
    log.commit();
    assert!(
        matches!(log.ask(Request::Summary(of(0))), Reply::Summary(Ok(Some(it))) if it.start == Offset(6))
    );
}

#[test]
fn deleted_states_and_those_of_deleted_topics_are_forgotten() {
    let mut log = Log::new();
    for partition in 0..3 {
        log.ask(initialize(partition, 0, 0));
    }
    assert_eq!(log.ask(Request::Delete(of(0))), DONE);
    assert_eq!(log.ask(Request::Delete(of(0))), DONE);
    assert_eq!(log.ask(Request::Summary(of(0))), Reply::Summary(Ok(None)));
    assert_eq!(log.reloaded().shard.latest.len(), 2);
    assert_eq!(log.ask(Request::TopicsDeleted(vec![TOPIC])), Reply::TopicsDeleted);
    assert_eq!(log.reloaded().shard.latest.len(), 0);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut log = Log::new();
    for (partition, epoch, start) in [(-1, 0, 0), (0, -1, 0), (0, 0, -2)] {
        assert_eq!(
            log.ask(initialize(partition, epoch, start)),
            refused(Error::InvalidRequest)
        );
    }
    log.ask(initialize(0, 0, 0));
    for bad in [
        batch(3, 2, RecordState::Archived),
        batch(-1, 2, RecordState::Archived),
        batch(1, 2, RecordState::Acquired),
    ] {
        assert_eq!(log.ask(write(0, 0, 0, &[bad])), refused(Error::InvalidRequest));
    }
}
