//! DescribeTransactions and ListTransactions: they show what is committed (KIP-664).

use super::request::{Described, Filter, Listed};
use super::{NO_EPOCH, Shard};
use crate::group::Text;
use crate::transaction::error::Error;
use crate::transaction::metadata::Status;

impl Shard {
    pub(super) fn describe(&self, id: &Text) -> Result<Described, Error> {
        let entry = self.entries.get(id);
        let entry = entry.filter(|entry| entry.transaction.epoch != NO_EPOCH);
        let transaction = entry.ok_or(Error::NotFound)?.transaction.clone();
        Ok(Described { transaction })
    }

    pub(super) fn list(&self, filter: &Filter) -> Vec<Listed> {
        let now_ms = self.now_ms as i64;
        self.entries
            .iter()
            .filter(|(_, entry)| {
                let it = &entry.transaction;
                let open_for_ms = match it.status {
                    Status::Ongoing | Status::PrepareCommit | Status::PrepareAbort => now_ms - it.start_ms,
                    _ => -1,
                };
                it.epoch != NO_EPOCH
                    && (filter.statuses.is_empty() || filter.statuses.contains(&it.status))
                    && (filter.producer_ids.is_empty() || filter.producer_ids.contains(&it.producer_id))
                    && (filter.open_for_ms < 0 || open_for_ms > filter.open_for_ms)
            })
            .map(|(id, entry)| Listed {
                id: id.clone(),
                producer_id: entry.transaction.producer_id,
                status: entry.transaction.status,
            })
            .collect()
    }
}
