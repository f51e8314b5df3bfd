//! What committed entries do: they are folded into the image, which is put out for the whole broker, and the last of them
//! are kept for those who observe this voter.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use flotilla_control::proto::coordination::Committed;
use flotilla_control::proto::metadata as proto;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageError, StorageIOError,
    StoredMembership,
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

use super::latest::{Indexed, Publisher};
use super::raft_log::Error;
use super::runtime;
use super::snapshot::{self, Snapshots};
use super::voter::{VoterId, VoterNode};
use super::wire::{Entry, Meta, Outcome, TypeConfig};
use crate::metadata::Image;

/// Committed entries kept for observers; one that is further behind gets a snapshot.
const RECENT_MAX: usize = 1_024;
/// Their records take no more than this.
const RECENT_BYTES_MAX: usize = 1 << 20;

type Membership = StoredMembership<VoterId, VoterNode>;

/// What this voter has applied. Clones share it.
#[derive(Clone)]
pub struct StateMachine {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    snapshots: Snapshots,
    publisher: Publisher,
    failure: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct State {
    applied: Option<LogId<VoterId>>,
    membership: Membership,
    image: Arc<Image>,
    recent: VecDeque<(Committed, usize)>,
    recent_bytes: usize,
}

impl State {
    fn indexed(&self) -> Indexed {
        Indexed {
            index: self.applied.map_or(0, |id| id.index),
            image: self.image.clone(),
        }
    }
}

impl StateMachine {
    /// Begins with the newest snapshot. Images go to `publisher`; what a broker must stop for goes to `failure`.
    ///
    /// # Errors
    /// When the snapshot cannot be read.
    pub fn open(
        snapshots: Snapshots,
        publisher: Publisher,
        failure: watch::Sender<Option<String>>,
    ) -> Result<Self, Error> {
        let mut state = State::default();
        if let Some((meta, bytes)) = snapshots.load()? {
            let image = snapshot::decode(bytes).map_err(|what| Error::Damaged {
                file: "snapshot".into(),
                what,
            })?;
            state.image = Arc::new(image);
            state.applied = meta.last_log_id;
            state.membership = meta.last_membership;
        }
        publisher.publish(state.indexed());
        Ok(Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                snapshots,
                publisher,
                failure,
            }),
        })
    }

    /// The image of this voter itself.
    pub fn applied(&self) -> Indexed {
        self.shared.state.lock().indexed()
    }

    /// The last entry applied.
    pub fn applied_id(&self) -> Option<LogId<VoterId>> {
        self.shared.state.lock().applied
    }

    /// The term of the last entry applied.
    pub fn applied_term(&self) -> u64 {
        self.shared.state.lock().applied.map_or(0, |id| id.leader_id.term)
    }

    /// The committed entries after `index`; `None` when some of them are no longer kept.
    pub fn committed_after(&self, index: u64) -> Option<Vec<Committed>> {
        let state = self.shared.state.lock();
        let applied = state.applied?.index;
        if index >= applied {
            return Some(Vec::new());
        }
        let first = state.recent.front()?.0.index;
        (first <= index + 1).then(|| {
            let skip = (index + 1 - first) as usize;
            state
                .recent
                .iter()
                .skip(skip)
                .map(|(committed, _)| committed.clone())
                .collect()
        })
    }

    /// Folds one entry. Nobody may skip what it does not understand: the broker has to stop.
    fn apply_one(state: &mut State, image: &mut Image, entry: Entry) -> Result<Outcome, String> {
        let id = entry.log_id;
        let mut outcome = Outcome { skipped: false };
        let mut committed = Committed {
            index: id.index,
            term: id.leader_id.term,
            records: Vec::new(),
        };
        let mut bytes = 0;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => state.membership = Membership::new(Some(id), membership),
            EntryPayload::Normal(decided) => {
                bytes = decided.0.len();
                let decided = proto::Entry::decode(decided.0).map_err(|error| error.to_string())?;
                outcome.skipped = decided.term != id.leader_id.term;
                if !outcome.skipped {
                    image
                        .fold_all(&decided.records)
                        .map_err(|unknown| unknown.to_string())?;
                    committed.records = decided.records;
                }
            }
        }
        state.applied = Some(id);
        state.recent_bytes += bytes;
        state.recent.push_back((committed, bytes));
        while state.recent.len() > RECENT_MAX || state.recent_bytes > RECENT_BYTES_MAX {
            let Some((_, bytes)) = state.recent.pop_front() else {
                break;
            };
            state.recent_bytes -= bytes;
        }
        Ok(outcome)
    }

    fn build(&self) -> (Meta, Arc<Image>) {
        let state = self.shared.state.lock();
        let snapshot_id = state.applied.map_or_else(
            || "0".to_owned(),
            |id| format!("{}-{}", id.leader_id.term, id.index),
        );
        let meta = Meta {
            last_log_id: state.applied,
            last_membership: state.membership.clone(),
            snapshot_id,
        };
        (meta, state.image.clone())
    }
}

