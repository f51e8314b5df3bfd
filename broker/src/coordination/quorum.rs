//! The seam between the controller and the quorum: propose, committed, leadership changed. One side is Raft, the other
//! an in-memory quorum of one, for simulation and for tests.

use std::sync::Arc;

use flotilla_control::proto::metadata::Entry;
use flotilla_protocol::BrokerId;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::latest::{Indexed, Publisher};
use crate::metadata::{Image, UnknownRecord};

/// Who leads, as this member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The newest term that it knows of.
    pub term: u64,
    /// The leader, if it knows one.
    pub leader: Option<BrokerId>,
    /// Whether that is itself.
    pub leading: bool,
}

/// An entry that is committed and applied here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it stands in the log.
    pub index: u64,
    /// Whether everyone skips it, because it was decided in another term than it was appended in.
    pub skipped: bool,
}

/// Leadership was lost before the entry was known to be committed. It may be committed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this member of the quorum no longer leads")]
pub struct LeadershipLost;

/// The quorum, as its controller sees it.
pub trait Quorum: Send + Sync + 'static {
    /// Appends an entry, after all that were proposed before it. The answer comes when it is committed and applied here.
    fn propose(&self, entry: Entry) -> BoxFuture<'static, Result<Applied, LeadershipLost>>;

    /// Follows who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// What this member has applied.
    fn applied(&self) -> Indexed;

    /// The brokers that vote.
    fn voters(&self) -> Vec<BrokerId>;

    /// Whether a majority has followed this leader of `term` just now. A leader that is cut off must not go on saying who is
    /// alive.
    fn has_majority(&self, term: u64) -> bool;

    /// Whether nobody but this leader of `term` can lead at this moment, so that it has applied, or has in flight, all that
    /// anybody was ever told. It may answer from what it knows then, without asking a majority.
    fn has_lease(&self, term: u64) -> bool;
}

/// A quorum of one that keeps everything in memory and commits at once. Its leadership can be taken away and given.
#[derive(Debug)]
pub struct Solo {
    state: Mutex<SoloState>,
    leadership: watch::Sender<Leadership>,
    publisher: Publisher,
    broker: BrokerId,
}

#[derive(Debug, Default)]
struct SoloState {
    applied: Indexed,
    held: Option<Vec<HeldEntry>>,
}

#[derive(Debug)]
struct HeldEntry {
    entry: Entry,
    answer: tokio::sync::oneshot::Sender<Result<Applied, LeadershipLost>>,
}

impl Solo {
    /// Leads from term 1 on. Images go to `publisher`.
    #[must_use]
    pub fn new(broker: BrokerId, first: Image, publisher: Publisher) -> Self {
        let (leadership, _) = watch::channel(Leadership {
            term: 1,
            leader: Some(broker),
            leading: true,
        });
        let applied = Indexed {
            index: 0,
            image: Arc::new(first),
        };
        let state = Mutex::new(SoloState { applied, held: None });
        Self {
            state,
            leadership,
            publisher,
            broker,
        }
    }

    /// From now on entries wait, as with a majority that does not answer.
    pub fn hold(&self) {
        self.state.lock().held.get_or_insert_default();
    }

    /// Commits what waited, and what comes, at once.
    ///
    /// # Errors
    /// When a record is not understood.
    pub fn release(&self) -> Result<(), UnknownRecord> {
        let mut state = self.state.lock();
        for held in state.held.take().unwrap_or_default() {
            let applied = self.commit(&mut state, &held.entry)?;
            let _ = held.answer.send(Ok(applied));
        }
        Ok(())
    }

    /// Another one leads: what waited is lost.
    pub fn depose(&self, leader: Option<BrokerId>) {
        self.state.lock().held = None;
        self.leadership.send_modify(|leadership| {
            leadership.term += 1;
            leadership.leader = leader;
            leadership.leading = false;
        });
    }

    /// Leads again, in a new term.
    pub fn elect(&self) {
        self.leadership.send_modify(|leadership| {
            leadership.term += 1;
            leadership.leader = Some(self.broker);
            leadership.leading = true;
        });
    }

    fn commit(&self, state: &mut SoloState, entry: &Entry) -> Result<Applied, UnknownRecord> {
        let skipped = entry.term != self.leadership.borrow().term;
        let index = state.applied.index + 1;
        let mut image = Image::clone(&state.applied.image);
        if !skipped {
            image.fold_all(&entry.records)?;
        }
        state.applied = Indexed {
            index,
            image: Arc::new(image),
        };
        self.publisher.publish(state.applied.clone());
        Ok(Applied { index, skipped })
    }
}

impl Quorum for Solo {
    fn propose(&self, entry: Entry) -> BoxFuture<'static, Result<Applied, LeadershipLost>> {
        let mut state = self.state.lock();
        if !self.leadership.borrow().leading {
            return Box::pin(async { Err(LeadershipLost) });
        }
        if let Some(held) = &mut state.held {
            let (answer, received) = tokio::sync::oneshot::channel();
            held.push(HeldEntry { entry, answer });
            return Box::pin(async { received.await.unwrap_or(Err(LeadershipLost)) });
        }
        let applied = self.commit(&mut state, &entry).map_err(|unknown| {
            tracing::error!(%unknown, "the controller decided a record that it does not understand");
            LeadershipLost
        });
        Box::pin(async move { applied })
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn applied(&self) -> Indexed {
        self.state.lock().applied.clone()
    }

    fn has_majority(&self, term: u64) -> bool {
        let leadership = self.leadership.borrow();
        leadership.leading && leadership.term == term
    }

    fn has_lease(&self, term: u64) -> bool {
        self.has_majority(term) && self.state.lock().held.is_none()
    }

    fn voters(&self) -> Vec<BrokerId> {
        vec![self.broker]
    }
}
