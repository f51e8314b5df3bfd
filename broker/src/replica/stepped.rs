//! The replicas one step at a time, none of which waits: what a simulation calls where a broker runs the loops of
//! [`super::upkeep`]. The steps are those of the loops; only who calls them, and when, differs.
//!
//! They need [`super::Blocking::InPlace`].

use super::error::ReadError;
use super::fetcher::{self, Asked, Collected};
use super::hosted::Hosted;
use super::poll::Fetch;
use super::read::{At, Listed, Part, Reader};
use super::replicas::Replicas;
use super::volume::Volume;
use super::{PartitionKey, alter};
use crate::log::{self, Plan, SyncHandle};
use crate::metadata::Image;
use crate::partition::isr::Proposal;
use bytes::Bytes;
use flotilla_control::proto::metadata::{Request, Response};
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use futures::FutureExt as _;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How much is read at once of a log that is looked through.
const LOOK_BYTES: usize = 1 << 20;

/// One loop: which leader it follows, and which of its loops it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// The leader.
    pub leader: BrokerId,
    /// One of `num.replica.fetchers`.
    pub number: u32,
}

/// A fetch on its way to a leader.
pub struct Asking {
    /// What is asked.
    pub request: FetchRequest,
    asked: Vec<Asked>,
}

/// Why a loop does not ask now.
pub enum Later {
    /// Until something changes.
    Idle,
    /// Until then: milliseconds of this broker's clock.
    Until(i64),
    /// Until what was appended is on the disk.
    Synced(Syncing),
}

/// What has to be synced before a loop may fetch on.
pub struct Syncing {
    waits: Vec<oneshot::Receiver<()>>,
    has_failed: bool,
}

/// What was to be synced will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the volume failed")]
pub struct VolumeFailed;

impl Syncing {
    fn new(waits: Vec<oneshot::Receiver<()>>) -> Self {
        Self {
            waits,
            has_failed: false,
        }
    }

    /// Whether it is: None while it is not.
    ///
    /// # Errors
    /// One of the volumes failed.
    pub fn now(&mut self) -> Option<Result<(), VolumeFailed>> {
        while let Some(receiver) = self.waits.last_mut() {
            self.has_failed |= receiver.now_or_never()?.is_err();
            self.waits.pop();
        }
        Some(if self.has_failed {
            Err(VolumeFailed)
        } else {
            Ok(())
        })
    }
}

/// One group commit under way: what was appended by its beginning.
pub struct Round {
    volume: Arc<Volume>,
    handles: Vec<(Arc<Hosted>, SyncHandle)>,
    done: Vec<oneshot::Sender<()>>,
}

/// Changes of in-sync sets that the controller is asked for.
pub struct Altering {
    /// The request.
    pub request: Request,
    batch: Vec<(PartitionKey, Proposal)>,
}

/// What is stored of a partition, whatever this broker is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where the log starts.
    pub log_start: Offset,
    /// Where it ends.
    pub log_end: Offset,
    /// Up to where it survives a loss of power.
    pub synced_end: Offset,
    /// What is known here as committed.
    pub high_watermark: Offset,
    /// The epoch in which this broker leads, if it does.
    pub leads_in: Option<LeaderEpoch>,
}