type Stored<T> = Result<T, StorageError<VoterId>>;

fn snapshot_failed(error: impl std::error::Error + 'static) -> StorageError<VoterId> {
    StorageIOError::write_snapshot(None, AnyError::new(&error)).into()
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Stored<(Option<LogId<VoterId>>, Membership)> {
        let state = self.shared.state.lock();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<Outcome>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.shared.state.lock();
        let mut image = Image::clone(&state.image);
        let mut outcomes = Vec::new();
        for entry in entries {
            let id = entry.log_id;
            match Self::apply_one(&mut state, &mut image, entry) {
                Ok(outcome) => outcomes.push(outcome),
                Err(what) => {
                    let message = format!(
                        "metadata entry {} cannot be applied: {what}. Run a version of the broker that knows it",
                        id.index
                    );
                    self.shared.failure.send_replace(Some(message.clone()));
                    return Err(StorageIOError::apply(id, AnyError::error(message)).into());
                }
            }
        }
        state.image = Arc::new(image);
        let indexed = state.indexed();
        drop(state);
        self.shared.publisher.publish(indexed);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Stored<Box<Cursor<Vec<u8>>>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Stored<()> {
        let bytes = Bytes::from(snapshot.into_inner());
        let image = snapshot::decode(bytes.clone()).map_err(|what| {
            let message = format!("a metadata snapshot of another voter cannot be applied: {what}");
            self.shared.failure.send_replace(Some(message.clone()));
            StorageError::from(StorageIOError::read_snapshot(None, AnyError::error(message)))
        })?;
        let (snapshots, kept) = (self.shared.snapshots.clone(), meta.clone());
        runtime::blocking(move || snapshots.save(&kept, &bytes))
            .await
            .map_err(snapshot_failed)?
            .map_err(snapshot_failed)?;
        let mut state = self.shared.state.lock();
        let fresh = State {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
            image: Arc::new(image),
            ..State::default()
        };
        *state = fresh;
        self.shared.publisher.publish(state.indexed());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<TypeConfig>>> {
        let snapshots = self.shared.snapshots.clone();
        let loaded = runtime::blocking(move || snapshots.load())
            .await
            .map_err(snapshot_failed)?;
        let found = loaded.map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)))?;
        Ok(found.map(|(meta, bytes)| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes.into())),
        }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<TypeConfig>> {
        let (meta, image) = self.build();
        let (snapshots, kept) = (self.shared.snapshots.clone(), meta.clone());
        let built = runtime::blocking(move || {
            let bytes = snapshot::encode(&image);
            snapshots.save(&kept, &bytes).map(|()| bytes)
        });
        let bytes = built.await.map_err(snapshot_failed)?.map_err(snapshot_failed)?;
        Ok(Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        })
    }
}

