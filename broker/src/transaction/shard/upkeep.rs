//! What time brings: answers that are late, transactions that are open for too long, ids that nobody uses.

use super::{Effect, Shard, WRITES_PENDING_MAX};
use crate::group::{Text, WriteError};
use crate::transaction::metadata::Status;

impl Shard {
    /// Does what is due.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Effect> {
        self.now_ms = now_ms;
        self.tell_late();
        while let Some((at_ms, _)) = self.retries.first()
            && *at_ms <= now_ms
        {
            if let Some((_, id)) = self.retries.pop_first() {
                self.complete(&id);
            }
        }
        if now_ms >= self.next_abort_ms {
            self.next_abort_ms = now_ms + self.config.abort_interval_ms.max(1);
            self.abort_overdue();
        }
        if now_ms >= self.next_expiry_ms {
            self.next_expiry_ms = now_ms + self.config.expiry_interval_ms.max(1);
            self.expire();
        }
        std::mem::take(&mut self.effects)
    }

    /// Those who wait for a write are told that it is late. Its record is in the log and may still be committed: until
    /// that is known, the id takes no other request.
    fn tell_late(&mut self) {
        let late: Vec<_> = self
            .writes
            .iter_mut()
            .filter(|write| write.deadline_ms <= self.now_ms)
            .filter_map(|write| write.reply.take())
            .collect();
        for (to, reply) in late {
            self.reply(to, reply.failed(WriteError::NotReplicated.into()));
        }
    }

    fn abort_overdue(&mut self) {
        let now_ms = self.now_ms as i64;
        let overdue = self.entries.iter().filter(|(_, entry)| {
            let it = &entry.transaction;
            let open_for_ms = now_ms.saturating_sub(it.start_ms);
            entry.pending.is_none() && it.status == Status::Ongoing && open_for_ms > i64::from(it.timeout_ms)
        });
        let ids: Vec<Text> = overdue.map(|(id, _)| id.clone()).collect();
        for id in ids {
            if self.writes.len() < WRITES_PENDING_MAX {
                self.abort(&id);
            }
        }
    }

    fn expire(&mut self) {
        let before_ms = (self.now_ms as i64).saturating_sub(self.config.id_expiration_ms);
        let idle = self.entries.iter().filter(|(_, entry)| {
            let it = &entry.transaction;
            let is_over = matches!(
                it.status,
                Status::Empty | Status::CompleteCommit | Status::CompleteAbort
            );
            entry.pending.is_none() && is_over && it.update_ms <= before_ms
        });
        let ids: Vec<Text> = idle.map(|(id, _)| id.clone()).collect();
        for id in ids {
            // The rest waits for the next round.
            if self.writes.len() < WRITES_PENDING_MAX {
                self.write(&id, None, None);
            }
        }
    }
}
