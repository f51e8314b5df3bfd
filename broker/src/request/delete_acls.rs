//! DeleteAcls: all rules that filters select.

use flotilla_control::proto::metadata::request::Request as Asked;
use flotilla_control::proto::metadata::{Acl, AclFilter, DeleteAcls};
use flotilla_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use flotilla_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::describe_acls::{may, wire};
use super::submit::{Outcome, WAIT_DEFAULT_MS, submit};
use super::{Context, error};
use crate::auth::Operation;

/// Tells for each filter what went.
pub(super) async fn handle(ctx: &Context, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let filters = request.filters.iter().map(|filter| AclFilter {
        resource_type: filter.resource_type_filter.into(),
        resource_name: filter.resource_name_filter.as_ref().map(Str::to_string),
        pattern_type: filter.pattern_type_filter.into(),
        principal: filter.principal_filter.as_ref().map(Str::to_string),
        host: filter.host_filter.as_ref().map(Str::to_string),
        operation: filter.operation.into(),
        permission_type: filter.permission_type.into(),
    });
    let asked = Asked::DeleteAcls(DeleteAcls {
        filters: filters.collect(),
    });
    let decided = match may(ctx, Operation::Alter) {
        Ok(()) => submit(ctx, WAIT_DEFAULT_MS, false, asked).await,
        Err(outcome) => Err(outcome),
    };
    let filter_results = (0..request.filters.len()).map(|place| {
        let (outcome, gone) = match &decided {
            Ok(response) => match response.items.get(place) {
                Some(item) => (Outcome::from(error::of_item(item)), item.acls.as_slice()),
                None => (Outcome::of(ErrorCode::UnknownServerError), &[][..]),
            },
            Err(outcome) => (outcome.clone(), &[][..]),
        };
        DeleteAclsFilterResult {
            error_code: outcome.code(),
            error_message: outcome.message,
            matching_acls: gone.iter().map(matching).collect(),
        }
    });
    DeleteAclsResponse {
        filter_results: filter_results.collect(),
        ..DeleteAclsResponse::default()
    }
}

fn matching(acl: &Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_code: ErrorCode::None.code(),
        error_message: None,
        resource_type: wire(acl.resource_type),
        resource_name: Str::from(&acl.resource_name),
        pattern_type: wire(acl.pattern_type),
        principal: Str::from(&acl.principal),
        host: Str::from(&acl.host),
        operation: wire(acl.operation),
        permission_type: wire(acl.permission_type),
    }
}
