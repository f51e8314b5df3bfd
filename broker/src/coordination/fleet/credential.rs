//! The credential of a user whose password the operator tells.

use flotilla_control::proto::fleet::ApplyUserRequest;
use flotilla_control::proto::metadata::{ScramCredential, ScramMechanism};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use tonic::Status;

use super::Fleet;
use crate::auth::scram::{Credential, ITERATIONS_MIN, Mechanism};

/// Bytes of a fresh salt.
pub(super) const SALT_BYTES: usize = 32;

/// Bytes of [`digest`].
const DIGEST_BYTES: usize = 16;

/// Tells one credential from another. The salt is in it, so that it says nothing of the password.
pub(in crate::coordination) fn digest(credential: &ScramCredential) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in [
        credential.mechanism.to_be_bytes().as_slice(),
        credential.iterations.to_be_bytes().as_slice(),
        &credential.salt,
        &credential.stored_key,
        &credential.server_key,
    ] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref()[..DIGEST_BYTES].to_vec()
}

impl Fleet {
    /// The credential for a password: the stored one where it is of this very password, so that nothing is written then.
    pub(super) async fn credential(
        &self,
        asked: &ApplyUserRequest,
    ) -> Result<Option<ScramCredential>, Status> {
        let (mechanism, stored_as) = match asked.authentication.as_str() {
            "scram-sha-256" => (Mechanism::Sha256, ScramMechanism::ScramSha256),
            "scram-sha-512" => (Mechanism::Sha512, ScramMechanism::ScramSha512),
            _ => return Ok(None),
        };
        if asked.password.is_empty() {
            return Ok(None);
        }
        let stored = self
            .service
            .metadata
            .image()
            .scram(&asked.name, stored_as)
            .cloned();
        let (user, password) = (asked.name.clone(), asked.password.clone());
        let compute = move || {
            if let Some(stored) = stored {
                let known = Credential {
                    salt: stored.salt.clone(),
                    stored_key: stored.stored_key.clone(),
                    server_key: stored.server_key.clone(),
                    iterations: u32::try_from(stored.iterations).unwrap_or_default(),
                };
                if known.is_of_password(mechanism, &password) {
                    return Ok(stored);
                }
            }
            let mut salt = vec![0; SALT_BYTES];
            SystemRandom::new().fill(&mut salt)?;
            let made = Credential::of_password(mechanism, &password, &salt, ITERATIONS_MIN);
            Ok(ScramCredential {
                user,
                mechanism: stored_as.into(),
                salt: made.salt,
                stored_key: made.stored_key,
                server_key: made.server_key,
                iterations: ITERATIONS_MIN as i32,
            })
        };
        // Thousands of hashes: not where other calls wait.
        let computed = tokio::task::spawn_blocking(compute).await;
        let computed = computed.map_err(|error| Status::internal(error.to_string()))?;
        let failed = |_: ring::error::Unspecified| Status::internal("the system gives no random numbers");
        computed.map(Some).map_err(failed)
    }
}
