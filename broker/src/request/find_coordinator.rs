//! FindCoordinator: which broker a group's members talk to.

use flotilla_protocol::messages::find_coordinator_response::Coordinator;
use flotilla_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::coordinator::wire;
use crate::auth::{Operation, ResourceType};
use crate::metadata::Image;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Finds the coordinator of one key, and since version 4 of several (KIP-699).
pub(super) async fn handle(ctx: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if request.key_type == GROUP {
        // The first who looks for a coordinator brings the topic into being that holds their state.
        let broker = &ctx.broker;
        let quorum = &broker.config.quorum;
        let fleet_size = quorum.peers.len().max(quorum.voters.len()).max(1);
        let settings = broker.settings();
        broker
            .groups
            .ensure_topic(&broker.controller, &settings, fleet_size)
            .await;
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
        GROUP => find_group(ctx, image, key),
        TRANSACTION if !ctx.allowed_in(image, Operation::Describe, ResourceType::TransactionalId, &key) => {
            refusal(key, ErrorCode::TransactionalIdAuthorizationFailed, None)
        }
        // "Not available" would have clients try for ever; this ends `initTransactions` with the reason.
        TRANSACTION => refusal(
            key,
            ErrorCode::InvalidRequest,
            Some("transactions are not supported yet"),
        ),
        _ => refusal(
            key,
            ErrorCode::InvalidRequest,
            Some("coordinators of this type are not supported"),
        ),
    }
}

fn find_group(ctx: &Context, image: &Image, key: Str) -> Coordinator {
    let leader = ctx.broker.groups.coordinator_of(image, &key);
    let broker = leader
        .filter(|id| image.is_alive(*id))
        .and_then(|id| image.broker(id));
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
