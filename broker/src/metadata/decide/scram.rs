//! SCRAM credentials (KIP-554).

use std::collections::BTreeMap;

use flotilla_control::proto::metadata::{
    AlterScram, Refusal, RemoveScramCredential, Response, ScramCredential,
};

use super::{Draft, Refused, item, of_items, refuse};
use crate::metadata::{Fact, ScramMechanism};

/// Fewer can be guessed too fast (RFC 7677 asks for as many).
const ITERATIONS_MIN: i32 = 4_096;
/// More cost the broker too much at each login; Kafka's limit.
const ITERATIONS_MAX: i32 = 16_384;
/// Users' names go into every record and answer.
const NAME_LENGTH_MAX: usize = 1_024;

/// Items: the upserts, then the removals, each in order.
pub(super) fn alter(draft: &mut Draft<'_, '_>, request: &AlterScram) -> Response {
    let mut times: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    let upserted = request
        .upserts
        .iter()
        .map(|upsert| (upsert.user.as_str(), upsert.mechanism));
    let removed = request
        .removals
        .iter()
        .map(|removal| (removal.user.as_str(), removal.mechanism));
    for key in upserted.chain(removed) {
        *times.entry(key).or_default() += 1;
    }
    let once = |user: &str, mechanism: i32| match times.get(&(user, mechanism)) {
        Some(1) => Ok(()),
        _ => {
            let message = format!("the credential of `{user}` is named twice in one request");
            Err(refuse(Refusal::DuplicateResource, message))
        }
    };
    let upserted = request.upserts.iter().map(|upsert| {
        let result = once(&upsert.user, upsert.mechanism).and_then(|()| check(upsert));
        (upsert.user.as_str(), result)
    });
    let removed = request.removals.iter().map(|removal| {
        let result = once(&removal.user, removal.mechanism).and_then(|()| exists(draft, removal));
        (removal.user.as_str(), result)
    });
    let results: Vec<(&str, Result<(), Refused>)> = upserted.chain(removed).collect();
    // What is asked for one user is done as a whole or not at all.
    let refused: BTreeMap<&str, Refused> = results
        .iter()
        .filter_map(|(user, result)| Some((*user, result.clone().err()?)))
        .collect();
    for upsert in request
        .upserts
        .iter()
        .filter(|upsert| !refused.contains_key(upsert.user.as_str()))
    {
        write(draft, upsert);
    }
    for removal in request
        .removals
        .iter()
        .filter(|removal| !refused.contains_key(removal.user.as_str()))
    {
        draft.write(Fact::RemoveScramCredential(removal.clone()));
    }
    let items = results
        .iter()
        .map(|(user, result)| {
            item(
                user,
                result.clone().and(refused.get(user).cloned().map_or(Ok(()), Err)),
            )
        })
        .collect();
    of_items(items)
}

/// Writes a credential that differs from the present one.
pub(super) fn write(draft: &mut Draft<'_, '_>, credential: &ScramCredential) {
    if draft.image.scram(&credential.user, credential.mechanism()) != Some(credential) {
        draft.write(Fact::ScramCredential(credential.clone()));
    }
}

fn mechanism(number: i32) -> Result<ScramMechanism, Refused> {
    match ScramMechanism::try_from(number) {
        Ok(ScramMechanism::UnknownMechanism) | Err(_) => Err(refuse(
            Refusal::UnsupportedSaslMechanism,
            "SCRAM-SHA-256 and SCRAM-SHA-512 are known",
        )),
        Ok(mechanism) => Ok(mechanism),
    }
}

/// Whether this can be a credential.
pub(super) fn check(credential: &ScramCredential) -> Result<(), Refused> {
    let unacceptable = |message: String| Err(refuse(Refusal::UnacceptableCredential, message));
    mechanism(credential.mechanism)?;
    if credential.user.is_empty() || credential.user.len() > NAME_LENGTH_MAX {
        return unacceptable(format!("a user's name has 1 to {NAME_LENGTH_MAX} bytes"));
    }
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&credential.iterations) {
        return unacceptable(format!(
            "{} iterations; {ITERATIONS_MIN} to {ITERATIONS_MAX} are taken",
            credential.iterations
        ));
    }
    if credential.salt.is_empty() || credential.stored_key.is_empty() || credential.server_key.is_empty() {
        return unacceptable("the credential has no salt or no keys".to_owned());
    }
    Ok(())
}

fn exists(draft: &Draft<'_, '_>, removal: &RemoveScramCredential) -> Result<(), Refused> {
    let mechanism = mechanism(removal.mechanism)?;
    if draft.image.scram(&removal.user, mechanism).is_none() {
        let message = format!("user `{}` has no such credential", removal.user);
        return Err(refuse(Refusal::ResourceNotFound, message));
    }
    Ok(())
}
