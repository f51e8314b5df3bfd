//! Fetches of share groups: they are given what is available, and wait where nothing is.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_protocol::records::parse_batches;
use flotilla_protocol::{LeaderEpoch, Offset};
use futures::future::{join_all, select_all};
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use super::{Failure, Hosted, isolation, limits, store};
use crate::broker::Broker;
use crate::group::Text;
use crate::replica::{Fetch, Part, PartitionKey, Query, ReadError, Reader};
use crate::share::{self, Acquired, Limits, Read, Wanted};

/// How long a look takes at least that found a lock which ends right now.
const LOCK_STEP: Duration = Duration::from_millis(1);

/// What a member wants.
#[derive(Clone, Debug)]
pub struct Want {
    /// The group.
    pub group: Text,
    /// The member.
    pub member: Text,
    /// From which partitions; those that come first are served first.
    pub partitions: Vec<PartitionKey>,
    /// How many records.
    pub wanted: Wanted,
    /// At most so many bytes over all partitions, the first batch aside.
    pub bytes_max: usize,
    /// How long to wait where there is nothing.
    pub wait_max: Duration,
}

/// What a member is given of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Whole batches.
    pub records: Vec<Bytes>,
    /// Which of the records in them it is given.
    pub acquired: Vec<Acquired>,
}

/// Of each partition that has something to tell.
type Found = Vec<(PartitionKey, Result<Given, Failure>)>;

impl Broker {
    /// Gives a member what is available, of those partitions that have something, or waits until one has.
    pub(crate) async fn share_fetch(self: &Arc<Self>, want: &Want) -> Found {
        let deadline = Instant::now() + want.wait_max;
        let mut passed_over: Vec<PartitionKey> = Vec::new();
        loop {
            let (hosted, mut found) = self.share_opened(want, &passed_over).await;
            let image = self.metadata.image();
            let limits = limits(self, &image, &want.group);
            let look = Look {
                want,
                limits,
                read_committed: isolation(&image, &want.group),
                deadline: match found.is_empty() {
                    true => deadline,
                    // A refusal is told at once.
                    false => Instant::now(),
                },
            };
            match look.once(self, &hosted).await {
                Looked::Found(more, beyond) => {
                    found.extend(more);
                    passed_over.extend(beyond);
                }
                Looked::Woken => {}
            }
            if !found.is_empty() || Instant::now() >= deadline {
                return found;
            }
        }
    }

    /// The deliveries of the partitions, and why some cannot be had. What cannot be had just now is left out: the member
    /// comes again.
    async fn share_opened(
        self: &Arc<Self>,
        want: &Want,
        without: &[PartitionKey],
    ) -> (Vec<Arc<Hosted>>, Found) {
        let keys = want.partitions.iter().filter(|key| !without.contains(key));
        let opened = join_all(keys.map(async |key| (*key, self.share_hosted(&want.group, *key).await))).await;
        let (mut hosted, mut found) = (Vec::new(), Vec::new());
        for (key, opened) in opened {
            match opened {
                Ok(one) => hosted.push(one),
                Err(Failure::State(
                    share::Error::NotCoordinator
                    | share::Error::NotAvailable
                    | share::Error::LoadInProgress
                    | share::Error::Uninitialized
                    | share::Error::InvalidRequest,
                )) => {}
                Err(failure) => found.push((key, Err(failure))),
            }
        }
        (hosted, found)
    }
}

/// One look at all partitions.
struct Look<'a> {
    want: &'a Want,
    limits: Limits,
    read_committed: bool,
    deadline: Instant,
}

enum Looked {
    /// What was found, and which partitions end before where their delivery stands.
    Found(Found, Vec<PartitionKey>),
    /// Something has changed, or the time has come.
    Woken,
}

