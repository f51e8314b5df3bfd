//! What the handlers for the offsets of share groups have in common (KIP-932).

use std::collections::{BTreeMap, BTreeSet};

use flotilla_protocol::Uuid;
use futures::future::join_all;

use super::Context;
use crate::group::share::Standing;
use crate::group::{Error, Reply, Request, Text};
use crate::share::{self, SharePartition};
use crate::share_runtime;

/// Asks the coordinator of a share group what is stored of its deliveries, or to prepare a change of it.
pub(super) async fn standing(ctx: &Context, group: &str, request: Request) -> Result<Standing, Error> {
    match ctx.broker.groups.ask(group, request).await {
        Reply::ShareStanding(standing) => standing,
        _ => Err(Error::Unexpected),
    }
}

/// Deletes what is stored of topics that a group is done with, and tells the group. Gives how it went for each; a topic that
/// failed stays about to be deleted.
pub(super) async fn forget(
    ctx: &Context,
    group: &Text,
    topics: impl IntoIterator<Item = Uuid>,
) -> BTreeMap<Uuid, Result<(), share::Error>> {
    let image = ctx.image();
    let deleted = topics.into_iter().map(async |topic_id| {
        // What is stored of a topic that is gone, its coordinators forget by themselves.
        let count = image
            .topic_by_id(topic_id)
            .map_or(0, |topic| topic.partition_count());
        let partitions = (0..i32::try_from(count).unwrap_or(i32::MAX)).map(async |partition| {
            let request = share::Request::Delete(SharePartition {
                group: group.clone(),
                topic_id,
                partition,
            });
            match share_runtime::ask(&ctx.broker, request).await {
                share::Reply::Done(outcome) => outcome,
                _ => Err(share::Error::Unexpected),
            }
        });
        (topic_id, join_all(partitions).await.into_iter().collect())
    });
    let deleted: BTreeMap<Uuid, Result<(), share::Error>> = join_all(deleted).await.into_iter().collect();
    let done: BTreeSet<Uuid> = deleted
        .iter()
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(topic_id, _)| *topic_id)
        .collect();
    if !done.is_empty() {
        let request = Request::ShareDeleted {
            group: group.clone(),
            topics: done,
        };
        // Should it be lost, they stay about to be deleted, which is the same for whoever reads next.
        drop(ctx.broker.groups.ask(group, request).await);
    }
    deleted
}
