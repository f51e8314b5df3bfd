//! ListConfigResources: what there is that has settings (KIP-714, KIP-1142).

use flotilla_control::proto::metadata as proto;
use flotilla_protocol::messages::list_config_resources_response::ConfigResource;
use flotilla_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::alter_configs::BROKER_LOGGER;
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::Image;

const TOPIC: i8 = proto::ResourceType::Topic as i8;
const BROKER: i8 = proto::ResourceType::Broker as i8;
const CLIENT_METRICS: i8 = proto::ResourceType::ClientMetrics as i8;
const GROUP: i8 = proto::ResourceType::Group as i8;
/// What a client gets that names no types.
const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// Lists resources of the types that the client names, all where it names none. Version 0 knows subscriptions to client metrics alone.
pub(super) async fn handle(
    ctx: &Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let refused = |error: ErrorCode| ListConfigResourcesResponse {
        error_code: error.into(),
        ..ListConfigResourcesResponse::default()
    };
    if !ctx.allowed(
        Operation::DescribeConfigs,
        ResourceType::Cluster,
        CLUSTER_RESOURCE,
    ) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let types = match (ctx.version, request.resource_types.as_slice()) {
        (0, _) => &[CLIENT_METRICS][..],
        (_, []) => &ALL[..],
        (_, named) => named,
    };
    if !types.iter().all(|named| ALL.contains(named)) {
        return refused(ErrorCode::UnsupportedVersion);
    }
    let image = ctx.image();
    let config_resources = ALL.iter().filter(|kind| types.contains(kind)).flat_map(|kind| {
        names(&image, *kind)
            .into_iter()
            .map(move |resource_name| ConfigResource {
                resource_name,
                resource_type: *kind,
            })
    });
    ListConfigResourcesResponse {
        config_resources: config_resources.collect(),
        ..ListConfigResourcesResponse::default()
    }
}

/// Topics and brokers have settings whether any is set or not; groups and subscriptions are known by theirs.
fn names(image: &Image, kind: i8) -> Vec<Str> {
    match kind {
        TOPIC => image.topics().map(|topic| Str::from(&topic.name)).collect(),
        BROKER | BROKER_LOGGER => image
            .brokers()
            .map(|broker| Str::from(broker.id.to_string()))
            .collect(),
        CLIENT_METRICS => set(image, proto::ResourceType::ClientMetrics),
        _ => set(image, proto::ResourceType::Group),
    }
}

fn set(image: &Image, of: proto::ResourceType) -> Vec<Str> {
    image.configs(of).map(|(name, _)| Str::copy_from(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorizer, Principal};
    use crate::broker::Broker;
    use crate::metadata::Fact;
    use crate::replica::testing::{broker, image, topic};
    use crate::request::testing::context_of;

    fn context(version: i16, authorizer: Authorizer) -> Context {
        let group = Fact::Config(proto::Config {
            resource_type: proto::ResourceType::Group.into(),
            resource_name: "readers".to_owned(),
            key: "consumer.session.timeout.ms".to_owned(),
            value: Some("50000".to_owned()),
        });
        let image = image([broker(0, 1), broker(1, 1), topic("orders", 1), group]);
        let broker = Broker::in_memory_with(image, authorizer);
        context_of(broker, Principal::user("clerk"), version)
    }

    async fn listed(ctx: &Context, resource_types: &[i8]) -> (ErrorCode, Vec<(i8, String)>) {
        let request = ListConfigResourcesRequest {
            resource_types: resource_types.to_vec(),
        };
        let response = handle(ctx, request).await;
        let resources = response.config_resources.into_iter();
        (
            response.error_code.into(),
            resources
                .map(|resource| (resource.resource_type, resource.resource_name.into()))
                .collect(),
        )
    }

    #[tokio::test]
    async fn resources_are_listed_by_type() {
        let ctx = context(1, Authorizer::none());
        let all = [
            (2, "orders"),
            (4, "0"),
            (4, "1"),
            (8, "0"),
            (8, "1"),
            (32, "readers"),
        ];
        let all: Vec<_> = all.map(|(kind, name)| (kind, name.to_owned())).into();
        assert_eq!(listed(&ctx, &[]).await, (ErrorCode::None, all));
        let some = vec![(2, "orders".to_owned()), (32, "readers".to_owned())];
        assert_eq!(listed(&ctx, &[32, 2, 32]).await, (ErrorCode::None, some));
        // Version 0 lists subscriptions to client metrics, of which there are none.
        assert_eq!(
            listed(&context(0, Authorizer::none()), &[]).await,
            (ErrorCode::None, vec![])
        );
    }

    #[tokio::test]
    async fn unknown_types_and_strangers_are_refused() {
        let ctx = context(1, Authorizer::none());
        for unknown in [0, 3, 64, -1] {
            assert_eq!(
                listed(&ctx, &[2, unknown]).await,
                (ErrorCode::UnsupportedVersion, vec![])
            );
        }
        let stranger = context(1, Authorizer::acl(["User:admin"], false));
        assert_eq!(
            listed(&stranger, &[]).await,
            (ErrorCode::ClusterAuthorizationFailed, vec![])
        );
    }
}
