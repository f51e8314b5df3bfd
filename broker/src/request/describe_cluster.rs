//! DescribeCluster: the brokers, without topics (KIP-700, KIP-919, KIP-1073).

use super::partition_view::controller_id;
use super::{Context, OPERATIONS_NOT_ASKED};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use flotilla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use flotilla_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use flotilla_protocol::{ErrorCode, Str};

/// Kafka's number for the endpoints of brokers; 2 is those of controllers, which no client of ours reaches.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers it.
pub(super) async fn handle(ctx: &Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this is the endpoint of a broker, not of a controller",
        )),
        _ => Some((
            ErrorCode::UnsupportedEndpointType,
            "there are endpoints of type 1 (brokers) and 2 (controllers)",
        )),
    };
    if let Some((error, message)) = refusal {
        return DescribeClusterResponse {
            error_code: error.into(),
            error_message: Some(message.into()),
            endpoint_type: BROKERS,
            ..DescribeClusterResponse::default()
        };
    }
    let image = ctx.image();
    let brokers = image
        .brokers()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = brokers.filter_map(|broker| {
        let endpoint = ctx.endpoint(broker)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: Str::copy_from(&endpoint.host),
            port: i32::try_from(endpoint.port).ok()?,
            rack: broker.rack().map(Str::copy_from),
            is_fenced: broker.fenced,
        })
    });
    let may_describe = || {
        ctx.allowed_in(
            &image,
            Operation::Describe,
            ResourceType::Cluster,
            CLUSTER_RESOURCE,
        )
    };
    let operations = match request.include_cluster_authorized_operations {
        false => OPERATIONS_NOT_ASKED,
        true if may_describe() => ctx.authorized_operations(&image, ResourceType::Cluster, CLUSTER_RESOURCE),
        true => 0,
    };
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: Str::copy_from(&ctx.broker.cluster_id),
        controller_id: controller_id(ctx, &image),
        brokers: brokers.collect(),
        cluster_authorized_operations: operations,
        ..DescribeClusterResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Principal;
    use crate::broker::Broker;
    use crate::metadata::Fact;
    use crate::request::testing::{self, context_of};

    fn context() -> Context {
        let brokers =
            [(0, false), (1, true)].map(|(id, fenced)| Fact::Broker(testing::broker_record(id, fenced)));
        context_of(
            Broker::in_memory(testing::image(brokers)),
            Principal::anonymous(),
            2,
        )
    }

    #[tokio::test]
    async fn fenced_brokers_are_told_when_asked_for() {
        let request = |include_fenced_brokers| DescribeClusterRequest {
            endpoint_type: BROKERS,
            include_fenced_brokers,
            ..DescribeClusterRequest::default()
        };
        let told = |response: DescribeClusterResponse| -> Vec<(i32, bool)> {
            response
                .brokers
                .iter()
                .map(|broker| (broker.broker_id, broker.is_fenced))
                .collect()
        };
        assert_eq!(told(handle(&context(), request(false)).await), [(0, false)]);
        assert_eq!(
            told(handle(&context(), request(true)).await),
            [(0, false), (1, true)]
        );
    }

    #[tokio::test]
    async fn endpoints_of_controllers_are_refused() {
        for (endpoint_type, error) in [
            (2, ErrorCode::MismatchedEndpointType),
            (7, ErrorCode::UnsupportedEndpointType),
        ] {
            let request = DescribeClusterRequest {
                endpoint_type,
                ..DescribeClusterRequest::default()
            };
            assert_eq!(handle(&context(), request).await.error_code, error);
        }
    }
}
