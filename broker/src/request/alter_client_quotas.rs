//! AlterClientQuotas (KIP-546).

use flotilla_control::proto::metadata as proto;
use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{AlterClientQuota, QuotaChange, QuotaEntity};
use flotilla_protocol::messages::alter_client_quotas_request::EntryData;
use flotilla_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, alter_client_quotas_response as answered,
};
use flotilla_protocol::{ErrorCode, Str};

use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use super::{Context, error};
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};

/// Changes the quotas of each entity, all that is asked for it or nothing.
pub(super) async fn handle(ctx: &Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let entries = request.entries.iter().map(asked).collect();
    let asked = Asked::AlterClientQuotas(proto::AlterClientQuotas { entries });
    let decided = if ctx.allowed(Operation::AlterConfigs, ResourceType::Cluster, CLUSTER_RESOURCE) {
        submit(ctx, WAIT_DEFAULT_MS, request.validate_only, asked).await
    } else {
        Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed))
    };
    let entries = request.entries.into_iter().enumerate().map(|(place, entry)| {
        let outcome = match &decided {
            Ok(response) => {
                let unknown = || Outcome::of(ErrorCode::UnknownServerError);
                response
                    .items
                    .get(place)
                    .map_or_else(unknown, |item| error::of_item(item).into())
            }
            Err(outcome) => outcome.clone(),
        };
        let entity = entry.entity.into_iter().map(|part| answered::EntityData {
            entity_type: part.entity_type,
            entity_name: part.entity_name,
        });
        answered::EntryData {
            error_code: outcome.code(),
            error_message: outcome.message,
            entity: entity.collect(),
        }
    });
    AlterClientQuotasResponse {
        entries: entries.collect(),
        ..AlterClientQuotasResponse::default()
    }
}

fn asked(entry: &EntryData) -> AlterClientQuota {
    AlterClientQuota {
        entity: entry
            .entity
            .iter()
            .map(|part| QuotaEntity {
                r#type: part.entity_type.to_string(),
                name: part.entity_name.as_ref().map(Str::to_string),
            })
            .collect(),
        changes: entry
            .ops
            .iter()
            .map(|change| QuotaChange {
                key: change.key.to_string(),
                value: (!change.remove).then_some(change.value),
            })
            .collect(),
    }
}