impl Look<'_> {
    async fn once(&self, broker: &Arc<Broker>, hosted: &[Arc<Hosted>]) -> Looked {
        // Listening before looking, so that no change in between is missed.
        let changes: Vec<Pin<Box<Notified<'_>>>> = hosted
            .iter()
            .map(|one| Box::pin(one.changed.notified()))
            .collect();
        let mut until = self.deadline;
        let mut asked: Vec<(&Arc<Hosted>, Offset)> = Vec::new();
        for one in hosted {
            let (from, lock_ends) = self.prepare(broker, one);
            asked.extend(from.map(|from| (one, from)));
            until = lock_ends.map_or(until, |ends| until.min(ends));
        }
        let changed = async {
            match changes.is_empty() {
                true => std::future::pending().await,
                false => drop(select_all(changes).await),
            }
        };
        if asked.is_empty() {
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
            }
            return Looked::Woken;
        }
        let fetch = self.fetch(&asked);
        let parts = tokio::select! {
            biased;
            parts = broker.replicas.fetch(&fetch) => parts,
            () = changed => return Looked::Woken,
            () = sleep_until(until.max(Instant::now() + LOCK_STEP)), if until < self.deadline => return Looked::Woken,
        };
        self.take(broker, &asked, parts)
    }

    /// From where to read next, and when the first lock ends.
    fn prepare(&self, broker: &Arc<Broker>, hosted: &Arc<Hosted>) -> (Option<Offset>, Option<Instant>) {
        let now_ms = broker.shares.clock.now_ms();
        let mut state = hosted.state.lock();
        let released = state.delivery.tick(now_ms, &self.limits);
        let from = match state.is_over {
            true => None,
            false => state.delivery.next_fetch(&self.limits),
        };
        let lock_ends = state.delivery.next_deadline();
        drop(state);
        if released {
            store::pump(broker, hosted);
            hosted.changed.notify_waiters();
        }
        let lock_ends =
            lock_ends.map(|at_ms| Instant::now() + Duration::from_millis(at_ms.saturating_sub(now_ms)));
        (from, lock_ends)
    }

    fn fetch(&self, asked: &[(&Arc<Hosted>, Offset)]) -> Fetch {
        let query = |(hosted, from): &(&Arc<Hosted>, Offset)| {
            let query = Query {
                leader_epoch: hosted.leader_epoch,
                offset: *from,
                last_fetched_epoch: LeaderEpoch::UNKNOWN,
                log_start: Offset(-1),
                bytes_max: self.want.bytes_max,
                high_watermark: Offset(i64::MAX),
                in_place: false,
            };
            (hosted.key, query)
        };
        Fetch {
            reader: Reader::Consumer {
                read_committed: self.read_committed,
            },
            near: None,
            wait_max: self.deadline.saturating_duration_since(Instant::now()),
            bytes_min: 1,
            bytes_max: self.want.bytes_max,
            partitions: asked.iter().map(query).collect(),
        }
    }

    fn take(
        &self,
        broker: &Arc<Broker>,
        asked: &[(&Arc<Hosted>, Offset)],
        parts: Vec<Result<Part, ReadError>>,
    ) -> Looked {
        let mut left = self.want.wanted.records_max;
        let (mut found, mut beyond) = (Vec::new(), Vec::new());
        for ((hosted, from), part) in asked.iter().zip(parts) {
            match part {
                Ok(_) if left <= 0 => {}
                Ok(part) => {
                    if let Some(given) = self.give(broker, hosted, *from, &part, left) {
                        left -= given
                            .acquired
                            .iter()
                            .map(|one| one.last.0 - one.first.0 + 1)
                            .sum::<i64>();
                        found.push((hosted.key, Ok(given)));
                    }
                }
                Err(ReadError::OutOfRange { log_start, .. }) if *from < log_start => {
                    hosted.state.lock().delivery.log_starts(log_start);
                    store::pump(broker, hosted);
                }
                // The log was cut by an unclean election: its end has to come back to where the delivery stands.
                Err(ReadError::OutOfRange { .. }) => beyond.push(hosted.key),
                Err(error) => found.push((hosted.key, Err(error.into()))),
            }
        }
        Looked::Found(found, beyond)
    }

    /// Gives the member records of what was read. `None`: another one was faster, or there were none in it.
    fn give(
        &self,
        broker: &Arc<Broker>,
        hosted: &Arc<Hosted>,
        from: Offset,
        part: &Part,
        left: i64,
    ) -> Option<Given> {
        let batches = batches(part, self.read_committed);
        let reads: Vec<Read> = batches.iter().map(|(read, _)| *read).collect();
        let wanted = Wanted {
            records_max: left,
            ..self.want.wanted
        };
        let now_ms = broker.shares.clock.now_ms();
        let acquired = {
            let mut state = hosted.state.lock();
            if state.is_over {
                return None;
            }
            state.delivery.log_starts(part.log_start);
            let range = (from, part.next_offset);
            state
                .delivery
                .acquire(&self.want.member, now_ms, &self.limits, &wanted, range, &reads)
        };
        store::pump(broker, hosted);
        let is_given = |read: &Read| {
            let overlaps = |one: &Acquired| one.first <= read.last && read.first <= one.last;
            read.is_delivered && acquired.iter().any(overlaps)
        };
        let records = batches.into_iter().filter(|(read, _)| is_given(read));
        let records: Vec<Bytes> = records.map(|(_, bytes)| bytes).collect();
        (!acquired.is_empty()).then_some(Given { records, acquired })
    }
}

