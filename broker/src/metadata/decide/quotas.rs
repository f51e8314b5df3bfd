//! Client quotas (KIP-546). They are kept here; who enforces them reads them from the image.

use std::collections::BTreeSet;
use std::net::IpAddr;

use flotilla_control::proto::metadata::{
    AlterClientQuota, AlterClientQuotas, QuotaEntity, Refusal, Response,
};

use super::{Draft, Refused, item, of_items, refuse};
use crate::metadata::{QuotaKey, quota_fact};

const OF_CLIENTS: &[&str] = &[
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
];
const OF_ADDRESSES: &[&str] = &["connection_creation_rate"];
/// Quotas that count bytes or connections: whole numbers.
const WHOLE: &[&str] = &[
    "producer_byte_rate",
    "consumer_byte_rate",
    "connection_creation_rate",
];

pub(super) fn alter(draft: &mut Draft<'_, '_>, request: &AlterClientQuotas) -> Response {
    let mut seen = BTreeSet::new();
    let items = request.entries.iter().map(|entry| {
        let result = draft.attempt(|draft| {
            let key = entity(&entry.entity)?;
            if !seen.insert(key.clone()) {
                return Err(refuse(
                    Refusal::InvalidRequest,
                    "the same entity is named twice in one request",
                ));
            }
            alter_one(draft, &key, entry)
        });
        item("", result)
    });
    let items = items.collect();
    of_items(items)
}

fn alter_one(draft: &mut Draft<'_, '_>, entity: &QuotaKey, entry: &AlterClientQuota) -> Result<(), Refused> {
    for change in &entry.changes {
        check(entity, &change.key, change.value)?;
        write(draft, entity, &change.key, change.value);
    }
    Ok(())
}

/// Writes a quota that differs from the present one; no value removes it.
pub(super) fn write(draft: &mut Draft<'_, '_>, entity: &QuotaKey, key: &str, value: Option<f64>) {
    let now = draft
        .image
        .quota(entity)
        .and_then(|quotas| quotas.get(key))
        .copied();
    if now != value {
        draft.write(quota_fact(entity, key, value));
    }
}

/// Whether an entity can have this quota.
pub(super) fn check(entity: &QuotaKey, key: &str, value: Option<f64>) -> Result<(), Refused> {
    let known = if entity.contains_key("ip") {
        OF_ADDRESSES
    } else {
        OF_CLIENTS
    };
    if !known.contains(&key) {
        let message = format!("`{key}` is not a quota of this entity; {} are", known.join(", "));
        return Err(refuse(Refusal::InvalidRequest, message));
    }
    let Some(value) = value else { return Ok(()) };
    let in_range = value.is_finite() && value >= 0.0 && value <= i64::MAX as f64;
    if !in_range || (WHOLE.contains(&key) && value.fract() != 0.0) {
        let what = if WHOLE.contains(&key) {
            "a whole number"
        } else {
            "a number"
        };
        return Err(refuse(
            Refusal::InvalidRequest,
            format!("`{key}` cannot be {value}: {what} of at least 0 is expected"),
        ));
    }
    Ok(())
}

fn entity(parts: &[QuotaEntity]) -> Result<QuotaKey, Refused> {
    let invalid = |message: String| Err(refuse(Refusal::InvalidRequest, message));
    let mut key = QuotaKey::new();
    for part in parts {
        if !matches!(part.r#type.as_str(), "user" | "client-id" | "ip") {
            return invalid(format!(
                "`{}` is not a type of entity; user, client-id and ip are",
                part.r#type
            ));
        }
        if part.name.as_ref().is_some_and(String::is_empty) {
            return invalid(format!("the name of a {} cannot be empty", part.r#type));
        }
        if key.insert(part.r#type.clone(), part.name.clone()).is_some() {
            return invalid(format!("the entity has two of the type {}", part.r#type));
        }
    }
    if key.is_empty() {
        return invalid("the entity is empty".to_owned());
    }
    match key.get("ip") {
        Some(_) if key.len() > 1 => invalid("an ip cannot be combined with other types of entity".to_owned()),
        Some(Some(address)) if address.parse::<IpAddr>().is_err() => {
            invalid(format!("`{address}` is not an IP address"))
        }
        _ => Ok(key),
    }
}
