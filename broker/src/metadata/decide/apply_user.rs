//! A User resource, level-triggered: its credential, its rules and its quotas become what the resource says.

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{ApplyUser, DeleteUser, KeyQuota, Owner, Refusal, Response};

use super::{Draft, Refused, acls, owned_by_another, owns, quotas, refuse, scram, tokens};
use crate::metadata::{Acl, Fact, QuotaKey, ScramMechanism, User};

/// Writes nothing where the user is already so.
pub(super) fn apply(draft: &mut Draft<'_, '_>, request: &ApplyUser) -> Result<Response, Refused> {
    if request.name.is_empty() {
        return Err(refuse(Refusal::InvalidRequest, "a user needs a name"));
    }
    let known = draft.image.user(&request.name).cloned();
    if let Some(owner) = known.as_ref().and_then(|user| user.owner.as_ref())
        && !request.owner.as_ref().is_some_and(|asks| {
            let previous = request.previous_owner.as_ref();
            owns(asks, owner) || previous.is_some_and(|previous| owns(previous, owner))
        })
    {
        return Err(owned_by_another("user", &request.name, owner));
    }
    let user = User {
        name: request.name.clone(),
        owner: request.owner.clone(),
        authentication: request.authentication.clone(),
        manages_acls: !request.leave_acls,
        manages_quotas: !request.leave_quotas,
    };
    // What the resource said before and says no more goes; what it never spoke of stays.
    let settles_acls = user.manages_acls || known.as_ref().is_some_and(|known| known.manages_acls);
    let settles_quotas = user.manages_quotas || known.as_ref().is_some_and(|known| known.manages_quotas);
    if known.as_ref() != Some(&user) {
        draft.write(Fact::User(user.clone()));
    }
    settle_credential(draft, request)?;
    if settles_acls {
        let wanted = if user.manages_acls {
            request.acls.as_slice()
        } else {
            &[]
        };
        settle_acls(draft, &request.name, wanted)?;
    }
    if settles_quotas {
        let wanted = if user.manages_quotas {
            request.quotas.as_slice()
        } else {
            &[]
        };
        settle_quotas(draft, &request.name, wanted)?;
    }
    Ok(Response::default())
}

fn settle_credential(draft: &mut Draft<'_, '_>, request: &ApplyUser) -> Result<(), Refused> {
    let wanted = match request.authentication.as_str() {
        "scram-sha-256" => Some(ScramMechanism::ScramSha256),
        "scram-sha-512" => Some(ScramMechanism::ScramSha512),
        "mtls" => None,
        other => {
            let message =
                format!("`{other}` is not an authentication; scram-sha-256, scram-sha-512 and mtls are");
            return Err(refuse(Refusal::InvalidRequest, message));
        }
    };
    for other in [ScramMechanism::ScramSha256, ScramMechanism::ScramSha512] {
        if wanted != Some(other) {
            remove_credential(draft, &request.name, other);
        }
    }
    let Some(mechanism) = wanted else { return Ok(()) };
    match &request.credential {
        Some(credential) => {
            if credential.user != request.name || credential.mechanism() != mechanism {
                let message = format!(
                    "the credential is not one of `{}` for {}",
                    request.name, request.authentication
                );
                return Err(refuse(Refusal::UnacceptableCredential, message));
            }
            scram::check(credential)?;
            scram::write(draft, credential);
            Ok(())
        }
        None if draft.image.scram(&request.name, mechanism).is_some() => Ok(()),
        None => Err(refuse(
            Refusal::UnacceptableCredential,
            format!("user `{}` has no password yet", request.name),
        )),
    }
}

fn remove_credential(draft: &mut Draft<'_, '_>, user: &str, mechanism: ScramMechanism) {
    if draft.image.scram(user, mechanism).is_some() {
        let removal = proto::RemoveScramCredential {
            user: user.to_owned(),
            mechanism: mechanism.into(),
        };
        draft.write(Fact::RemoveScramCredential(removal));
    }
}

/// The rules of the principal become exactly these.
fn settle_acls(draft: &mut Draft<'_, '_>, user: &str, wanted: &[Acl]) -> Result<(), Refused> {
    let principal = format!("User:{user}");
    let before = draft.image.clone();
    let now: BTreeMap<_, &Acl> = before
        .acls()
        .filter(|acl| acl.principal == principal)
        .map(|acl| (acls::meaning(acl), acl))
        .collect();
    let wanted: Vec<Acl> = wanted
        .iter()
        .map(|acl| Acl {
            principal: principal.clone(),
            ..acl.clone()
        })
        .collect();
    wanted.iter().try_for_each(acls::check)?;
    let meanings: BTreeSet<_> = wanted.iter().map(acls::meaning).collect();
    for (_, acl) in now.iter().filter(|(meaning, _)| !meanings.contains(*meaning)) {
        draft.write(Fact::RemoveAcl(proto::RemoveAcl { id: acl.id.clone() }));
    }
    let mut written = BTreeSet::new();
    for acl in &wanted {
        let meaning = acls::meaning(acl);
        if !now.contains_key(&meaning) && written.insert(meaning) {
            let id = draft.fresh_id();
            draft.write(Fact::Acl(Acl {
                id: id.0.to_vec(),
                ..acl.clone()
            }));
        }
    }
    Ok(())
}

/// The quotas of the user, whatever its client id, become exactly these.
fn settle_quotas(draft: &mut Draft<'_, '_>, user: &str, wanted: &[KeyQuota]) -> Result<(), Refused> {
    let entity = QuotaKey::from([("user".to_owned(), Some(user.to_owned()))]);
    let wanted: BTreeMap<&str, f64> = wanted
        .iter()
        .map(|quota| (quota.key.as_str(), quota.value))
        .collect();
    let now: Vec<String> = draft
        .image
        .quota(&entity)
        .into_iter()
        .flat_map(BTreeMap::keys)
        .cloned()
        .collect();
    for key in now.iter().filter(|key| !wanted.contains_key(key.as_str())) {
        quotas::write(draft, &entity, key, None);
    }
    for (key, value) in wanted {
        quotas::check(&entity, key, Some(value))?;
        quotas::write(draft, &entity, key, Some(value));
    }
    Ok(())
}

/// Forgets a user with all that belongs to it. Nothing is written where there is none.
pub(super) fn delete(draft: &mut Draft<'_, '_>, request: &DeleteUser) -> Result<Response, Refused> {
    let Some(user) = draft.image.user(&request.name).cloned() else {
        return Ok(Response::default());
    };
    may_delete(&user, request.owner.as_ref())?;
    for mechanism in [ScramMechanism::ScramSha256, ScramMechanism::ScramSha512] {
        remove_credential(draft, &user.name, mechanism);
    }
    settle_acls(draft, &user.name, &[])?;
    settle_quotas(draft, &user.name, &[])?;
    tokens::remove_of(draft, &user.name);
    draft.write(Fact::RemoveUser(proto::RemoveUser { name: user.name }));
    Ok(Response::default())
}

fn may_delete(user: &User, asks: Option<&Owner>) -> Result<(), Refused> {
    match (asks, &user.owner) {
        (Some(asks), Some(owner)) if !owns(asks, owner) => Err(owned_by_another("user", &user.name, owner)),
        (Some(_), None) => {
            let message = format!("user `{}` belongs to no resource; it is left as it is", user.name);
            Err(refuse(Refusal::OwnedByAnother, message))
        }
        _ => Ok(()),
    }
}