impl Replicas {
    /// The loops that there are, in order.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        let lanes = self.inner.fetchers.lanes();
        let lane = |((leader, number), _): ((BrokerId, u32), _)| Lane { leader, number };
        lanes.into_iter().map(lane).collect()
    }

    /// What a loop asks for now, under the registration that `image` shows.
    ///
    /// # Errors
    /// Nothing now, and what it waits for.
    pub fn ask(&self, lane: Lane, image: &Image) -> Result<Asking, Later> {
        let lanes = self.inner.fetchers.lanes();
        let found = lanes
            .iter()
            .find(|(place, _)| *place == (lane.leader, lane.number));
        let (_, of_lane) = found.ok_or(Later::Idle)?;
        let Collected {
            asked,
            wake_ms,
            unsynced,
        } = fetcher::collect(self, of_lane, lane.leader);
        if !unsynced.is_empty() {
            return Err(Later::Synced(Syncing::new(unsynced)));
        }
        let epoch = self.epoch_in(image).filter(|_| !asked.is_empty());
        let epoch = epoch.ok_or(wake_ms.map_or(Later::Idle, Later::Until))?;
        let request = fetcher::request(self, &asked, epoch.0);
        Ok(Asking { request, asked })
    }

    /// Appends what a leader answered.
    pub fn take(&self, asking: Asking, response: FetchResponse) -> Syncing {
        Syncing::new(fetcher::append(self, asking.asked, response))
    }

    /// Reads for a fetch: none where there is too little yet and it is not the `last` look. The `first` one counts a
    /// follower's progress.
    pub fn look_for(&self, fetch: &Fetch, first: bool, last: bool) -> Option<Vec<Result<Part, ReadError>>> {
        self.look(fetch, first, last)
    }

    /// As [`Replicas::list_offset`], of the end of the log as a client may see it.
    ///
    /// # Errors
    /// Not here, not now.
    pub fn latest_offset(
        &self,
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
    ) -> Result<Option<Listed>, ReadError> {
        let reader = Reader::Consumer {
            read_committed: false,
        };
        self.list_offset(key, At::Latest, leader_epoch, Some(reader))
            .now_or_never()
            .expect("where disks are waited for in place, a look does not wait")
    }

    /// Begins a group commit on each volume where something waits for one.
    #[must_use]
    pub fn begin_commits(&self) -> Vec<Round> {
        let mut rounds = Vec::new();
        for volume in self.volumes() {
            let Some(commit) = volume.take_commit() else {
                continue;
            };
            let handles = commit
                .dirty
                .into_iter()
                .filter_map(|hosted| {
                    self.metrics().syncs.add(1);
                    let (handle, _) = hosted.begin_sync()?;
                    Some((hosted, handle))
                })
                .collect();
            rounds.push(Round {
                volume: volume.clone(),
                handles,
                done: commit.done,
            });
        }
        rounds
    }

    /// Syncs, and ends a group commit.
    pub fn end_commit(&self, round: Round) {
        for (hosted, handle) in round.handles {
            // A sync that failed is never tried again: the next may succeed without having written what was lost.
            if round.volume.health() == super::Health::Offline {
                break;
            }
            if let Err(error) = hosted.end_sync(&handle, handle.sync()) {
                round.volume.note(&error);
            }
        }
        round.volume.answer(round.done);
    }

    /// What the controller is to be asked for now. None: nothing, or this broker is not registered.
    ///
    /// # Panics
    /// When the loops run.
    #[must_use]
    pub fn alter(&self, image: &Image) -> Option<Altering> {
        let epoch: BrokerEpoch = self.epoch_in(image)?;
        let mut proposed = self.inner.proposed.lock();
        let proposed = proposed.as_mut().expect("the loops do not run");
        let mut batch = Vec::new();
        while batch.len() < alter::BATCH_MAX
            && let Ok(proposal) = proposed.try_recv()
        {
            batch.push(proposal);
        }
        (!batch.is_empty()).then(|| Altering {
            request: alter::request((self.broker(), epoch), &batch),
            batch,
        })
    }

    /// Takes the controller's answer. None: none came.
    pub fn altered(&self, altering: Altering, response: Option<Response>) {
        let answers = response.and_then(|response| alter::results(response, altering.batch.len()));
        alter::answered(self, altering.batch, answers);
    }

    /// Doubts followers that lag: due every half of `replica.lag.time.max.ms`.
    pub fn tick(&self) {
        self.all().iter().for_each(|hosted| hosted.tick());
    }

    /// Lets go of what is too old or too much: due every `log.retention.check.interval.ms`.
    pub fn retain(&self) {
        self.all().iter().for_each(|hosted| hosted.retain());
    }

    /// Looks how full volumes are, and creates what could not be created: due every second.
    pub fn look_around(&self) {
        self.look_after_volumes();
    }

    /// Writes high watermarks, recovery points and log starts down.
    pub fn write_checkpoints(&self) {
        self.write_high_watermarks();
        self.write_recovery_points();
        self.write_log_starts();
    }

    /// Ends in order: see [`super::Running::stop`].
    pub fn close_all(&self) {
        for round in self.begin_commits() {
            self.end_commit(round);
        }
        self.close();
    }

    /// Lets everything go at once, as the end of the process does: nothing more is written, and the volumes are free.
    pub fn abandon(&self) {
        for hosted in self.all() {
            hosted.leave();
        }
        for volume in self.volumes() {
            volume.take_commit();
        }
    }

    /// What is stored of a partition. None: nothing, or the volume is offline.
    #[must_use]
    pub fn stored(&self, key: PartitionKey) -> Option<Stored> {
        let hosted = self.hosted(key)?;
        let state = hosted.lock().ok()?;
        let leads_in = match &state.role {
            super::hosted::Role::Leader(leader) => Some(leader.epoch()),
            _ => None,
        };
        Some(Stored {
            log_start: state.log.log_start(),
            log_end: state.log.log_end(),
            synced_end: state.log.synced_end(),
            high_watermark: state.high_watermark,
            leads_in,
        })
    }

    /// The whole batches of a log from `from` to `upto`, whatever this broker is to the partition. The first may begin
    /// before.
    ///
    /// # Errors
    /// Those of the log.
    pub fn batches(&self, key: PartitionKey, from: Offset, upto: Offset) -> Result<Vec<Bytes>, log::Error> {
        let Some(hosted) = self.hosted(key) else {
            return Ok(Vec::new());
        };
        let Ok(state) = hosted.lock() else {
            return Ok(Vec::new());
        };
        let mut batches = Vec::new();
        let mut next = from;
        while next < upto {
            let read = match state.log.plan_read(next, LOOK_BYTES, upto, true)? {
                Plan::Hot(read) => read,
                Plan::Cold(cold) => cold.run()?,
            };
            if read.batches.is_empty() {
                break;
            }
            next = read.next_offset;
            batches.extend(read.batches);
        }
        Ok(batches)
    }
}
