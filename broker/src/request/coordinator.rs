//! What the handlers for groups have in common: their words for the coordinator's, and its errors on the wire.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use flotilla_protocol::{ErrorCode, Str};
use futures::future::join_all;

use super::Context;
use crate::auth::{Operation, ResourceType};
use crate::group::consumer::{Refused, Seen};
use crate::group::{Error, Reply, Request, Text};
use crate::metadata::{Feature, GROUP_FEATURE, Image, SHARE_FEATURE, STREAMS_FEATURE};

/// Why nothing of groups of the new protocol is answered (KIP-848), if they are off.
pub(super) fn consumer_groups_off(image: &Image) -> Option<String> {
    let level = Feature::named(GROUP_FEATURE).map_or(0, |feature| feature.level(image));
    (level < 1).then(|| {
        "groups of the consumer protocol are off: group.version is 0, kafka-features.sh raises it to 1"
            .to_owned()
    })
}

/// Why nothing of share groups is answered (KIP-932), if they are off.
pub(super) fn share_groups_off(image: &Image) -> Option<String> {
    let level = Feature::named(SHARE_FEATURE).map_or(0, |feature| feature.level(image));
    (level < 1)
        .then(|| "share groups are off: share.version is 0, kafka-features.sh raises it to 1".to_owned())
}

/// Why nothing of streams groups is answered (KIP-1071), if they are off.
pub(super) fn streams_groups_off(image: &Image) -> Option<String> {
    let level = Feature::named(STREAMS_FEATURE).map_or(0, |feature| feature.level(image));
    (level < 1)
        .then(|| "streams groups are off: streams.version is 0, kafka-features.sh raises it to 1".to_owned())
}

/// A description, or why there is none.
pub(super) type Found<T> = Result<T, (ErrorCode, Option<String>)>;

/// Has each group that the client may see described by the shard that it lives in; none where `off` says why not. `answered` takes the
/// answer apart, if it is one to the question.
pub(super) async fn describe<T>(
    ctx: &Context,
    image: &Image,
    off: Option<String>,
    names: Vec<Str>,
    question: impl Fn(Vec<Text>) -> Request,
    answered: impl Fn(Reply) -> Option<Result<Vec<Result<T, Refused>>, Error>>,
) -> Vec<(Str, Found<T>)> {
    let mut described: Vec<(Str, Found<T>)> = Vec::with_capacity(names.len());
    let mut by_partition: BTreeMap<_, Vec<Text>> = BTreeMap::new();
    for name in names {
        let refusal = if off.is_some() {
            (ErrorCode::UnsupportedVersion, off.clone())
        } else if !ctx.allowed_in(image, Operation::Describe, ResourceType::Group, &name) {
            (ErrorCode::GroupAuthorizationFailed, None)
        } else if name.is_empty() {
            (ErrorCode::InvalidGroupId, None)
        } else {
            let name = text(&name);
            let partition = ctx.broker.groups.partition_of(image, &name);
            by_partition.entry(partition).or_default().push(name);
            continue;
        };
        described.push((name, Err(refusal)));
    }
    let asked = by_partition.into_iter().map(async |(partition, names)| {
        let question = question(names.clone());
        let reply = match partition {
            Some(partition) => ctx.broker.groups.ask_shard(partition, question).await,
            None => question.refused(Error::NotCoordinator),
        };
        let found = answered(reply).unwrap_or(Err(Error::Unexpected));
        let found = found.unwrap_or_else(|error| names.iter().map(|_| Err(error.into())).collect());
        names.into_iter().zip(found).collect::<Vec<_>>()
    });
    let found = join_all(asked).await.into_iter().flatten();
    described.extend(found.map(|(name, found)| {
        let found = found.map_err(|Refused { error, message }| (code(error), message));
        (wire(&name), found)
    }));
    described
}

/// The code of a coordinator's refusal.
pub(super) fn code(error: Error) -> ErrorCode {
    match error {
        Error::InvalidGroupId => ErrorCode::InvalidGroupId,
        Error::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        Error::UnknownMember => ErrorCode::UnknownMemberId,
        Error::MemberIdRequired => ErrorCode::MemberIdRequired,
        Error::FencedInstance => ErrorCode::FencedInstanceId,
        Error::IllegalGeneration => ErrorCode::IllegalGeneration,
        Error::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
        Error::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
        Error::UnreleasedInstance => ErrorCode::UnreleasedInstanceId,
        Error::UnsupportedAssignor => ErrorCode::UnsupportedAssignor,
        Error::InvalidRegex => ErrorCode::InvalidRegularExpression,
        Error::InvalidTopology => ErrorCode::StreamsInvalidTopology,
        Error::InvalidRequest => ErrorCode::InvalidRequest,
        Error::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        Error::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        Error::GroupFull => ErrorCode::GroupMaxSizeReached,
        Error::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        Error::GroupNotFound => ErrorCode::GroupIdNotFound,
        Error::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        Error::SubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        Error::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        Error::UnstableOffset => ErrorCode::UnstableOffsetCommit,
        Error::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        Error::TransactionCoordinatorFenced => ErrorCode::TransactionCoordinatorFenced,
        Error::NotInTransaction => ErrorCode::InvalidTxnState,
        Error::NotCoordinator => ErrorCode::NotCoordinator,
        Error::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        Error::NotAvailable => ErrorCode::CoordinatorNotAvailable,
        Error::Unexpected => ErrorCode::UnknownServerError,
    }
}

/// The code of an outcome.
pub(super) fn code_of<T>(result: &Result<T, Error>) -> ErrorCode {
    result
        .as_ref()
        .err()
        .map_or(ErrorCode::None, |error| code(*error))
}

/// A copy of its own, so that what a group keeps does not keep the request's whole frame.
pub(super) fn text(wire: &str) -> Text {
    wire.into()
}

pub(super) fn optional_text(wire: Option<&Str>) -> Option<Text> {
    wire.map(|wire| text(wire))
}

pub(super) fn wire(text: &str) -> Str {
    Str::copy_from(text)
}

pub(super) fn optional_wire(text: Option<&Text>) -> Option<Str> {
    text.map(|text| wire(text))
}

/// The topics that there are, for coordinators that look at them.
pub(super) fn seen(ctx: &Context) -> Seen {
    let latest = ctx.broker.metadata.latest();
    Seen {
        index: latest.index,
        image: latest.image,
    }
}

/// Whether the client may act as a member of the group.
pub(super) fn may_read_group(ctx: &Context, group: &str) -> bool {
    ctx.allowed(Operation::Read, ResourceType::Group, group)
}