#[cfg(test)]
mod tests {
    use flotilla_control::proto::metadata::{FeatureLevel, Record, record};
    use openraft::CommittedLeaderId;

    use super::*;
    use crate::coordination::wire::Decided;
    use crate::log::RealDisk;

    fn feature(name: &str) -> Record {
        let level = FeatureLevel {
            name: name.to_owned(),
            level: 1,
        };
        Record {
            record: Some(record::Record::FeatureLevel(level)),
        }
    }

    fn entry(log_term: u64, index: u64, decided_in: u64, records: Vec<Record>) -> Entry {
        let log_id = LogId::new(CommittedLeaderId::new(log_term, VoterId::default()), index);
        let decided = proto::Entry {
            term: decided_in,
            records,
        };
        Entry {
            log_id,
            payload: EntryPayload::Normal(Decided(decided.encode_to_vec().into())),
        }
    }

    fn state_machine(dir: &std::path::Path) -> (StateMachine, watch::Receiver<Option<String>>) {
        let (publisher, _) = Publisher::new(Indexed::default());
        let (failure, failed) = watch::channel(None);
        let snapshots = Snapshots::new(Arc::new(RealDisk::new(8)), dir);
        (StateMachine::open(snapshots, publisher, failure).unwrap(), failed)
    }

    fn features(machine: &StateMachine) -> Vec<String> {
        machine
            .applied()
            .image
            .features()
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    #[tokio::test]
    async fn an_entry_decided_in_another_term_is_skipped_by_everyone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut machine, _) = state_machine(dir.path());
        let entries = [
            entry(3, 0, 3, vec![feature("kept")]),
            entry(3, 1, 2, vec![feature("stale")]),
        ];
        let outcomes = machine.apply(entries).await.unwrap();
        assert_eq!(outcomes, [Outcome { skipped: false }, Outcome { skipped: true }]);
        assert_eq!(
            (features(&machine), machine.applied().index),
            (vec!["kept".to_owned()], 1)
        );
        let seen: Vec<usize> = machine
            .committed_after(0)
            .unwrap()
            .iter()
            .map(|committed| committed.records.len())
            .collect();
        assert_eq!(seen, [0], "observers are not told of it either");
    }

    #[tokio::test]
    async fn an_unknown_record_stops_the_broker() {
        let dir = tempfile::tempdir().unwrap();
        let (mut machine, failed) = state_machine(dir.path());
        assert!(
            machine
                .apply([entry(1, 0, 1, vec![Record { record: None }])])
                .await
                .is_err()
        );
        let message = failed.borrow().clone().unwrap();
        assert!(
            message.starts_with("metadata entry 0 cannot be applied"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_snapshot_brings_another_voter_to_the_same_image() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut machine, _) = state_machine(one.path());
        machine
            .apply([entry(1, 0, 1, vec![feature("a"), feature("b")])])
            .await
            .unwrap();
        let snapshot = machine.build_snapshot().await.unwrap();
        let (mut follower, _) = state_machine(other.path());
        follower
            .install_snapshot(&snapshot.meta, snapshot.snapshot)
            .await
            .unwrap();
        assert_eq!(follower.applied().image, machine.applied().image);
        assert_eq!(follower.committed_after(0), Some(Vec::new()));
        let (reopened, _) = state_machine(other.path());
        assert_eq!(features(&reopened), ["a", "b"]);
    }

    #[tokio::test]
    async fn an_observer_that_is_too_far_behind_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let (mut machine, _) = state_machine(dir.path());
        for index in 0..(RECENT_MAX as u64 + 10) {
            machine.apply([entry(1, index, 1, vec![])]).await.unwrap();
        }
        assert_eq!(machine.committed_after(8), None);
        assert_eq!(
            machine.committed_after(9).map(|committed| committed.len()),
            Some(RECENT_MAX)
        );
        assert_eq!(machine.committed_after(u64::MAX), Some(Vec::new()));
    }
}
