//! InitProducerId: a producer takes a transactional id over (KIP-98, KIP-360).

use super::request::{Init, Initialized, Reply};
use super::{NO_EPOCH, Shard};
use crate::group::{Text, Ticket};
use crate::transaction::error::Error;
use crate::transaction::metadata::{ProducerRef, Status, Transaction, is_exhausted};
use flotilla_protocol::ProducerEpoch;

enum Next {
    /// Another incarnation.
    Initialized(Transaction),
    /// The transaction that is open is aborted first; the client asks again.
    Abort(Transaction),
}

impl Shard {
    pub(super) fn init(&mut self, to: Ticket, init: &Init) {
        if let Err(error) = self.begin_init(to, init) {
            self.reply(to, Reply::Init(Err(error)));
        }
    }

    fn begin_init(&mut self, to: Ticket, init: &Init) -> Result<(), Error> {
        if init.timeout_ms <= 0 || init.timeout_ms > self.config.timeout_max_ms {
            return Err(Error::InvalidTimeout);
        }
        self.entry(&init.id, init.fresh)?;
        let transaction = self.settled(&init.id)?;
        match next(transaction, init, self.now_ms as i64)? {
            Next::Initialized(next) => {
                let producer = next.producer();
                let reply = Reply::Init(Ok(Initialized { producer }));
                self.write(&init.id, Some(next), Some((to, reply)));
            }
            Next::Abort(next) => {
                let reply = Reply::Init(Err(Error::Concurrent));
                self.write(&init.id, Some(next), Some((to, reply)));
            }
        }
        Ok(())
    }

    /// Aborts what is open for too long.
    pub(super) fn abort(&mut self, id: &Text) {
        let now_ms = self.now_ms as i64;
        if let Ok(transaction) = self.settled(id)
            && transaction.status == Status::Ongoing
        {
            let next = transaction.fenced(now_ms);
            self.write(id, Some(next), None);
        }
    }
}

fn next(transaction: &Transaction, init: &Init, now_ms: i64) -> Result<Next, Error> {
    if init
        .expected
        .is_some_and(|expected| !may_be(transaction, expected))
    {
        return Err(Error::Fenced);
    }
    match transaction.status {
        Status::PrepareCommit | Status::PrepareAbort => Err(Error::Concurrent),
        // A request that comes late, of an incarnation before, must not abort what was begun since.
        Status::Ongoing
            if init
                .expected
                .is_some_and(|expected| expected != transaction.producer()) =>
        {
            Err(Error::Fenced)
        }
        Status::Ongoing => Ok(Next::Abort(transaction.fenced(now_ms))),
        Status::Empty | Status::CompleteCommit | Status::CompleteAbort => {
            let is_current = init
                .expected
                .is_none_or(|expected| expected.epoch == transaction.epoch);
            if transaction.is_epoch_exhausted() && is_current {
                let keeps = init.expected.is_some();
                let next = transaction.rotated(init.fresh, keeps, init.timeout_ms, now_ms);
                return Ok(Next::Initialized(next));
            }
            let (epoch, last_epoch) = epochs(transaction, init.expected)?;
            let next = transaction.initialized(epoch, last_epoch, init.timeout_ms, now_ms);
            Ok(Next::Initialized(next))
        }
    }
}

/// Whether a producer that goes on may be the one that the id belongs to. Its epoch is looked at later.
fn may_be(transaction: &Transaction, expected: ProducerRef) -> bool {
    transaction.epoch == NO_EPOCH
        || expected.id == transaction.producer_id
        || (expected.id == transaction.previous_producer_id && is_exhausted(expected.epoch))
}

/// The next epoch, and the one before as far as its producer may ask once more.
fn epochs(
    transaction: &Transaction,
    expected: Option<ProducerRef>,
) -> Result<(ProducerEpoch, ProducerEpoch), Error> {
    let now = transaction.epoch;
    let bumped = ProducerEpoch(now.0.saturating_add(1));
    match expected {
        None => Ok((bumped, NO_EPOCH)),
        Some(expected) if now == NO_EPOCH || expected.epoch == now => Ok((bumped, now)),
        // The answer was lost. Nobody else has taken over: that would have forgotten the epoch before.
        Some(expected) if expected.epoch == transaction.last_epoch => Ok((now, transaction.last_epoch)),
        Some(_) => Err(Error::Fenced),
    }
}
