//! EndTxn, and what follows when all markers are written.

use super::Shard;
use super::request::{End, Ended, Marked, Reply};
use crate::group::Ticket;
use crate::transaction::error::Error;
use crate::transaction::metadata::{Status, Transaction};

enum Next {
    /// It has ended so already.
    Ended,
    /// It is decided.
    Decided(Transaction),
}

impl Shard {
    pub(super) fn end(&mut self, to: Ticket, end: &End) {
        let next = self.settled(&end.id).and_then(|transaction| {
            let next = if end.version.bumps() {
                end_bumped(transaction, end, self.now_ms as i64)
            } else {
                end_plain(transaction, end, self.now_ms as i64)
            };
            next.map(|next| (next, transaction.producer()))
        });
        match next {
            Err(error) => self.reply(to, Reply::End(Err(error))),
            Ok((Next::Ended, producer)) => self.reply(to, Reply::End(Ok(Ended { producer }))),
            Ok((Next::Decided(next), _)) => {
                let producer = next.after();
                let reply = Reply::End(Ok(Ended { producer }));
                self.write(&end.id, Some(next), Some((to, reply)));
            }
        }
    }

    pub(super) fn marked(&mut self, marked: &Marked) -> Result<(), Error> {
        if marked.coordinator_epoch != self.coordinator_epoch {
            return Err(Error::NotCoordinator);
        }
        let transaction = self.settled(&marked.id)?;
        if !transaction.status.is_prepared() || transaction.producer() != marked.producer {
            return Err(Error::InvalidState);
        }
        self.complete(&marked.id);
        Ok(())
    }
}

/// The epoch stays: a repeated request cannot be told from the next one, except by the state.
fn end_plain(transaction: &Transaction, end: &End, now_ms: i64) -> Result<Next, Error> {
    if transaction.producer_id != end.producer.id {
        return Err(Error::ProducerIdMapping);
    }
    if transaction.epoch != end.producer.epoch {
        return Err(Error::Fenced);
    }
    match (transaction.status, end.committed) {
        (Status::Ongoing, _) => {
            let next = transaction.decided(end.committed, end.version, None, now_ms);
            Ok(Next::Decided(next))
        }
        (Status::CompleteCommit, true) | (Status::CompleteAbort, false) => Ok(Next::Ended),
        (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => Err(Error::Concurrent),
        _ => Err(Error::InvalidState),
    }
}

/// Each end raises the epoch: with the epoch before, it is a repeated request, and with the current one the next.
fn end_bumped(transaction: &Transaction, end: &End, now_ms: i64) -> Result<Next, Error> {
    let is_repeated = is_repeated(transaction, end);
    let is_overflow = is_repeated && transaction.producer_id != end.producer.id;
    if transaction.producer_id != end.producer.id && !is_overflow {
        return Err(Error::ProducerIdMapping);
    }
    let is_current = end.producer.epoch == transaction.epoch && !is_overflow;
    let is_valid = match transaction.status {
        Status::Empty | Status::Ongoing => is_current,
        Status::PrepareCommit | Status::PrepareAbort => is_repeated,
        Status::CompleteCommit | Status::CompleteAbort => is_repeated || is_current,
    };
    if !is_valid {
        return Err(Error::Fenced);
    }
    let decided = || transaction.decided(end.committed, end.version, end.fresh, now_ms);
    match (transaction.status, end.committed) {
        (Status::Ongoing, _) => Ok(Next::Decided(decided())),
        (Status::PrepareCommit, true) | (Status::PrepareAbort, false) => Err(Error::Concurrent),
        (Status::CompleteCommit, true) | (Status::CompleteAbort, false) if is_repeated => Ok(Next::Ended),
        // An abort of nothing: the producer wants to be sure that what it sent and did not hear of is over.
        (Status::Empty | Status::CompleteCommit | Status::CompleteAbort, false) if !is_repeated => {
            Ok(Next::Decided(decided()))
        }
        _ => Err(Error::InvalidState),
    }
}

fn is_repeated(transaction: &Transaction, end: &End) -> bool {
    let epoch = end.producer.epoch;
    if transaction.producer_id == end.producer.id {
        transaction.last_epoch == epoch && transaction.epoch.0 == epoch.0.saturating_add(1)
    } else {
        transaction.previous_producer_id == end.producer.id
            && epoch.0 == i16::MAX - 1
            && transaction.epoch.0 == 0
    }
}
