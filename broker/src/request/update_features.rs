//! UpdateFeatures: what all brokers have agreed on goes up, or down (KIP-584).

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_protocol::messages::update_features_request::FeatureUpdateKey;
use flotilla_protocol::messages::update_features_response::UpdatableFeatureResult;
use flotilla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::submit::{Outcome, submit};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// The last version whose answer names each feature.
const RESULTS_VERSION_MAX: i16 = 1;
/// The numbers of the two ways that version 0 knows.
const UPGRADE: i32 = 1;
const SAFE_DOWNGRADE: i32 = 2;

/// Finalizes all levels or none.
pub(super) async fn handle(ctx: &Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    if !ctx.allowed(Operation::Alter, ResourceType::Cluster, CLUSTER_RESOURCE) {
        return respond(Outcome::of(ErrorCode::ClusterAuthorizationFailed), Vec::new());
    }
    let updates = request.feature_updates.iter();
    let asked = Asked::UpdateFeatures(proto::UpdateFeatures {
        updates: updates.map(|update| of(ctx.version, update)).collect(),
    });
    let outcome = match submit(ctx, request.timeout_ms, request.validate_only, asked).await {
        Ok(_) => Outcome::DONE,
        Err(refused) => refused,
    };
    // What is refused as a whole names no feature.
    let results = if ctx.version <= RESULTS_VERSION_MAX && outcome == Outcome::DONE {
        let updates = request.feature_updates.into_iter();
        updates.map(|update| result(update.feature, &outcome)).collect()
    } else {
        Vec::new()
    };
    respond(outcome, results)
}

fn of(version: i16, update: &FeatureUpdateKey) -> proto::FeatureUpdate {
    proto::FeatureUpdate {
        name: update.feature.to_string(),
        level: update.max_version_level.into(),
        upgrade_type: match version {
            0 if update.allow_downgrade => SAFE_DOWNGRADE,
            0 => UPGRADE,
            _ => update.upgrade_type.into(),
        },
    }
}

fn result(feature: Str, outcome: &Outcome) -> UpdatableFeatureResult {
    UpdatableFeatureResult {
        feature,
        error_code: outcome.code(),
        error_message: outcome.message.clone(),
    }
}

fn respond(outcome: Outcome, results: Vec<UpdatableFeatureResult>) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse {
        error_code: outcome.code(),
        error_message: outcome.message,
        results,
        ..UpdateFeaturesResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Authorizer, Principal};
    use crate::broker::Broker;
    use crate::metadata::Feature;
    use crate::replica::testing::{broker, image};
    use crate::request::api_versions;
    use crate::request::testing::context_of;
    use flotilla_protocol::messages::ApiVersionsRequest;

    const TRANSACTIONS: &str = "transaction.version";

    fn context(authorizer: Authorizer) -> Context {
        let broker = Broker::in_memory_with(image([broker(0, 1)]), authorizer);
        context_of(broker, Principal::user("clerk"), 2)
    }

    fn update(feature: &'static str, max_version_level: i16, upgrade_type: i8) -> FeatureUpdateKey {
        FeatureUpdateKey {
            feature: feature.into(),
            max_version_level,
            upgrade_type,
            ..FeatureUpdateKey::default()
        }
    }

    async fn updated(ctx: &Context, updates: Vec<FeatureUpdateKey>, validate_only: bool) -> ErrorCode {
        let request = UpdateFeaturesRequest {
            feature_updates: updates,
            validate_only,
            ..UpdateFeaturesRequest::default()
        };
        handle(ctx, request).await.error_code.into()
    }

    fn level(ctx: &Context, name: &str) -> i32 {
        Feature::named(name).expect("a feature").level(&ctx.image())
    }

    #[tokio::test]
    async fn level_goes_down_and_up_again_and_clients_are_told() {
        let ctx = context(Authorizer::none());
        for (to, way) in [(1, 2), (0, 3), (0, 1), (2, 1), (2, 2)] {
            let done = updated(&ctx, vec![update(TRANSACTIONS, to, way)], false).await;
            assert_eq!(done, ErrorCode::None, "to {to} by way {way}");
            assert_eq!(level(&ctx, TRANSACTIONS), i32::from(to));
            let asked = ApiVersionsRequest {
                client_software_name: "test".into(),
                client_software_version: "1".into(),
            };
            let told = api_versions::handle(&ctx, asked).await.finalized_features;
            let told = told.iter().find(|feature| feature.name == TRANSACTIONS);
            // What is off is not named.
            assert_eq!(told.map(|one| one.max_version_level), (to > 0).then_some(to));
        }
    }

    #[tokio::test]
    async fn dry_run_says_what_would_be_and_changes_nothing() {
        let ctx = context(Authorizer::none());
        let down = || vec![update(TRANSACTIONS, 1, 2)];
        assert_eq!(updated(&ctx, down(), true).await, ErrorCode::None);
        assert_eq!(level(&ctx, TRANSACTIONS), 2);
        let refused = updated(&ctx, vec![update(TRANSACTIONS, 3, 1)], true).await;
        assert_eq!(refused, ErrorCode::InvalidUpdateVersion);
    }

    #[tokio::test]
    async fn one_level_that_cannot_be_holds_all_of_them_up() {
        let ctx = context(Authorizer::none());
        let updates = vec![update(TRANSACTIONS, 1, 2), update("metadata.version", 29, 1)];
        let refused = updated(&ctx, updates.clone(), false).await;
        assert_eq!(refused, ErrorCode::InvalidUpdateVersion);
        assert_eq!(level(&ctx, TRANSACTIONS), 2);
        // Before version 2 the answer names each feature, where it is not refused.
        let ctx = Context { version: 1, ..ctx };
        let request = UpdateFeaturesRequest {
            feature_updates: updates,
            ..UpdateFeaturesRequest::default()
        };
        let answered = handle(&ctx, request).await;
        assert_eq!(
            ErrorCode::from(answered.error_code),
            ErrorCode::InvalidUpdateVersion
        );
        assert_eq!(answered.results, []);
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update(TRANSACTIONS, 1, 2)],
            ..UpdateFeaturesRequest::default()
        };
        let answered = handle(&ctx, request).await;
        let results = answered.results.iter();
        let results: Vec<_> = results
            .map(|one| (one.feature.as_str(), ErrorCode::from(one.error_code)))
            .collect();
        assert_eq!(results, [(TRANSACTIONS, ErrorCode::None)]);
    }

    #[tokio::test]
    async fn version_0_says_whether_it_may_go_down() {
        let ctx = Context {
            version: 0,
            ..context(Authorizer::none())
        };
        for (allow_downgrade, expected) in [(false, ErrorCode::InvalidUpdateVersion), (true, ErrorCode::None)]
        {
            let down = FeatureUpdateKey {
                allow_downgrade,
                ..update(TRANSACTIONS, 1, 1)
            };
            assert_eq!(updated(&ctx, vec![down], false).await, expected);
        }
    }

    #[tokio::test]
    async fn who_may_not_alter_the_cluster_changes_nothing() {
        let ctx = context(Authorizer::acl(["User:admin"], false));
        let refused = updated(&ctx, vec![update(TRANSACTIONS, 1, 2)], false).await;
        assert_eq!(refused, ErrorCode::ClusterAuthorizationFailed);
        assert_eq!(level(&ctx, TRANSACTIONS), 2);
    }
}
