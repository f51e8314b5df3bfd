//! AlterUserScramCredentials (KIP-554). The client salts the password itself; it never comes here.

use std::collections::BTreeMap;

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{AlterScram, RemoveScramCredential, ScramCredential};
use flotilla_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use flotilla_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use flotilla_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use super::{Context, error};
use crate::auth::scram::{Credential, Mechanism};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// Answers once a user. What is asked for one user is done as a whole or not at all.
pub(super) async fn handle(
    ctx: &Context,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let asked = AlterScram {
        upserts: request.upsertions.iter().map(credential).collect(),
        removals: request
            .deletions
            .iter()
            .map(|gone| RemoveScramCredential {
                user: gone.name.to_string(),
                mechanism: gone.mechanism.into(),
            })
            .collect(),
    };
    let upserted = request.upsertions.iter().map(|upsert| &upsert.name);
    let named: Vec<&Str> = upserted
        .chain(request.deletions.iter().map(|gone| &gone.name))
        .collect();
    let decided = if !ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed))
    } else if named.is_empty() {
        return AlterUserScramCredentialsResponse::default();
    } else {
        submit(ctx, WAIT_DEFAULT_MS, false, Asked::AlterScram(asked)).await
    };
    let mut by_user: BTreeMap<&Str, Outcome> = BTreeMap::new();
    for (place, user) in named.into_iter().enumerate() {
        let outcome = match &decided {
            Ok(response) => {
                let unknown = || Outcome::of(ErrorCode::UnknownServerError);
                response
                    .items
                    .get(place)
                    .map_or_else(unknown, |item| error::of_item(item).into())
            }
            Err(outcome) => outcome.clone(),
        };
        let first = by_user.entry(user).or_insert(Outcome::DONE);
        if !first.error.is_error() {
            *first = outcome;
        }
    }
    let results = by_user
        .into_iter()
        .map(|(user, outcome)| AlterUserScramCredentialsResult {
            user: user.clone(),
            error_code: outcome.code(),
            error_message: outcome.message,
        });
    AlterUserScramCredentialsResponse {
        results: results.collect(),
        ..AlterUserScramCredentialsResponse::default()
    }
}

/// What the server keeps. A mechanism that is not known, or a password that was not salted with it, gives no keys, and
/// the controller refuses it.
fn credential(upsert: &ScramCredentialUpsertion) -> ScramCredential {
    let mechanism = Mechanism::from_code(upsert.mechanism.into());
    let iterations = u32::try_from(upsert.iterations).unwrap_or(0);
    let keys = mechanism
        .filter(|mechanism| upsert.salted_password.len() == mechanism.hash_bytes())
        .map(|mechanism| {
            Credential::of_salted_password(mechanism, &upsert.salted_password, &upsert.salt, iterations)
        });
    let (stored_key, server_key) =
        keys.map_or_else(Default::default, |keys| (keys.stored_key, keys.server_key));
    ScramCredential {
        user: upsert.name.to_string(),
        mechanism: upsert.mechanism.into(),
        salt: upsert.salt.to_vec(),
        stored_key,
        server_key,
        iterations: upsert.iterations,
    }
}
