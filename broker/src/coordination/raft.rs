//! This broker's member of the Raft quorum: how it starts, and the quorum that the controller sees in it. Every broker has
//! one. Where it is no voter it stays empty and silent, until the leader takes it in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flotilla_control::proto::metadata::Entry;
use flotilla_protocol::{BrokerId, Uuid};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use openraft::error::{Fatal, InitializeError, RaftError};
use openraft::raft::{VoteRequest, VoteResponse};
use openraft::{ChangeMembers, LogId, Raft, RaftMetrics, ServerState, SnapshotPolicy, Vote};
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::carrier::Carrier;
use super::following::Following;
use super::latest::{Indexed, Publisher};
use super::network::Network;
use super::parting::Parting;
use super::quorum::{Applied, Leadership, LeadershipLost, Quorum};
use super::raft_log::{self, RaftLog};
use super::runtime;
use super::snapshot::Snapshots;
use super::state_machine::StateMachine;
use super::storage::LogStore;
use super::vigil::{self, Vigil};
use super::voter::{VoterId, VoterNode};
use super::wire::{Decided, TypeConfig};
use crate::log::Disk;

/// A leader says at least this often that it lives. openraft looks at its clock every 1.5 of these.
const HEARTBEAT_MS: u64 = 80;
/// A follower waits this long beyond the lease of the leader (which is the longer time) before it stands for election: 600
/// to 800 ms in all. A busy machine seldom reaches that by accident, and clients wait no longer than they must.
const ELECTION_MS: (u64, u64) = (200, 400);
/// A snapshot is taken after so many entries.
const SNAPSHOT_ENTRIES: u64 = 2_000;
/// Or when the log has grown to so many bytes.
const SNAPSHOT_LOG_BYTES: u64 = 16 << 20;
/// Entries kept behind a snapshot, for followers that are a little behind.
const KEPT_ENTRIES: u64 = 500;
/// Sending one part of a snapshot, and installing the whole.
const SNAPSHOT_TIMEOUT_MS: u64 = 5_000;
/// One part of a snapshot.
const SNAPSHOT_PART_BYTES: u64 = 1 << 20;
/// So long after it was sent what a majority has taken, a leader knows that nobody else leads: none of them votes for
/// another before the lease is over, which is `ELECTION_MS.1` from when it took that. A quarter is left for clocks that do not agree.
const LEASE: Duration = Duration::from_millis(ELECTION_MS.1 * 3 / 4);
/// A leader that a majority has not answered for so long no longer speaks for the quorum.
const MAJORITY_SILENT: Duration = Duration::from_millis(1_000);

/// A change of the voters that stands half done for so long was left behind, by a leader that is gone or by a caller.
const CHANGE_ABANDONED: Duration = Duration::from_secs(3);

/// Why a member of the quorum cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its log or snapshot cannot be used.
    #[error(transparent)]
    Storage(#[from] raft_log::Error),
    /// Raft does not start on what is stored.
    #[error("the metadata quorum does not start: {0}")]
    Raft(String),
}

/// What a member is started with.
pub struct Options<'a> {
    /// Who it is.
    pub id: VoterId,
    /// Where its log and snapshots are.
    pub dir: &'a Path,
    /// What holds that directory.
    pub disk: Arc<dyn Disk>,
    /// Where its images go.
    pub publisher: Publisher,
    /// What the broker must stop for.
    pub failure: watch::Sender<Option<String>>,
    /// Kafka's id of the cluster.
    pub cluster_id: Uuid,
    /// Reaches the other brokers.
    pub carrier: Arc<dyn Carrier>,
}

/// A member of the quorum. Clones are the same member.
#[derive(Clone)]
pub struct Member {
    id: VoterId,
    raft: Raft<TypeConfig>,
    log: Arc<RaftLog>,
    state_machine: StateMachine,
    following: Arc<Following>,
    vigil: Arc<Vigil>,
    leadership: watch::Receiver<Leadership>,
    voters: watch::Receiver<Voters>,
}

/// Who votes, and where each is reached.
pub type Voters = BTreeMap<VoterId, VoterNode>;

type Metrics = RaftMetrics<VoterId, VoterNode>;
type Membership = openraft::Membership<VoterId, VoterNode>;

