//! Access rules (KIP-140, KIP-290).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::{AclFilter, CreateAcls, DeleteAcls, ItemResult, Refusal, Response};
use flotilla_protocol::Uuid;

use super::{Draft, Refused, item, of_items, refuse};
use crate::metadata::{Acl, Fact, Image};

/// How many rules one request may create or delete, as in Kafka.
const RULES_PER_REQUEST_MAX: usize = 10_000;

const ANY: i32 = 1;
const MATCH: i32 = 2;
const LITERAL: i32 = 3;
const PREFIXED: i32 = 4;
/// Kafka's resource types: topic 2, group 3, cluster 4, transactional id 5, delegation token 6, user 7.
const RESOURCE_TYPES: std::ops::RangeInclusive<i32> = 2..=7;
const CLUSTER: i32 = 4;
/// Kafka's operations: all 2 to two-phase commit 15.
const OPERATIONS: std::ops::RangeInclusive<i32> = 2..=15;
/// Deny 2, allow 3.
const PERMISSIONS: std::ops::RangeInclusive<i32> = 2..=3;

/// What a rule says; two rules that say the same are one.
type Meaning<'a> = (i32, &'a str, i32, &'a str, &'a str, i32, i32);

pub(super) fn meaning(acl: &Acl) -> Meaning<'_> {
    (
        acl.resource_type,
        &acl.resource_name,
        acl.pattern_type,
        &acl.principal,
        &acl.host,
        acl.operation,
        acl.permission_type,
    )
}

pub(super) fn create(draft: &mut Draft<'_, '_>, request: &CreateAcls) -> Result<Response, Refused> {
    limit(request.acls.len())?;
    let before = draft.image.clone();
    let mut known: BTreeSet<Meaning<'_>> = before.acls().map(meaning).collect();
    let items = request.acls.iter().map(|acl| {
        let result = check(acl);
        if result.is_ok() && known.insert(meaning(acl)) {
            let id = draft.fresh_id();
            draft.write(Fact::Acl(Acl {
                id: id.0.to_vec(),
                ..acl.clone()
            }));
        }
        item("", result)
    });
    let items = items.collect();
    Ok(of_items(items))
}

fn limit(rules: usize) -> Result<(), Refused> {
    if rules <= RULES_PER_REQUEST_MAX {
        return Ok(());
    }
    let message =
        format!("one request changes at most {RULES_PER_REQUEST_MAX} rules, not {rules}: send several");
    Err(refuse(Refusal::InvalidRequest, message))
}

/// Whether this can be a rule.
pub(super) fn check(acl: &Acl) -> Result<(), Refused> {
    let invalid = |message: String| Err(refuse(Refusal::InvalidRequest, message));
    if !RESOURCE_TYPES.contains(&acl.resource_type) {
        return invalid(format!(
            "{} is not a type of resource that rules are about",
            acl.resource_type
        ));
    }
    if !matches!(acl.pattern_type, LITERAL | PREFIXED) {
        return invalid("the pattern of a rule is literal or prefixed".to_owned());
    }
    if acl.resource_name.is_empty() {
        return invalid("a rule needs the name of a resource; `*` is all".to_owned());
    }
    if acl.resource_type == CLUSTER && acl.resource_name != crate::metadata::CLUSTER_RESOURCE {
        return invalid(format!(
            "the only cluster that rules can be about is `{}`",
            crate::metadata::CLUSTER_RESOURCE
        ));
    }
    if !OPERATIONS.contains(&acl.operation) {
        return invalid(format!(
            "{} is not an operation that a rule can be about",
            acl.operation
        ));
    }
    if !PERMISSIONS.contains(&acl.permission_type) {
        return invalid("a rule allows or denies".to_owned());
    }
    if acl.host.is_empty() {
        return invalid("a rule needs a host; `*` is all".to_owned());
    }
    match acl.principal.split_once(':') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(()),
        _ => invalid(format!(
            "`{}` is not a principal; `User:name` is one",
            acl.principal
        )),
    }
}

pub(super) fn delete(draft: &mut Draft<'_, '_>, request: &DeleteAcls) -> Result<Response, Refused> {
    let before = draft.image.clone();
    let mut gone: BTreeMap<Uuid, ()> = BTreeMap::new();
    let mut items = Vec::new();
    for filter in &request.filters {
        if let Err(refused) = check_filter(filter) {
            items.push(item("", Err(refused)));
            continue;
        }
        let found: Vec<Acl> = matching(&before, filter).cloned().collect();
        gone.extend(
            found
                .iter()
                .filter_map(|acl| Uuid::from_slice(&acl.id))
                .map(|id| (id, ())),
        );
        items.push(ItemResult {
            acls: found,
            ..ItemResult::default()
        });
    }
    limit(gone.len())?;
    for id in gone.into_keys() {
        draft.write(Fact::RemoveAcl(proto::RemoveAcl { id: id.0.to_vec() }));
    }
    Ok(of_items(items))
}

fn check_filter(filter: &AclFilter) -> Result<(), Refused> {
    let known = (filter.resource_type == ANY || RESOURCE_TYPES.contains(&filter.resource_type))
        && matches!(filter.pattern_type, ANY | MATCH | LITERAL | PREFIXED)
        && (filter.operation == ANY || OPERATIONS.contains(&filter.operation))
        && (filter.permission_type == ANY || PERMISSIONS.contains(&filter.permission_type));
    match known {
        true => Ok(()),
        false => Err(refuse(
            Refusal::InvalidRequest,
            "the filter asks for something that no rule can be",
        )),
    }
}

fn matching<'a>(image: &'a Image, filter: &'a AclFilter) -> impl Iterator<Item = &'a Acl> {
    image.acls().filter(move |acl| matches(filter, acl))
}

/// Whether a filter selects a rule. With the pattern type MATCH, the rules that are about the filter's resource (KIP-290).
#[must_use]
pub fn matches(filter: &AclFilter, acl: &Acl) -> bool {
    let is = |wanted: i32, actual: i32| wanted == ANY || wanted == actual;
    let says =
        |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
    is(filter.resource_type, acl.resource_type)
        && matches_pattern(filter, acl)
        && says(&filter.principal, &acl.principal)
        && says(&filter.host, &acl.host)
        && is(filter.operation, acl.operation)
        && is(filter.permission_type, acl.permission_type)
}

fn matches_pattern(filter: &AclFilter, acl: &Acl) -> bool {
    if !matches!(filter.pattern_type, ANY | MATCH) && filter.pattern_type != acl.pattern_type {
        return false;
    }
    let Some(name) = filter.resource_name.as_deref() else {
        return true;
    };
    if filter.pattern_type != MATCH {
        return name == acl.resource_name;
    }
    match acl.pattern_type {
        PREFIXED => name.starts_with(&acl.resource_name),
        _ => acl.resource_name == name || acl.resource_name == "*",
    }
}
