//! CreateAcls.

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{Acl, CreateAcls};
use flotilla_protocol::ErrorCode;
use flotilla_protocol::messages::create_acls_response::AclCreationResult;
use flotilla_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::describe_acls::may;
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use super::{Context, error};
use crate::auth::Operation;

/// Creates rules; one that is there already is as good as created.
pub(super) async fn handle(ctx: &Context, request: CreateAclsRequest) -> CreateAclsResponse {
    let asked = request.creations.iter().map(|rule| Acl {
        id: Vec::new(),
        resource_type: rule.resource_type.into(),
        resource_name: rule.resource_name.to_string(),
        pattern_type: rule.resource_pattern_type.into(),
        principal: rule.principal.to_string(),
        host: rule.host.to_string(),
        operation: rule.operation.into(),
        permission_type: rule.permission_type.into(),
    });
    let asked = Asked::CreateAcls(CreateAcls {
        acls: asked.collect(),
    });
    let decided = match may(ctx, Operation::Alter) {
        Ok(()) => submit(ctx, WAIT_DEFAULT_MS, false, asked).await,
        Err(outcome) => Err(outcome),
    };
    let outcome = |place: usize| match &decided {
        Ok(response) => {
            let unknown = || Outcome::of(ErrorCode::UnknownServerError);
            response
                .items
                .get(place)
                .map_or_else(unknown, |item| error::of_item(item).into())
        }
        Err(outcome) => outcome.clone(),
    };
    let results = (0..request.creations.len())
        .map(outcome)
        .map(|outcome| AclCreationResult {
            error_code: outcome.code(),
            error_message: outcome.message,
        });
    CreateAclsResponse {
        results: results.collect(),
        ..CreateAclsResponse::default()
    }
}
