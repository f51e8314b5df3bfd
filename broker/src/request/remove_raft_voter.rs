//! RemoveRaftVoter: a broker votes in the quorum no longer (KIP-853).

use flotilla_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::Context;
use super::electorate::{self, Change};
use super::submit::{WAIT_DEFAULT_MS, wait_of};

/// Removes the voter.
pub(super) async fn handle(ctx: &Context, request: RemoveRaftVoterRequest) -> RemoveRaftVoterResponse {
    let named = electorate::voter(
        ctx,
        request.cluster_id.as_ref(),
        request.voter_id,
        request.voter_directory_id,
    );
    let outcome = match named {
        Ok(voter) => electorate::change(ctx, voter, Change::Remove, wait_of(WAIT_DEFAULT_MS)).await,
        Err(refused) => refused,
    };
    RemoveRaftVoterResponse {
        error_code: outcome.code(),
        error_message: outcome.message,
        ..RemoveRaftVoterResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorizer, Principal};
    use crate::broker::Broker;
    use crate::metadata::Image;
    use crate::request::testing::context_of;
    use flotilla_protocol::{ErrorCode, Uuid};

    async fn remove(
        authorizer: Authorizer,
        cluster_id: &'static str,
        voter_id: i32,
        directory: u8,
    ) -> ErrorCode {
        let broker = Broker::in_memory_with(Image::default(), authorizer);
        let ctx = context_of(broker, Principal::user("clerk"), 0);
        let request = RemoveRaftVoterRequest {
            cluster_id: (!cluster_id.is_empty()).then(|| cluster_id.into()),
            voter_id,
            voter_directory_id: Uuid([directory; 16]),
        };
        handle(&ctx, request).await.error_code.into()
    }

    #[tokio::test]
    async fn refusals_are_kafkas() {
        let acl = Authorizer::acl(["User:admin"], false);
        assert_eq!(remove(acl, "", 3, 3).await, ErrorCode::ClusterAuthorizationFailed);
        let refused = remove(Authorizer::none(), "another", 3, 3).await;
        assert_eq!(refused, ErrorCode::InconsistentClusterId);
        for (voter, directory) in [(-1, 3), (3, 0)] {
            let refused = remove(Authorizer::none(), "", voter, directory).await;
            assert_eq!(refused, ErrorCode::InvalidRequest);
        }
    }
}
