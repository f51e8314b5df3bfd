//! What ShareFetch and ShareAcknowledge have in common: whose session it is, what is said of records, and which partition
//! that is about (KIP-932).

use std::sync::Arc;

use flotilla_protocol::{ErrorCode, Offset, PartitionIndex, Str, Uuid};

use super::coordinator::{may_read_group, share_groups_off, text};
use super::{Context, error};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;
use crate::replica::PartitionKey;
use crate::share::{self, Acknowledgement, SessionRefused, Verdict};
use crate::share_runtime::{Failure, SessionKey};

/// The longest member id, as Kafka prints one.
const MEMBER_ID_BYTES_MAX: usize = 36;

/// A code and its words.
pub(super) type Refusal = (ErrorCode, Option<String>);

/// Whose session a request is of, if the client may.
pub(super) fn session_key(
    ctx: &Context,
    image: &Image,
    group: Option<&Str>,
    member: Option<&Str>,
) -> Result<SessionKey, Refusal> {
    if let Some(why) = share_groups_off(image) {
        return Err((ErrorCode::UnsupportedVersion, Some(why)));
    }
    let invalid = |message: &str| Err((ErrorCode::InvalidRequest, Some(message.to_owned())));
    let Some(group) = group else {
        return invalid("a share group's request needs a group id");
    };
    if !may_read_group(ctx, group) {
        return Err((ErrorCode::GroupAuthorizationFailed, None));
    }
    match member {
        Some(member) if !member.is_empty() && member.len() <= MEMBER_ID_BYTES_MAX => {
            Ok((text(group), text(member)))
        }
        _ => invalid("a share group's request needs a member id of 1 to 36 bytes"),
    }
}

pub(super) fn of_session(refused: SessionRefused) -> Refusal {
    let code = match refused {
        SessionRefused::NotFound => ErrorCode::ShareSessionNotFound,
        SessionRefused::InvalidEpoch => ErrorCode::InvalidShareSessionEpoch,
        SessionRefused::LimitReached => ErrorCode::ShareSessionLimitReached,
    };
    (code, Some(refused.to_string()))
}

/// The partition that a request names, if the client may read it.
pub(super) fn partition_key(
    ctx: &Context,
    image: &Image,
    topic_id: Uuid,
    partition: i32,
) -> Result<PartitionKey, ErrorCode> {
    let topic = image.topic_by_id(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    if !ctx.allowed_in(image, Operation::Read, ResourceType::Topic, &topic.name) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let partition = PartitionIndex(partition);
    match topic.partition(partition) {
        Some(_) => Ok(PartitionKey { topic_id, partition }),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// What is said of one batch of records, as it lies in both requests.
pub(super) struct Said<'a> {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) types: &'a [i8],
}

/// What is said of the records of a partition, checked as far as it can be without them. Locks can be renewed only by a
/// request that says so, which must not do anything else (KIP-1222).
pub(super) fn acknowledgements<'a>(
    said: impl Iterator<Item = Said<'a>>,
    may_renew: bool,
) -> Result<Vec<Acknowledgement>, ErrorCode> {
    let mut batches: Vec<Acknowledgement> = Vec::new();
    for one in said {
        let count = one
            .last
            .checked_sub(one.first)
            .and_then(|count| count.checked_add(1));
        let count = count.filter(|count| *count > 0 && one.first >= 0);
        let count = count.ok_or(ErrorCode::InvalidRequest)?;
        let is_complete = one.types.len() == 1 || i64::try_from(one.types.len()) == Ok(count);
        let is_in_order = batches.last().is_none_or(|before| before.last.0 < one.first);
        let verdicts: Option<Vec<Verdict>> = one.types.iter().map(|code| Verdict::from_code(*code)).collect();
        let verdicts = verdicts.filter(|verdicts| may_renew || !verdicts.contains(&Verdict::Renew));
        match verdicts {
            Some(verdicts) if is_complete && is_in_order => batches.push(Acknowledgement {
                first: Offset(one.first),
                last: Offset(one.last),
                verdicts,
            }),
            _ => return Err(ErrorCode::InvalidRequest),
        }
    }
    Ok(batches)
}

/// Has what a member says of records stored.
pub(super) async fn acknowledge(
    ctx: &Context,
    (group, member): &SessionKey,
    key: Result<PartitionKey, ErrorCode>,
    batches: Result<Vec<Acknowledgement>, ErrorCode>,
) -> Refusal {
    let (key, batches) = match (key, batches) {
        (Ok(key), Ok(batches)) => (key, batches),
        (Err(code), _) | (_, Err(code)) => return (code, Some(code.message().to_owned())),
    };
    match ctx.broker.share_acknowledge(group, member, key, &batches).await {
        Ok(()) => (ErrorCode::None, None),
        Err(failure) => (of_failure(&failure), Some(failure.to_string())),
    }
}

pub(super) fn of_failure(failure: &Failure) -> ErrorCode {
    match failure {
        Failure::Read(error) => error::of_read(error),
        // A later leader has taken over, or its state was set anew: the client looks for the leader.
        Failure::State(share::Error::FencedLeaderEpoch) => ErrorCode::NotLeaderOrFollower,
        Failure::State(error) => super::share_state::code(*error),
        Failure::Refused(share::Refused::InvalidRecordState) => ErrorCode::InvalidRecordState,
        Failure::Refused(share::Refused::InvalidRequest | share::Refused::RenewDisabled) => {
            ErrorCode::InvalidRequest
        }
        Failure::NotFetched => ErrorCode::UnknownTopicOrPartition,
    }
}

/// How long a lock lasts, in ms, as clients are told.
pub(super) fn lock_ms(ctx: &Context, image: &Arc<Image>, group: &str) -> i32 {
    let limits = crate::share_runtime::limits(&ctx.broker, image, group);
    i32::try_from(limits.lock_ms).unwrap_or(i32::MAX)
}
