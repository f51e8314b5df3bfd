//! DeleteGroups: empty groups, with their offsets.

use std::collections::BTreeMap;

use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::delete_groups_response::DeletableGroupResult;
use flotilla_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use futures::future::join_all;

use super::Context;
use super::coordinator::{code, code_of, text, wire};
use super::share_offsets::{forget, standing};
use crate::auth::{Operation, ResourceType};
use crate::group::{Reply, Request, Text};

/// Deletes each group that may be deleted, once, however often it is named.
pub(super) async fn handle(ctx: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let image = ctx.image();
    let mut results: Vec<(Text, ErrorCode)> = Vec::new();
    let mut by_partition: BTreeMap<_, Vec<Text>> = BTreeMap::new();
    let mut names: Vec<Text> = request.groups_names.iter().map(|name| text(name)).collect();
    names.sort();
    names.dedup();
    for name in names {
        if ctx.allowed_in(&image, Operation::Delete, ResourceType::Group, &name) {
            let partition = ctx.broker.groups.partition_of(&image, &name);
            by_partition.entry(partition).or_default().push(name);
        } else {
            results.push((name, ErrorCode::GroupAuthorizationFailed));
        }
    }
    let asked = by_partition.into_iter().map(async |(partition, groups)| {
        let Some(partition) = partition else {
            let codes = vec![ErrorCode::NotCoordinator; groups.len()];
            return (groups, codes);
        };
        let stuck = join_all(groups.iter().map(|group| forget_deliveries(ctx, group))).await;
        let reply = ctx
            .broker
            .groups
            .ask_shard(partition, Request::Delete(groups.clone()))
            .await;
        let codes: Vec<ErrorCode> = match reply {
            Reply::Delete(Ok(results)) => results.iter().map(code_of).collect(),
            Reply::Delete(Err(error)) => vec![code(error); groups.len()],
            _ => vec![ErrorCode::UnknownServerError; groups.len()],
        };
        // The group is there still where something is stored of it, and says why.
        let codes = stuck
            .into_iter()
            .zip(codes)
            .map(|(stuck, code)| stuck.unwrap_or(code));
        (groups, codes.collect::<Vec<_>>())
    });
    for (groups, codes) in join_all(asked).await {
        results.extend(groups.into_iter().zip(codes));
    }
    DeleteGroupsResponse {
        results: results
            .into_iter()
            .map(|(name, error)| DeletableGroupResult {
                group_id: wire(&name),
                error_code: error.into(),
            })
            .collect(),
        ..DeleteGroupsResponse::default()
    }
}

/// Of a share group without members, all that is stored of its deliveries goes first. Some: it did not.
async fn forget_deliveries(ctx: &Context, group: &Text) -> Option<ErrorCode> {
    let deleting = Request::ShareDeleting {
        group: group.clone(),
        topics: None,
    };
    // Whoever is no share group, or has members, hears that with the rest.
    let standing = standing(ctx, group, deleting).await.ok()?;
    let outcomes = forget(ctx, group, standing.partitions.deleting.keys().copied()).await;
    let failed = outcomes.into_values().find_map(Result::err);
    failed.map(super::share_state::code)
}
