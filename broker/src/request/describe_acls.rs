//! DescribeAcls: the rules that a filter selects.

use std::collections::BTreeMap;

use flotilla_control::proto::metadata::AclFilter;
use flotilla_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use flotilla_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use flotilla_protocol::{ErrorCode, Str};

use super::Context;
use super::submit::Outcome;
use crate::auth::{CLUSTER_RESOURCE, Operation, ResourceType};
use crate::metadata::{Acl, acl_matches};

/// Answers by resource.
pub(super) async fn handle(ctx: &Context, request: DescribeAclsRequest) -> DescribeAclsResponse {
    let image = ctx.image();
    if let Err(outcome) = may(ctx, Operation::Describe) {
        return DescribeAclsResponse {
            error_code: outcome.code(),
            error_message: outcome.message,
            ..DescribeAclsResponse::default()
        };
    }
    let filter = AclFilter {
        resource_type: request.resource_type_filter.into(),
        resource_name: request.resource_name_filter.as_ref().map(Str::to_string),
        pattern_type: request.pattern_type_filter.into(),
        principal: request.principal_filter.as_ref().map(Str::to_string),
        host: request.host_filter.as_ref().map(Str::to_string),
        operation: request.operation.into(),
        permission_type: request.permission_type.into(),
    };
    let mut by_resource: BTreeMap<(i32, i32, &str), Vec<AclDescription>> = BTreeMap::new();
    for acl in image.acls().filter(|acl| acl_matches(&filter, acl)) {
        let resource = (acl.resource_type, acl.pattern_type, acl.resource_name.as_str());
        by_resource.entry(resource).or_default().push(describe(acl));
    }
    let resources =
        by_resource.into_iter().map(
            |((resource_type, pattern_type, name), acls)| DescribeAclsResource {
                resource_type: wire(resource_type),
                resource_name: Str::copy_from(name),
                pattern_type: wire(pattern_type),
                acls,
            },
        );
    DescribeAclsResponse {
        resources: resources.collect(),
        ..DescribeAclsResponse::default()
    }
}

fn describe(acl: &Acl) -> AclDescription {
    AclDescription {
        principal: Str::from(&acl.principal),
        host: Str::from(&acl.host),
        operation: wire(acl.operation),
        permission_type: wire(acl.permission_type),
    }
}

/// Kafka's numbers are small; one that is not stands for nothing.
pub(super) fn wire(number: i32) -> i8 {
    i8::try_from(number).unwrap_or(0)
}

/// Whether the client may see or change rules, and there are rules at all.
pub(super) fn may(ctx: &Context, operation: Operation) -> Result<(), Outcome> {
    if !ctx.broker.authorizer.is_enforced() {
        let message = "this cluster has no access rules: its authorization is of type none";
        return Err(Outcome::because(ErrorCode::SecurityDisabled, message));
    }
    if ctx.allowed(operation, ResourceType::Cluster, CLUSTER_RESOURCE) {
        Ok(())
    } else {
        Err(Outcome::of(ErrorCode::ClusterAuthorizationFailed))
    }
}
