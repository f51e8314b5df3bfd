//! FindCoordinator: which broker a group's members, a transactional producer, or the leaders of a share group's partitions
//! talk to.

use flotilla_protocol::messages::find_coordinator_response::Coordinator;
use flotilla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use flotilla_protocol::{BrokerId, ErrorCode, Str};

use super::coordinator::wire;
use super::{CLUSTER, Context};
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;
use crate::share::SharePartition;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The first version that knows share partitions (KIP-932).
const SHARE_VERSION: i16 = 6;

/// Finds the coordinator of one key, and since version 4 of several (KIP-699).
pub(super) async fn handle(ctx: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let broker = &ctx.broker;
    let (controller, settings) = (&broker.controller, broker.settings());
    let quorum = &broker.config.quorum;
    let fleet_size = quorum.peers.len().max(quorum.voters.len()).max(1);
    match request.key_type {
        // The first who looks for a coordinator brings the topic into being that holds their state.
        GROUP => {
            broker
                .groups
                .ensure_topic(controller, &settings, fleet_size)
                .await;
        }
        TRANSACTION => {
            let transactions = &broker.transactions;
            transactions.ensure_topic(controller, &settings, fleet_size).await;
        }
        SHARE => {
            let states = &broker.share_states;
            states.ensure_topic(controller, &settings, fleet_size).await;
        }
        _ => {}
    }
    let image = ctx.image();
    if ctx.version >= 4 {
        let keys = request.coordinator_keys.into_iter();
        return FindCoordinatorResponse {
            coordinators: keys.map(|key| find(ctx, &image, request.key_type, key)).collect(),
            ..FindCoordinatorResponse::default()
        };
    }
    let found = find(ctx, &image, request.key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

fn find(ctx: &Context, image: &Image, key_type: i8, key: Str) -> Coordinator {
    match key_type {
        GROUP if !ctx.allowed_in(image, Operation::Describe, ResourceType::Group, &key) => {
            refusal(key, ErrorCode::GroupAuthorizationFailed, None)
        }
        GROUP => {
            let leader = ctx.broker.groups.coordinator_of(image, &key);
            found(ctx, image, key, leader)
        }
        TRANSACTION if !ctx.allowed_in(image, Operation::Describe, ResourceType::TransactionalId, &key) => {
            refusal(key, ErrorCode::TransactionalIdAuthorizationFailed, None)
        }
        TRANSACTION if key.is_empty() => refusal(
            key,
            ErrorCode::InvalidRequest,
            Some("a transactional id must not be empty"),
        ),
        TRANSACTION => {
            let leader = ctx.broker.transactions.coordinator_of(image, &key);
            found(ctx, image, key, leader)
        }
        SHARE if ctx.version >= SHARE_VERSION => {
            if !ctx.allowed_in(image, Operation::ClusterAction, ResourceType::Cluster, CLUSTER) {
                return refusal(key, ErrorCode::ClusterAuthorizationFailed, None);
            }
            if SharePartition::parse(&key).is_none() {
                let why =
                    "a share partition is named by group, topic id and partition, with colons between them";
                return refusal(key, ErrorCode::InvalidRequest, Some(why));
            }
            let leader = ctx.broker.share_states.coordinator_of(image, &key);
            found(ctx, image, key, leader)
        }
        _ => refusal(
            key,
            ErrorCode::InvalidRequest,
            Some("coordinators of this type are not supported"),
        ),
    }
}

fn found(ctx: &Context, image: &Image, key: Str, leader: Option<BrokerId>) -> Coordinator {
    let broker = leader
        .and_then(|id| ctx.broker.present(image, id))
        .filter(|broker| broker.is_alive());
    let endpoint = broker.and_then(|broker| match ctx.session.is_replication_listener() {
        true => broker.replication.as_ref(),
        false => broker.endpoint(&ctx.session.listener),
    });
    match (broker, endpoint) {
        (Some(broker), Some(endpoint)) => Coordinator {
            key,
            node_id: broker.id.0,
            host: wire(&endpoint.host),
            port: i32::try_from(endpoint.port).unwrap_or(-1),
            ..Coordinator::default()
        },
        _ => refusal(key, ErrorCode::CoordinatorNotAvailable, None),
    }
}

fn refusal(key: Str, error: ErrorCode, message: Option<&'static str>) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        host: Str::EMPTY,
        port: -1,
        error_code: error.into(),
        error_message: Some(Str::from_static(message.unwrap_or(error.message()))),
    }
}