impl Member {
    /// Opens what is stored and starts.
    ///
    /// # Errors
    /// When what is stored cannot be used.
    pub async fn start(options: Options<'_>) -> Result<Self, Error> {
        let Options {
            id,
            dir,
            disk,
            publisher,
            failure,
            cluster_id,
            carrier,
        } = options;
        let log = Arc::new(RaftLog::open(disk.clone(), dir)?);
        let snapshots = Snapshots::new(disk, dir);
        let state_machine = StateMachine::open(snapshots.clone(), publisher, failure.clone())?;
        check_whole(dir, &log, &state_machine)?;
        let config = openraft::Config {
            cluster_name: cluster_id.to_string(),
            heartbeat_interval: HEARTBEAT_MS,
            election_timeout_min: ELECTION_MS.0,
            election_timeout_max: ELECTION_MS.1,
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
            snapshot_max_chunk_size: SNAPSHOT_PART_BYTES,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
            replication_lag_threshold: SNAPSHOT_ENTRIES + KEPT_ENTRIES,
            max_in_snapshot_log_to_keep: KEPT_ENTRIES,
            ..openraft::Config::default()
        };
        let config = Arc::new(
            config
                .validate()
                .map_err(|error| Error::Raft(error.to_string()))?,
        );
        let following = Arc::new(Following::default());
        let network = Network::new(cluster_id, carrier, following.clone());
        let store = LogStore::new(log.clone(), snapshots);
        let raft = Raft::new(id, config, network, store, state_machine.clone())
            .await
            .map_err(|error| Error::Raft(error.to_string()))?;
        let (leadership_sender, leadership) = watch::channel(leadership_of(&raft.metrics().borrow()));
        let (voters_sender, voters) = watch::channel(voters_of(&raft.metrics().borrow()));
        let member = Self {
            id,
            raft,
            log,
            state_machine,
            following,
            vigil: Arc::new(Vigil::new(Instant::now())),
            leadership,
            voters,
        };
        runtime::spawn(member.clone().follow(leadership_sender, voters_sender, failure));
        runtime::spawn(member.clone().keep_watch());
        Ok(member)
    }

