//! Changes of the quorum: here where this broker leads it, else where it is led.

use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::fleet::{ApplyResponse, VoterRequest};
use flotilla_control::proto::metadata::Refusal;
use flotilla_protocol::{BrokerId, Uuid};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Status};

use super::client::{Controller, SubmitError};
use super::members::{Members, refused};
use super::peers::{Peers, said};
use super::quorum::Quorum as _;
use super::runtime;
use super::service::Service;
use super::voter::{VoterId, VoterNode};

/// Marks a call that one broker hands on to another, so that it is not handed on for ever.
pub(super) const HANDED_ON: &str = "flotilla-handed-on";
/// Between two tries to find the leader of the quorum.
const PAUSE: Duration = Duration::from_millis(50);

/// Changes who votes.
#[derive(Clone)]
pub struct Electorate {
    service: Service,
    peers: Peers,
    /// One change of the quorum at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl Electorate {
    /// As this broker sees the quorum, and reaches it.
    pub fn new(service: Service, peers: Peers) -> Self {
        Self {
            service,
            peers,
            changing: Arc::default(),
        }
    }

    /// Which voter a request means; what it leaves out is taken from the broker's registration.
    fn voter(&self, asked: &VoterRequest) -> Result<(VoterId, VoterNode), Status> {
        let id = BrokerId(asked.broker_id);
        let image = self.service.metadata.image();
        let registered = image.broker(id);
        let directory = if asked.directory_id.is_empty() {
            let unknown =
                || Status::failed_precondition(format!("broker {id} is not registered: name its directory"));
            registered.map(|broker| broker.directory_id).ok_or_else(unknown)?
        } else {
            Uuid::from_slice(&asked.directory_id)
                .ok_or_else(|| Status::invalid_argument("a directory id has 16 bytes"))?
        };
        let address = match asked.address.as_str() {
            "" => registered
                .map(|broker| broker.control_address.clone())
                .unwrap_or_default(),
            given => given.to_owned(),
        };
        Ok((VoterId::new(id, directory), VoterNode { address }))
    }

    /// Changes the quorum here if this broker leads it, else at `leader`.
    ///
    /// # Errors
    /// The request names no voter, or that broker does not answer.
    pub async fn change(
        &self,
        asked: VoterRequest,
        add: bool,
        leader: Option<BrokerId>,
    ) -> Result<ApplyResponse, Status> {
        let leadership = self.service.member.leadership().borrow().clone();
        if !leadership.leading {
            let own = self.service.member.id().broker;
            let Some(leader) = leader.filter(|leader| *leader != own) else {
                let message = "the leader of the quorum is not known: try again in a moment".to_owned();
                return Ok(refused(Refusal::NotController, message));
            };
            let mut onward = Request::new(asked);
            onward
                .metadata_mut()
                .insert(HANDED_ON, tonic::metadata::MetadataValue::from_static("1"));
            let mut client = self.peers.fleet(leader);
            let answer = if add {
                client.add_voter(onward).await
            } else {
                client.remove_voter(onward).await
            };
            return answer.map(tonic::Response::into_inner);
        }
        let (id, node) = self.voter(&asked)?;
        let Ok(_changing) = self.changing.try_lock() else {
            let message = "another change of the quorum is under way: wait until it is done".to_owned();
            return Ok(refused(Refusal::NotSafeNow, message));
        };
        let members = Members {
            member: &self.service.member,
            dry_run: asked.dry_run,
        };
        Ok(if add {
            members.add(id, node).await
        } else {
            members.remove(id).await
        })
    }
}

impl Controller {
    /// Makes a broker a voter of the quorum, or no voter, wherever the quorum is led. A change that has begun goes on when `limit` is over: one
    /// that is left half done would be in the way of the next.
    ///
    /// # Errors
    /// When no leader of the quorum answers in time.
    pub async fn change_voters(
        &self,
        asked: VoterRequest,
        add: bool,
        limit: Duration,
    ) -> Result<ApplyResponse, SubmitError> {
        let unanswered = |last: String| SubmitError::NotAvailable { after: limit, last };
        let Some(electorate) = self.electorate() else {
            return Err(unanswered("this broker has no part in a quorum".to_owned()));
        };
        let (deadline, controller) = (Instant::now() + limit, self.clone());
        let changing = runtime::spawn(async move {
            loop {
                let leader = controller.leader_of_quorum().await;
                let answer = electorate.change(asked.clone(), add, leader).await;
                let is_elsewhere = answer
                    .as_ref()
                    .is_ok_and(|answer| answer.refusal() == Refusal::NotController);
                if !is_elsewhere || Instant::now() >= deadline {
                    return answer;
                }
                sleep(PAUSE).await;
            }
        });
        match timeout_at(deadline, changing).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(status))) => Err(unanswered(said(status))),
            Ok(Err(stopped)) => Err(unanswered(stopped.to_string())),
            Err(_) => Err(unanswered("the change goes on meanwhile".to_owned())),
        }
    }

    /// Whoever is known to lead, else whoever is said to.
    async fn leader_of_quorum(&self) -> Option<BrokerId> {
        if let Some(known) = self.known() {
            return Some(known);
        }
        let leader = self.quorum().await.ok()?.leader?;
        (leader.broker_id >= 0).then_some(BrokerId(leader.broker_id))
    }
}
