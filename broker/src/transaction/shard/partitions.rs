//! AddPartitionsToTxn: what belongs to a transaction.

use super::Shard;
use super::request::{Add, Reply};
use crate::group::Ticket;
use crate::transaction::error::Error;
use crate::transaction::metadata::{Status, Transaction};

impl Shard {
    pub(super) fn add(&mut self, to: Ticket, add: &Add) {
        let next = match self.extended(add) {
            Ok(Some(next)) => next,
            Ok(None) => return self.reply(to, Reply::Add(Ok(()))),
            Err(error) => return self.reply(to, Reply::Add(Err(error))),
        };
        self.write(&add.id, Some(next), Some((to, Reply::Add(Ok(())))));
    }

    /// None: nothing is new.
    fn extended(&self, add: &Add) -> Result<Option<Transaction>, Error> {
        let transaction = self.open_to(add)?;
        let is_known = transaction.status == Status::Ongoing
            && add
                .partitions
                .iter()
                .all(|partition| transaction.partitions.contains(partition));
        Ok((!is_known).then(|| transaction.extended(&add.partitions, add.version, self.now_ms as i64)))
    }

    pub(super) fn verify(&self, add: &Add) -> Result<Vec<Result<(), Error>>, Error> {
        let transaction = self.open_to(add)?;
        let results = add.partitions.iter().map(|partition| {
            let belongs = transaction.status == Status::Ongoing && transaction.partitions.contains(partition);
            if belongs { Ok(()) } else { Err(Error::Abortable) }
        });
        Ok(results.collect())
    }

    fn open_to(&self, add: &Add) -> Result<&Transaction, Error> {
        let transaction = self.settled(&add.id)?;
        if transaction.producer_id != add.producer.id {
            Err(Error::ProducerIdMapping)
        } else if transaction.epoch != add.producer.epoch {
            Err(Error::Fenced)
        } else if transaction.status.is_prepared() {
            Err(Error::Concurrent)
        } else {
            Ok(transaction)
        }
    }
}