    /// Founds the quorum with its first voters, unless this member already knows one. All first voters may do so: they
    /// write the same first entry.
    ///
    /// # Errors
    /// When Raft refuses, or has stopped.
    pub async fn found(&self, voters: BTreeMap<VoterId, VoterNode>) -> Result<(), Error> {
        if !self.log.is_new() {
            return Ok(());
        }
        match self.raft.initialize(voters).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(Error::Raft(error.to_string())),
        }
    }

    /// Who it is.
    pub fn id(&self) -> VoterId {
        self.id
    }

    /// Raft itself.
    pub fn raft(&self) -> &Raft<TypeConfig> {
        &self.raft
    }

    /// What it has applied.
    pub fn state_machine(&self) -> &StateMachine {
        &self.state_machine
    }

    /// Raft's own figures, as they are now.
    pub fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow().clone()
    }

    /// Whether it takes part in the quorum, as a voter or on its way to become one.
    pub fn takes_part(&self) -> bool {
        takes_part(&self.raft.metrics().borrow(), self.id)
    }

    /// The voters, as this member knows them.
    pub fn voters(&self) -> BTreeSet<VoterId> {
        self.raft
            .metrics()
            .borrow()
            .membership_config
            .membership()
            .voter_ids()
            .collect()
    }

    /// Follows who votes, as this member knows it.
    pub fn electorate(&self) -> watch::Receiver<Voters> {
        self.voters.clone()
    }

    /// Whether this member leads in `term`, and a majority took something from it that was sent no longer ago than this.
    fn followed_within(&self, term: u64, limit: Duration) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leads = metrics.state == ServerState::Leader && metrics.current_term == term;
        let (membership, now) = (metrics.membership_config.membership(), Instant::now());
        let since = self.following.since(self.id, term, membership, now);
        leads && since.is_some_and(|since| now.saturating_duration_since(since) < limit)
    }

    /// Answers a candidate.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn vote(
        &self,
        asked: VoteRequest<VoterId>,
    ) -> Result<VoteResponse<VoterId>, RaftError<VoterId>> {
        if self.voters().contains(&self.id) {
            return self.raft.vote(asked).await;
        }
        let weighed = match self.parting().await? {
            Some(parting) => parting.weighed(asked),
            None => asked,
        };
        self.raft.vote(weighed).await
    }

    /// Whether this member left the quorum by an entry that may not be committed. Raft's task looks, between two of the things
    /// that it does: what it takes into its log afterwards makes it refuse who was weighed by what it had before.
    async fn parting(&self) -> Result<Option<Parting>, Fatal<VoterId>> {
        let (id, log) = (self.id, self.log.clone());
        let look = self.raft.with_raft_state(move |state| {
            let (committed, newest) = (
                state.membership_state.committed(),
                state.membership_state.effective(),
            );
            let votes = |voters: &Membership| voters.voter_ids().any(|voter| voter == id);
            if votes(newest.membership()) || !votes(committed.membership()) {
                return None;
            }
            let left = (*newest.log_id())?;
            Some(Parting {
                before: log.id_at(left.index.checked_sub(1)?)?,
                last: log.ends().1?,
            })
        });
        look.await
    }

    /// Something has arrived from a leader with this vote. One that was replaced is of no account.
    pub fn hears(&self, leader: &Vote<VoterId>) {
        if *leader >= self.raft.metrics().borrow().vote {
            self.vigil.heard(Instant::now());
        }
    }

    /// Whether this member leads, or has heard of a leader this lately. That openraft names one says less: a member that was
    /// taken out of the quorum and did not hear of that names its last one for ever.
    pub fn is_led(&self, limit: Duration) -> bool {
        let leads = self.raft.metrics().borrow().state == ServerState::Leader;
        leads || self.vigil.last_heard().elapsed() < limit
    }

    /// Lets this member stand for election only while it misses the leader for good reason. When exactly, and how long a
    /// candidate waits for the next attempt, stays with openraft. A voter alone needs no leader to fall silent.
    async fn keep_watch(self) {
        let mut metrics = self.raft.metrics();
        let mut half_done_since = None;
        let mut looks = interval(vigil::LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if only_observes(&metrics.borrow(), self.id) && !self.rest_until_it_takes_part(&mut metrics).await
            {
                return;
            }
            tokio::select! {
                biased;
                ended = metrics.wait_for(|now| now.running_state.is_err()) => {
                    drop(ended);
                    return;
                }
                _ = looks.tick() => {}
            }
            let is_silent = self.vigil.is_silent(Duration::from_millis(ELECTION_MS.1));
            let may_stand = is_silent || self.voters().len() <= 1;
            self.raft.runtime_config().elect(may_stand);
            if !self.leads_with_two_sets_of_voters() {
                half_done_since = None;
            } else if half_done_since.get_or_insert_with(Instant::now).elapsed() >= CHANGE_ABANDONED {
                half_done_since = None;
                runtime::spawn(self.clone().finish_change());
            }
        }
    }

    /// Who only observes neither stands for election nor leads: it needs no clock, which would wake each of a hundred brokers tens of times a
    /// second. Whether it goes on.
    async fn rest_until_it_takes_part(&self, metrics: &mut watch::Receiver<Metrics>) -> bool {
        self.raft.runtime_config().elect(false);
        self.raft.runtime_config().tick(false);
        let woken = metrics.wait_for(|now| now.running_state.is_err() || takes_part(now, self.id));
        let goes_on = woken.await.is_ok_and(|now| now.running_state.is_ok());
        self.raft.runtime_config().tick(true);
        goes_on
    }

    /// A change of the voters goes through two sets of them, of which both must agree to everything: where it stops there,
    /// the quorum lives with less than either of them would.
    fn leads_with_two_sets_of_voters(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let sets = metrics.membership_config.membership().get_joint_config().len();
        metrics.state == ServerState::Leader && sets > 1
    }

    /// Goes on from two sets of voters to the newer one.
    async fn finish_change(self) {
        let nobody_more = ChangeMembers::AddVoterIds(BTreeSet::new());
        match self.raft.change_membership(nobody_more, false).await {
            Ok(_) => tracing::info!("finished a change of the quorum that was left half done"),
            Err(error) => {
                tracing::debug!(%error, "a change of the quorum that is half done cannot be finished yet")
            }
        }
    }

    /// Stops taking part. What is synced stays.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the metadata quorum's task did not stop in order");
        }
    }

    /// Turns Raft's figures into leadership, takes snapshots of a log of many bytes, and reports when Raft has failed.
    async fn follow(
        self,
        leadership: watch::Sender<Leadership>,
        voters: watch::Sender<Voters>,
        failure: watch::Sender<Option<String>>,
    ) {
        let mut metrics = self.raft.metrics();
        loop {
            let now = metrics.borrow_and_update().clone();
            if now.running_state.is_err() {
                return report(&failure, why_ended(&now));
            }
            leadership.send_if_modified(|known| {
                let current = leadership_of(&now);
                let changed = *known != current;
                *known = current;
                changed
            });
            voters.send_if_modified(|known| {
                let current = voters_of(&now);
                let changed = *known != current;
                *known = current;
                changed
            });
            let (applied, snapshot) = (now.last_applied, now.snapshot);
            if self.log.size_bytes() > SNAPSHOT_LOG_BYTES
                && applied.map(|id| id.index) > snapshot.map(|id| id.index + KEPT_ENTRIES)
                && self.raft.trigger().snapshot().await.is_err()
            {
                return;
            }
            if metrics.changed().await.is_err() {
                return report(&failure, why_ended(&metrics.borrow()));
            }
        }
    }
}

