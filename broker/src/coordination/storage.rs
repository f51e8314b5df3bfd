//! Raft's storage, as openraft asks for it, over our log.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};

use super::raft_log::{REPLICATION_BYTES_MAX, RaftLog};
use super::runtime;
use super::snapshot::Snapshots;
use super::voter::VoterId;
use super::wire::{Entry, TypeConfig};

/// Raft's log and vote. Clones share the log.
#[derive(Clone, Debug)]
pub struct LogStore {
    log: Arc<RaftLog>,
    snapshots: Snapshots,
}

impl LogStore {
    /// Over a log that is open, and the snapshots beside it.
    pub fn new(log: Arc<RaftLog>, snapshots: Snapshots) -> Self {
        Self { log, snapshots }
    }

    /// Runs what waits for the disk where waiting does no harm.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RaftLog) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let log = self.log.clone();
        runtime::blocking(move || work(&log)).await?
    }
}

type Result<T> = std::result::Result<T, StorageError<VoterId>>;

fn reading(error: io::Error) -> StorageError<VoterId> {
    StorageIOError::read_logs(AnyError::new(&error)).into()
}

fn writing(error: io::Error) -> StorageError<VoterId> {
    StorageIOError::write_logs(AnyError::new(&error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>> {
        self.log.read(range, usize::MAX).map_err(reading)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>> {
        self.log.read(start..end, REPLICATION_BYTES_MAX).map_err(reading)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>> {
        let (last_purged_log_id, last_log_id) = self.log.ends();
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<VoterId>) -> Result<()> {
        let vote = *vote;
        let saved = self.blocking(move |log| log.save_vote(vote)).await;
        saved.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<VoterId>>> {
        Ok(self.log.vote())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let synced = self.blocking(move |log| log.append(entries)?.sync()).await;
        callback.log_io_completed(synced);
        Ok(())
    }

    async fn truncate(&mut self, id: LogId<VoterId>) -> Result<()> {
        self.blocking(move |log| log.truncate(id.index))
            .await
            .map_err(writing)
    }

    async fn purge(&mut self, id: LogId<VoterId>) -> Result<()> {
        // A snapshot of another voter is kept by another task, and openraft does not wait for it: a log that begins behind
        // what no snapshot holds would pass, after a crash, for one that has it all.
        self.snapshots.hold(id.index).await.map_err(writing)?;
        self.blocking(move |log| log.purge(id)).await.map_err(writing)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use flotilla_protocol::{BrokerId, Uuid};
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::coordination::snapshot::encode;
    use crate::coordination::wire::Meta;
    use crate::log::SimDisk;
    use crate::metadata::Image;

    fn id(index: u64) -> LogId<VoterId> {
        let voter = VoterId::new(BrokerId(1), Uuid([1; 16]));
        LogId::new(CommittedLeaderId::new(1, voter), index)
    }

    fn meta(index: u64) -> Meta {
        Meta {
            last_log_id: Some(id(index)),
            ..Meta::default()
        }
    }

    #[tokio::test]
    async fn log_is_purged_only_of_what_a_snapshot_holds_on_disk() {
        let (disk, dir) = (Arc::new(SimDisk::new()), Path::new("/metadata"));
        let log = Arc::new(RaftLog::open(disk.clone(), dir).unwrap());
        let entries = (0..6).map(|index| Entry {
            log_id: id(index),
            payload: EntryPayload::Blank,
        });
        log.append(entries.collect()).unwrap().sync().unwrap();
        let snapshots = Snapshots::new(disk.clone(), dir);
        let mut store = LogStore::new(log.clone(), snapshots.clone());
        let purging = tokio::spawn(async move { store.purge(id(4)).await });
        snapshots.save(&meta(3), &encode(&Image::default())).unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!purging.is_finished());
        assert_eq!(log.ends().0, None);
        snapshots.save(&meta(4), &encode(&Image::default())).unwrap();
        purging.await.unwrap().unwrap();
        assert_eq!(log.ends(), (Some(id(4)), Some(id(5))));

        disk.fail_syncs_of(".new");
        let mut store = LogStore::new(log.clone(), snapshots.clone());
        let purging = tokio::spawn(async move { store.purge(id(5)).await });
        assert!(snapshots.save(&meta(5), &encode(&Image::default())).is_err());
        assert!(
            purging.await.unwrap().is_err(),
            "what cannot be kept is not waited for"
        );
        assert_eq!(log.ends().0, Some(id(4)));
    }
}
