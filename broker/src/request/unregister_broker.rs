//! UnregisterBroker: forgets a broker that is gone for good (KIP-500).

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::Context;
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// Forgets the broker, if it holds nothing.
pub(super) async fn handle(ctx: &Context, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let outcome = if ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        let asked = Asked::UnregisterBroker(proto::UnregisterBroker {
            broker_id: request.broker_id,
        });
        match submit(ctx, WAIT_DEFAULT_MS, false, asked).await {
            Ok(_) => Outcome::DONE,
            Err(outcome) => outcome,
        }
    } else {
        Outcome::of(ErrorCode::ClusterAuthorizationFailed)
    };
    UnregisterBrokerResponse {
        error_code: outcome.code(),
        error_message: outcome.message,
        ..UnregisterBrokerResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorizer, Principal};
    use crate::broker::Broker;
    use crate::replica::testing::{broker, image, partition, topic};
    use crate::request::testing::context_of;
    use flotilla_protocol::BrokerId;

    /// Broker 1 holds a replica, broker 2 nothing.
    fn context(authorizer: Authorizer) -> Context {
        let image = image([
            broker(0, 1),
            broker(1, 1),
            broker(2, 1),
            topic("orders", 1),
            partition(1, 0, &[0, 1], &[0], 3),
        ]);
        let broker = Broker::in_memory_with(image, authorizer);
        context_of(broker, Principal::user("clerk"), 0)
    }

    async fn unregister(ctx: &Context, broker_id: i32) -> (ErrorCode, String) {
        let response = handle(ctx, UnregisterBrokerRequest { broker_id }).await;
        let message = response.error_message.map(String::from).unwrap_or_default();
        (response.error_code.into(), message)
    }

    #[tokio::test]
    async fn broker_that_holds_nothing_is_forgotten_once() {
        let ctx = context(Authorizer::none());
        assert_eq!(unregister(&ctx, 2).await, (ErrorCode::None, String::new()));
        assert!(ctx.image().broker(BrokerId(2)).is_none());
        assert_eq!(
            unregister(&ctx, 2).await,
            (
                ErrorCode::BrokerIdNotRegistered,
                "broker 2 is not registered".to_owned()
            )
        );
    }

    #[tokio::test]
    async fn broker_that_holds_replicas_is_kept() {
        let ctx = context(Authorizer::none());
        let (error, message) = unregister(&ctx, 1).await;
        assert_eq!(error, ErrorCode::PolicyViolation);
        assert!(message.contains("orders-0; drain it"), "{message}");
        assert!(ctx.image().broker(BrokerId(1)).is_some());
    }

    #[tokio::test]
    async fn who_may_not_alter_the_cluster_forgets_nothing() {
        let ctx = context(Authorizer::acl(["User:admin"], false));
        let (error, _) = unregister(&ctx, 2).await;
        assert_eq!(error, ErrorCode::ClusterAuthorizationFailed);
        assert!(ctx.image().broker(BrokerId(2)).is_some());
    }
}
