//! Changes of the quorum: where it is led.

use flotilla_control::proto::fleet::VoterRequest;
use flotilla_control::proto::metadata::Refusal;
use flotilla_protocol::{BrokerId, Uuid};
use tonic::{Request, Response, Status};

use super::{Answer, Fleet, refused};
use crate::coordination::members::Members;
use crate::coordination::quorum::Quorum as _;
use crate::coordination::voter::{VoterId, VoterNode};

/// Marks a call that one broker hands on to another, so that it is not handed on for ever.
const HANDED_ON: &str = "flotilla-handed-on";

impl Fleet {
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

    /// Changes the quorum here if this broker leads it, else where it is led.
    pub(super) async fn change_voters(&self, request: Request<VoterRequest>, add: bool) -> Answer {
        self.known(&request)?;
        let leadership = self.service.member.leadership().borrow().clone();
        let handed_on = request.metadata().contains_key(HANDED_ON);
        let asked = request.into_inner();
        if !leadership.leading {
            let leader = self
                .controller
                .known()
                .filter(|leader| *leader != self.service.member.id().broker);
            let Some(leader) = leader.filter(|_| !handed_on) else {
                let message = "the leader of the quorum is not known: try again in a moment".to_owned();
                return Ok(Response::new(refused(Refusal::NotController, message)));
            };
            let mut onward = Request::new(asked);
            onward
                .metadata_mut()
                .insert(HANDED_ON, tonic::metadata::MetadataValue::from_static("1"));
            let mut client = self.peers.fleet(leader);
            return if add {
                client.add_voter(onward).await
            } else {
                client.remove_voter(onward).await
            };
        }
        let (id, node) = self.voter(&asked)?;
        let Ok(_changing) = self.changing.try_lock() else {
            let message = "another change of the quorum is under way: wait until it is done".to_owned();
            return Ok(Response::new(refused(Refusal::NotSafeNow, message)));
        };
        let members = Members {
            member: &self.service.member,
            dry_run: asked.dry_run,
        };
        Ok(Response::new(if add {
            members.add(id, node).await
        } else {
            members.remove(id).await
        }))
    }
}
