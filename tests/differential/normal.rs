//! What is of necessity different in two answers, by the names of fields, and how it is made comparable.

use flotilla_protocol::ApiKey;

use crate::answer::Value;

/// Drawn at random, counted up from where a broker happens to be or as often as it looks, or chosen by the system: only where they are the same within one
/// answer is compared, and whether there is a value at all.
pub const DRAWN: [&str; 17] = [
    "assignment_epoch",
    "cluster_id",
    "group_epoch",
    "hmac",
    "leader",
    "log_dir",
    "member_epoch",
    "member_id",
    "ongoing_txn_producer_id",
    "port",
    "producer_id",
    "replica_directory_id",
    "session_id",
    "token_id",
    "topic_id",
    "voter_directory_id",
    "finalized_features_epoch",
];

/// Times, and what else depends on when a broker was asked and where it runs: only whether there is a value is compared.
pub const TIMES: [&str; 15] = [
    "auth_bytes",
    "expiry_timestamp",
    "expiry_timestamp_ms",
    "issue_timestamp",
    "issue_timestamp_ms",
    "log_end_offset",
    "last_caught_up_timestamp",
    "last_fetch_timestamp",
    "last_timestamp",
    "log_append_time_ms",
    "max_timestamp",
    "max_timestamp_ms",
    "total_bytes",
    "transaction_start_time_ms",
    "usable_bytes",
];

/// The same of single APIs: how far the metadata log has grown.
pub const GROWN: [(ApiKey, &str); 2] = [
    (ApiKey::DescribeQuorum, "high_watermark"),
    (ApiKey::DescribeQuorum, "leader_epoch"),
];

/// Texts for people, each broker in its own words: only whether there is one is compared.
pub const TEXTS: [&str; 5] = [
    "acknowledge_error_message",
    "batch_index_error_message",
    "documentation",
    "error_message",
    "status_detail",
];

/// Lists that have no order.
pub const UNORDERED: [(ApiKey, &str); 18] = [
    (ApiKey::AddPartitionsToTxn, "results_by_topic_v3_and_below"),
    (ApiKey::ApiVersions, "api_keys"),
    (ApiKey::ApiVersions, "finalized_features"),
    (ApiKey::ApiVersions, "supported_features"),
    (ApiKey::CreateTopics, "configs"),
    (ApiKey::CreateTopics, "topics"),
    (ApiKey::DeleteAcls, "matching_acls"),
    (ApiKey::DescribeAcls, "acls"),
    (ApiKey::DescribeAcls, "resources"),
    (ApiKey::DescribeClientQuotas, "entity"),
    (ApiKey::DescribeClientQuotas, "entries"),
    (ApiKey::DescribeClientQuotas, "values"),
    (ApiKey::DescribeConfigs, "configs"),
    (ApiKey::DescribeGroups, "members"),
    (ApiKey::ListConfigResources, "config_resources"),
    (ApiKey::ListGroups, "groups"),
    (ApiKey::ListTransactions, "transaction_states"),
    (ApiKey::Metadata, "topics"),
];

/// Leaves of a list only what names a case.
pub fn keep_own(value: &mut Value, list: &str, name: &str) {
    each_field(value, &mut |field, value| {
        if let (true, Value::List(elements)) = (field == list, value) {
            elements.retain(|element| element.to_string().contains(name));
        }
    });
}

/// Makes an answer comparable with that of another broker.
pub fn normalise(api: ApiKey, value: &mut Value) {
    let mut seen = Vec::new();
    each_field(value, &mut |field, value| {
        if let (true, Value::List(elements)) = (UNORDERED.contains(&(api, field)), &mut *value) {
            elements.sort();
        }
        let Value::Leaf(text) = value else { return };
        if is_nothing(text) {
            return;
        }
        if DRAWN.contains(&field) {
            let number = seen.iter().position(|one| one == text).unwrap_or_else(|| {
                seen.push(text.clone());
                seen.len() - 1
            });
            *text = format!("(drawn {})", number + 1);
        } else if TIMES.contains(&field) || GROWN.contains(&(api, field)) {
            *text = "(a value)".to_owned();
        } else if TEXTS.contains(&field) {
            *text = "(a text)".to_owned();
        }
    });
}

/// What stands where there is no value, of each type.
fn is_nothing(text: &str) -> bool {
    matches!(text, "None" | "-1" | "0" | "\"\"" | "AAAAAAAAAAAAAAAAAAAAAA")
}

/// Outer fields first, so that lists are in order before what is in them is numbered.
fn each_field(value: &mut Value, visit: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Struct(fields) => {
            for (name, value) in fields {
                visit(name, value);
                each_field(value, visit);
            }
        }
        Value::List(elements) => elements.iter_mut().for_each(|element| each_field(element, visit)),
        Value::Leaf(_) => {}
    }
}
