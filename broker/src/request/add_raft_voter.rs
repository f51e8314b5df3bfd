//! AddRaftVoter: a broker gets a vote in the quorum (KIP-853).

use flotilla_protocol::messages::add_raft_voter_request::Listener;
use flotilla_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::describe_quorum::LISTENER;
use super::electorate::{self, Change};
use super::submit::{Outcome, wait_of};

/// Adds the voter once it has caught up. Answered when the change is committed, also where the client would take less.
pub(super) async fn handle(ctx: &Context, request: AddRaftVoterRequest) -> AddRaftVoterResponse {
    let outcome = add(ctx, &request).await;
    AddRaftVoterResponse {
        error_code: outcome.code(),
        error_message: outcome.message,
        ..AddRaftVoterResponse::default()
    }
}

async fn add(ctx: &Context, request: &AddRaftVoterRequest) -> Outcome {
    let named = electorate::voter(
        ctx,
        request.cluster_id.as_ref(),
        request.voter_id,
        request.voter_directory_id,
    );
    let mut voter = match named {
        Ok(voter) => voter,
        Err(refused) => return refused,
    };
    let Some(listener) = request.listeners.iter().find(|one| one.name == LISTENER) else {
        let message = format!("the listener {LISTENER} of the voter is missing: the quorum speaks over it");
        return Outcome::because(ErrorCode::InvalidRequest, message);
    };
    voter.address = address(listener);
    electorate::change(ctx, voter, Change::Add, wait_of(request.timeout_ms)).await
}

/// `host:port`, an IPv6 address in brackets.
fn address(listener: &Listener) -> String {
    let (host, port): (&Str, u16) = (&listener.host, listener.port);
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorizer, Principal};
    use crate::broker::Broker;
    use crate::metadata::Image;
    use crate::request::testing::context_of;
    use flotilla_protocol::Uuid;

    fn context(authorizer: Authorizer) -> Context {
        let broker = Broker::in_memory_with(Image::default(), authorizer);
        context_of(broker, Principal::user("clerk"), 1)
    }

    fn request(ctx: &Context) -> AddRaftVoterRequest {
        AddRaftVoterRequest {
            cluster_id: Some(Str::copy_from(&ctx.broker.cluster_id)),
            timeout_ms: 100,
            voter_id: 3,
            voter_directory_id: Uuid([3; 16]),
            listeners: vec![Listener {
                name: LISTENER,
                host: "host-3".into(),
                port: 9290,
            }],
            ack_when_committed: true,
        }
    }

    async fn answered(ctx: &Context, request: AddRaftVoterRequest) -> ErrorCode {
        handle(ctx, request).await.error_code.into()
    }

    #[tokio::test]
    async fn who_may_not_alter_the_cluster_adds_nobody() {
        let ctx = context(Authorizer::acl(["User:admin"], false));
        let code = answered(&ctx, request(&ctx)).await;
        assert_eq!(code, ErrorCode::ClusterAuthorizationFailed);
    }

    #[tokio::test]
    async fn what_names_no_voter_of_this_cluster_is_refused() {
        let ctx = context(Authorizer::none());
        let good = request(&ctx);
        let elsewhere = AddRaftVoterRequest {
            cluster_id: Some("another".into()),
            ..good.clone()
        };
        let code = answered(&ctx, elsewhere).await;
        assert_eq!(code, ErrorCode::InconsistentClusterId);
        let without_directory = AddRaftVoterRequest {
            voter_directory_id: Uuid::ZERO,
            ..good.clone()
        };
        let negative = AddRaftVoterRequest {
            voter_id: -1,
            ..good.clone()
        };
        let without_listener = AddRaftVoterRequest {
            listeners: Vec::new(),
            ..good.clone()
        };
        let mut other_listener = good.clone();
        other_listener.listeners[0].name = "PLAINTEXT".into();
        for nobody in [without_directory, negative, without_listener, other_listener] {
            assert_eq!(answered(&ctx, nobody).await, ErrorCode::InvalidRequest);
        }
        // With or without the cluster's id it would go on to the quorum, of which there is none here.
        for cluster_id in [good.cluster_id.clone(), None] {
            let request = AddRaftVoterRequest {
                cluster_id,
                ..good.clone()
            };
            assert_eq!(answered(&ctx, request).await, ErrorCode::RequestTimedOut);
        }
    }

    #[test]
    fn address_of_a_listener_is_one_that_can_be_dialled() {
        for (host, expected) in [("host", "host:1"), ("::1", "[::1]:1"), ("[::1]", "[::1]:1")] {
            let listener = Listener {
                host: host.into(),
                port: 1,
                ..Listener::default()
            };
            assert_eq!(address(&listener), expected);
        }
    }
}
