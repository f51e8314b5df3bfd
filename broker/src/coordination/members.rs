//! Changes of who votes, one at a time: a learner first, then caught up, then a voter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flotilla_control::proto::fleet::ApplyResponse;
use flotilla_control::proto::metadata::Refusal;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};
use tokio::time::timeout;

use super::raft::Member;
use super::voter::{VoterId, VoterNode};

/// A learner that has not caught up by then is sent away again.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// A change that a majority does not confirm by then is reported as not done.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Changes the quorum that this broker leads. Its lock is held throughout a change.
pub struct Members<'a> {
    /// This broker's member; it has to lead.
    pub member: &'a Member,
    /// Whether to only say what would be done.
    pub dry_run: bool,
}

type Outcome = Result<ApplyResponse, ApplyResponse>;
type WriteError = RaftError<VoterId, ClientWriteError<VoterId, VoterNode>>;

pub(super) fn refused(refusal: Refusal, message: String) -> ApplyResponse {
    ApplyResponse {
        refusal: refusal.into(),
        message,
        ..ApplyResponse::default()
    }
}

fn done(changed: bool) -> ApplyResponse {
    ApplyResponse {
        changed,
        ..ApplyResponse::default()
    }
}

impl Members<'_> {
    /// Makes `id` a voter.
    pub async fn add(&self, id: VoterId, node: VoterNode) -> ApplyResponse {
        let outcome = self.try_add(id, node).await;
        outcome.unwrap_or_else(|refused| refused)
    }

    /// Makes `id` no voter.
    pub async fn remove(&self, id: VoterId) -> ApplyResponse {
        let outcome = self.try_remove(id).await;
        outcome.unwrap_or_else(|refused| refused)
    }

    async fn try_add(&self, id: VoterId, node: VoterNode) -> Outcome {
        let voters = self.voters()?;
        if voters.contains(&id) {
            return Ok(done(false));
        }
        if let Some(other) = voters.iter().find(|voter| voter.broker == id.broker) {
            let message = format!(
                "broker {} votes from directory {} still: remove that voter first",
                id.broker, other.directory
            );
            return Err(refused(Refusal::DuplicateResource, message));
        }
        if node.address.is_empty() {
            let message = format!(
                "where broker {} can be reached is neither given nor registered",
                id.broker
            );
            return Err(refused(Refusal::InvalidRequest, message));
        }
        if self.dry_run {
            return Ok(done(true));
        }
        let raft = self.member.raft();
        within(raft.add_learner(id, node, false)).await?;
        if timeout(CATCH_UP_TIMEOUT, self.caught_up(id)).await != Ok(true) {
            let away = raft.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([id])), true);
            within(away).await?;
            let message = format!("voter {id} has not caught up within {CATCH_UP_TIMEOUT:?}: is it running?");
            return Err(refused(Refusal::NotSafeNow, message));
        }
        within(raft.change_membership(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true)).await?;
        tracing::info!(voter = %id, "joined the metadata quorum");
        Ok(done(true))
    }

    async fn try_remove(&self, id: VoterId) -> Outcome {
        let voters = self.voters()?;
        let metrics = self.member.metrics();
        if metrics.membership_config.membership().get_node(&id).is_none() {
            return Ok(done(false));
        }
        if voters == [id] {
            let message = format!("voter {id} is the last one: add another one first");
            return Err(refused(Refusal::InvalidRequest, message));
        }
        if self.dry_run {
            return Ok(done(true));
        }
        let ids = BTreeSet::from([id]);
        let change = if voters.contains(&id) {
            ChangeMembers::RemoveVoters(ids)
        } else {
            ChangeMembers::RemoveNodes(ids)
        };
        within(self.member.raft().change_membership(change, false)).await?;
        tracing::info!(voter = %id, "left the metadata quorum");
        Ok(done(true))
    }

    /// The voters, if this broker leads them and they are not being changed at this moment.
    fn voters(&self) -> Result<Vec<VoterId>, ApplyResponse> {
        let metrics = self.member.metrics();
        // What another one knows of them may be over.
        if metrics.state != ServerState::Leader {
            let message = "this broker does not lead the quorum: ask the one that does".to_owned();
            return Err(refused(Refusal::NotController, message));
        }
        let membership = metrics.membership_config.membership();
        if membership.get_joint_config().len() > 1 {
            let message = "another change of the quorum is under way: wait until it is done".to_owned();
            return Err(refused(Refusal::NotSafeNow, message));
        }
        let voters: Vec<VoterId> = membership.voter_ids().collect();
        // A leader that has just removed itself leads for a moment longer, and openraft does not let it change anything then.
        if !voters.contains(&self.member.id()) {
            let message = "this broker is leaving the quorum: ask again when another one leads it".to_owned();
            return Err(refused(Refusal::NotController, message));
        }
        Ok(voters)
    }

    /// Waits until a learner has all that the log holds now. False: this broker no longer leads.
    async fn caught_up(&self, id: VoterId) -> bool {
        let mut metrics = self.member.raft().metrics();
        let target = metrics.borrow().last_log_index;
        let reached = metrics.wait_for(|now| {
            let replication = now.replication.as_ref();
            let matched = replication.and_then(|all: &BTreeMap<_, _>| all.get(&id).copied().flatten());
            replication.is_none() || matched.map(|id| id.index) >= target
        });
        reached.await.is_ok_and(|now| now.replication.is_some())
    }
}

async fn within<T>(change: impl Future<Output = Result<T, WriteError>>) -> Result<T, ApplyResponse> {
    match timeout(CHANGE_TIMEOUT, change).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let refusal = match error.api_error() {
                Some(ClientWriteError::ForwardToLeader(_)) => Refusal::NotController,
                Some(ClientWriteError::ChangeMembershipError(_)) | None => Refusal::NotSafeNow,
            };
            Err(refused(refusal, error.to_string()))
        }
        Err(_) => {
            let message = format!("the quorum has not confirmed the change within {CHANGE_TIMEOUT:?}");
            Err(refused(Refusal::NotSafeNow, message))
        }
    }
}
