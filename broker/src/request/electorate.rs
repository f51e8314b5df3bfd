//! What the two requests that change the quorum have in common (KIP-853).

use std::time::Duration;

use flotilla_control::proto::fleet::{ApplyResponse, VoterRequest};
use flotilla_control::proto::metadata::Refusal;
use flotilla_protocol::{ErrorCode, Str, Uuid};

use super::submit::Outcome;
use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// What is to become of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Remove,
}

/// The voter that a request means, where the client may change the quorum and means this one.
pub(super) fn voter(
    ctx: &Context,
    cluster_id: Option<&Str>,
    broker_id: i32,
    directory_id: Uuid,
) -> Result<VoterRequest, Outcome> {
    if !ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        return Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed));
    }
    if let Some(other) = cluster_id.filter(|id| id.as_str() != ctx.broker.cluster_id) {
        let message = format!("this is cluster {}, not {other}", ctx.broker.cluster_id);
        return Err(Outcome::because(ErrorCode::InconsistentClusterId, message));
    }
    if broker_id < 0 || directory_id.is_zero() {
        let message =
            "a voter is named by its broker id and by the id of its directory: DescribeQuorum tells both";
        return Err(Outcome::because(ErrorCode::InvalidRequest, message));
    }
    Ok(VoterRequest {
        broker_id,
        directory_id: directory_id.0.to_vec(),
        ..VoterRequest::default()
    })
}

/// Has the quorum changed where it is led, and waits for it.
pub(super) async fn change(ctx: &Context, voter: VoterRequest, change: Change, wait: Duration) -> Outcome {
    let add = change == Change::Add;
    match ctx.broker.controller.change_voters(voter, add, wait).await {
        Ok(answer) => outcome(&answer, change),
        Err(failure) => Outcome::because(ErrorCode::RequestTimedOut, failure.to_string()),
    }
}

/// Kafka's code. What has its way already is no success there.
fn outcome(answer: &ApplyResponse, change: Change) -> Outcome {
    let code = match (answer.refusal(), change) {
        (Refusal::None, _) if answer.changed => return Outcome::DONE,
        (Refusal::None | Refusal::DuplicateResource, Change::Add) => ErrorCode::DuplicateVoter,
        (Refusal::None, Change::Remove) => ErrorCode::VoterNotFound,
        // Another change is under way, or the voter has not caught up: to be tried again.
        (Refusal::NotSafeNow, _) => ErrorCode::RequestTimedOut,
        (refusal, _) => error::of_refusal(refusal),
    };
    if answer.message.is_empty() {
        Outcome::of(code)
    } else {
        Outcome::because(code, answer.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_quorum_have_kafkas_codes() {
        use Change::{Add, Remove};
        for (refusal, changed, change, expected) in [
            (Refusal::None, true, Add, ErrorCode::None),
            (Refusal::None, true, Remove, ErrorCode::None),
            (Refusal::None, false, Add, ErrorCode::DuplicateVoter),
            (Refusal::None, false, Remove, ErrorCode::VoterNotFound),
            (Refusal::DuplicateResource, false, Add, ErrorCode::DuplicateVoter),
            (Refusal::NotSafeNow, false, Add, ErrorCode::RequestTimedOut),
            (Refusal::NotSafeNow, false, Remove, ErrorCode::RequestTimedOut),
            (Refusal::InvalidRequest, false, Remove, ErrorCode::InvalidRequest),
            (Refusal::NotController, false, Add, ErrorCode::NotController),
        ] {
            let answer = ApplyResponse {
                refusal: refusal.into(),
                changed,
                ..ApplyResponse::default()
            };
            assert_eq!(outcome(&answer, change).error, expected, "{refusal:?} {change:?}");
        }
        let said = ApplyResponse {
            refusal: Refusal::NotSafeNow.into(),
            message: "wait".to_owned(),
            ..ApplyResponse::default()
        };
        let expected = Outcome::because(ErrorCode::RequestTimedOut, "wait");
        assert_eq!(outcome(&said, Add), expected);
    }
}
