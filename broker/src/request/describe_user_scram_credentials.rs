//! DescribeUserScramCredentials: who has which, without secrets (KIP-554).

use std::collections::BTreeMap;

use flotilla_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use flotilla_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::describe_acls::wire;
use super::submit::Outcome;
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// Describes the users that are named, or all.
pub(super) async fn handle(
    ctx: &Context,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if !ctx.allowed(Operation::Describe, ResourceType::Cluster, CLUSTER_RESOURCE) {
        let outcome = Outcome::of(ErrorCode::ClusterAuthorizationFailed);
        return DescribeUserScramCredentialsResponse {
            error_code: outcome.code(),
            error_message: outcome.message,
            ..DescribeUserScramCredentialsResponse::default()
        };
    }
    let image = ctx.image();
    let mut known: BTreeMap<&str, Vec<CredentialInfo>> = BTreeMap::new();
    for held in image.scram_credentials() {
        let info = CredentialInfo {
            mechanism: wire(held.mechanism),
            iterations: held.iterations,
        };
        known.entry(&held.user).or_default().push(info);
    }
    let named = request.users.unwrap_or_default();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    named
        .iter()
        .for_each(|user| *times.entry(&user.name).or_default() += 1);
    if times.is_empty() {
        times.extend(known.keys().map(|user| (*user, 1)));
    }
    let results = times.into_iter().map(|(user, times)| {
        let outcome = match known.get(user) {
            _ if times > 1 => Outcome::because(
                ErrorCode::DuplicateResource,
                format!("user `{user}` is named twice"),
            ),
            None => Outcome::because(
                ErrorCode::ResourceNotFound,
                format!("user `{user}` has no SCRAM credential"),
            ),
            Some(_) => Outcome::DONE,
        };
        let infos = known.get(user).filter(|_| outcome == Outcome::DONE);
        DescribeUserScramCredentialsResult {
            user: Str::copy_from(user),
            error_code: outcome.code(),
            error_message: outcome.message,
            credential_infos: infos.cloned().unwrap_or_default(),
        }
    });
    DescribeUserScramCredentialsResponse {
        results: results.collect(),
        ..DescribeUserScramCredentialsResponse::default()
    }
}