/// Tells of a failure, unless one was told of before.
fn report(failure: &watch::Sender<Option<String>>, why: Option<String>) {
    if let Some(why) = why {
        failure.send_if_modified(|failure| {
            failure.get_or_insert(why);
            true
        });
    }
}

/// Why Raft has ended, by the last of its figures. `None`: it was asked to. One that panics leaves figures that say nothing
/// of it, and a broker without its part in the quorum must not go on as if it had one.
fn why_ended(metrics: &Metrics) -> Option<String> {
    let fatal = match &metrics.running_state {
        Err(Fatal::Stopped) => return None,
        Err(fatal) => fatal.to_string(),
        Ok(()) => "it ended without a word, as after a panic".to_owned(),
    };
    Some(format!(
        "this broker's part in the metadata quorum failed: {fatal}"
    ))
}

/// A log that begins behind what the snapshot holds has lost what lies between, and must not pass for one that has it.
fn check_whole(dir: &Path, log: &RaftLog, state_machine: &StateMachine) -> Result<(), raft_log::Error> {
    let (applied, purged) = (state_machine.applied_id(), log.ends().0);
    if purged.map(|id| id.index) <= applied.map(|id| id.index) {
        return Ok(());
    }
    let upto = |id: Option<LogId<VoterId>>| {
        id.map_or_else(|| "nothing".to_owned(), |id| format!("entry {}", id.index))
    };
    Err(raft_log::Error::Damaged {
        file: dir.to_owned(),
        what: format!(
            "the log begins behind {}, and the snapshot ends with {}",
            upto(purged),
            upto(applied)
        ),
    })
}

fn leadership_of(metrics: &Metrics) -> Leadership {
    let leading = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
    Leadership {
        term: metrics.current_term,
        leader: metrics.current_leader.map(|leader| leader.broker),
        leading,
    }
}

fn voters_of(metrics: &Metrics) -> Voters {
    let membership = metrics.membership_config.membership();
    let address = |id: VoterId| Some((id, membership.get_node(&id)?.clone()));
    membership.voter_ids().filter_map(address).collect()
}

impl Quorum for Member {
    fn propose(&self, entry: Entry) -> BoxFuture<'static, Result<Applied, LeadershipLost>> {
        let decided = Decided(Bytes::from(entry.encode_to_vec()));
        // Handing it over takes no waiting, and is done here and now, so that the order of proposals is that of the calls.
        let handed_over = self.raft.client_write_ff(decided).now_or_never();
        Box::pin(async move {
            let written = handed_over.ok_or(LeadershipLost)?.map_err(|_| LeadershipLost)?;
            let written = written
                .await
                .map_err(|_| LeadershipLost)?
                .map_err(|_| LeadershipLost)?;
            Ok(Applied {
                index: written.log_id.index,
                skipped: written.data.skipped,
            })
        })
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn applied(&self) -> Indexed {
        self.state_machine.applied()
    }

    fn voters(&self) -> Vec<BrokerId> {
        Self::voters(self).into_iter().map(|voter| voter.broker).collect()
    }

    fn has_majority(&self, term: u64) -> bool {
        self.followed_within(term, MAJORITY_SILENT)
    }

    fn has_lease(&self, term: u64) -> bool {
        self.followed_within(term, LEASE)
    }
}

/// Whether a member neither votes nor is on its way to. A leader that takes itself out leads until that is committed.
fn only_observes(metrics: &Metrics, id: VoterId) -> bool {
    !takes_part(metrics, id) && metrics.state != ServerState::Leader
}

/// Whether a member of this id votes, or is on its way to.
fn takes_part(metrics: &Metrics, id: VoterId) -> bool {
    let membership = metrics.membership_config.membership();
    membership.get_node(&id).is_some()
}

#[cfg(test)]
mod tests {
    use flotilla_protocol::Uuid;

    use super::*;

    #[test]
    fn raft_that_ends_without_a_word_has_failed_and_one_that_was_stopped_has_not() {
        let mut metrics = Metrics::new_initial(VoterId::new(BrokerId(1), Uuid([1; 16])));
        let panicked = why_ended(&metrics).unwrap();
        assert!(
            panicked.ends_with("it ended without a word, as after a panic"),
            "{panicked}"
        );
        metrics.running_state = Err(Fatal::Panicked);
        assert!(why_ended(&metrics).is_some());
        metrics.running_state = Err(Fatal::Stopped);
        assert_eq!(why_ended(&metrics), None);
    }
}