/// The batches of what was read, each by itself.
fn batches(part: &Part, read_committed: bool) -> Vec<(Read, Bytes)> {
    let mut found = Vec::new();
    for bytes in &part.records {
        // What lies in a log was checked when it was read.
        for (at, header, batch) in parse_batches(bytes).map_while(Result::ok) {
            let is_aborted = read_committed
                && header.is_transactional()
                && part.aborted.iter().any(|aborted| {
                    aborted.producer_id == header.producer_id
                        && aborted.first_offset <= header.last_offset()
                        && header.base_offset <= aborted.last_offset
                });
            let read = Read {
                first: header.base_offset,
                last: header.last_offset(),
                is_delivered: !header.is_control() && !is_aborted,
            };
            found.push((read, bytes.slice(at..at + batch.len())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Aborted;
    use flotilla_protocol::records::{BatchBuilder, EndTransactionMarker};
    use flotilla_protocol::{ProducerEpoch, ProducerId};

    fn batch(first: i64, producer: Option<i64>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset(first));
        if let Some(id) = producer {
            builder = builder
                .producer(ProducerId(id), ProducerEpoch(0), 0)
                .transactional();
        }
        for _ in 0..2 {
            builder.push(0, None, Some(b"v"), &[]);
        }
        builder.build().to_vec()
    }

    fn marker(at: i64, producer: i64) -> Vec<u8> {
        let marker = EndTransactionMarker {
            committed: false,
            coordinator_epoch: 0,
        };
        let mut batch = marker.batch(ProducerId(producer), ProducerEpoch(0), 0).build();
        flotilla_protocol::records::set_base_offset(&mut batch, Offset(at));
        batch.to_vec()
    }

    #[test]
    fn markers_are_never_delivered_and_what_was_aborted_only_to_those_who_read_all() {
        // 0-1 plain, 2-3 of an aborted transaction with its marker at 4, 5-6 of the next one of the same producer.
        let bytes = [batch(0, None), batch(2, Some(9)), marker(4, 9), batch(5, Some(9))].concat();
        let part = Part {
            high_watermark: Offset(7),
            last_stable_offset: Offset(7),
            log_start: Offset(0),
            diverging: None,
            size_bytes: bytes.len(),
            records: vec![bytes.into()],
            region: None,
            next_offset: Offset(7),
            preferred: None,
            aborted: vec![Aborted {
                producer_id: ProducerId(9),
                first_offset: Offset(2),
                last_offset: Offset(4),
                stable_to: Offset(5),
            }],
        };
        let delivered = |read_committed| -> Vec<(i64, i64)> {
            let found = batches(&part, read_committed).into_iter();
            let delivered = found.filter(|(read, _)| read.is_delivered);
            delivered.map(|(read, _)| (read.first.0, read.last.0)).collect()
        };
        assert_eq!(delivered(false), [(0, 1), (2, 3), (5, 6)]);
        assert_eq!(delivered(true), [(0, 1), (5, 6)]);
    }
}
