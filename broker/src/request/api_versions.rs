//! ApiVersions: what this broker serves (KIP-35, KIP-511, KIP-584).

use super::{ANNOUNCED, Context, Software};
use crate::metadata::FEATURES;
use flotilla_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use flotilla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use flotilla_protocol::{ApiKey, ErrorCode, Str};

/// Answers what is served, and what is finalized.
pub(super) async fn handle(ctx: &Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = [&request.client_software_name, &request.client_software_version];
    if ctx.version >= 3 && !named.iter().all(|name| is_software_name(name)) {
        return refusal(ErrorCode::InvalidRequest);
    }
    if ctx.version >= 3 {
        let [name, version] = named;
        *ctx.session.software.lock() = Software::named(name, version);
    }
    let latest = ctx.broker.metadata.latest();
    let supported_features = FEATURES
        .iter()
        // Clients before version 4 stumble over a minimum of 0 (KIP-1022).
        .filter(|feature| ctx.version >= 4 || feature.oldest > 0)
        .map(|feature| SupportedFeatureKey {
            name: Str::from_static(feature.name),
            min_version: level(feature.oldest),
            max_version: level(feature.newest),
        })
        .collect();
    let finalized_features = FEATURES
        .iter()
        .map(|feature| (feature.name, level(feature.level(&latest.image))))
        // What is off is not finalized.
        .filter(|(_, level)| *level > 0)
        .map(|(name, level)| FinalizedFeatureKey {
            name: Str::from_static(name),
            max_version_level: level,
            min_version_level: level,
        })
        .collect();
    ApiVersionsResponse {
        api_keys: announced(),
        supported_features,
        finalized_features_epoch: i64::try_from(latest.index).unwrap_or(i64::MAX),
        finalized_features,
        ..ApiVersionsResponse::default()
    }
}

/// As it goes over the wire.
fn level(level: i32) -> i16 {
    i16::try_from(level).unwrap_or(i16::MAX)
}

/// An error; a client that asked in too new a version is told the versions of this request, to ask again in one of them (KIP-511).
pub(super) fn refusal(error: ErrorCode) -> ApiVersionsResponse {
    let mut api_keys = announced();
    api_keys.retain(|api| {
        error == ErrorCode::UnsupportedVersion && api.api_key == i16::from(ApiKey::ApiVersions)
    });
    ApiVersionsResponse {
        error_code: error.into(),
        api_keys,
        ..ApiVersionsResponse::default()
    }
}

fn announced() -> Vec<ApiVersion> {
    ANNOUNCED
        .iter()
        .map(|(api, min, max)| ApiVersion {
            api_key: (*api).into(),
            min_version: *min,
            max_version: *max,
        })
        .collect()
}

/// Letters and digits at both ends, and between them also dots and dashes (KIP-511).
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let at_ends = [bytes.first(), bytes.last()]
        .iter()
        .all(|byte| byte.is_some_and(u8::is_ascii_alphanumeric));
    at_ends
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing;
    use flotilla_protocol::ApiKey;

    /// What users read about each API.
    const TABLE: &str = include_str!("../../../docs/apis.md");

    /// A row's name, key, Kafka's versions, and ours or the reason why there are none.
    fn row(line: &str) -> Option<[&str; 4]> {
        let cells: Vec<_> = line
            .trim()
            .strip_prefix('|')?
            .strip_suffix('|')?
            .split('|')
            .collect();
        let cells: [&str; 4] = cells.try_into().ok()?;
        let cells = cells.map(str::trim);
        cells[1].parse::<i16>().is_ok().then_some(cells)
    }

    fn range(oldest: i16, newest: i16) -> String {
        if oldest == newest {
            oldest.to_string()
        } else {
            format!("{oldest}-{newest}")
        }
    }

    fn request(name: &'static str) -> ApiVersionsRequest {
        ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: "1.0".into(),
        }
    }

    #[tokio::test]
    async fn announced_apis_are_told() {
        let ctx = testing::context(4);
        let response = handle(&ctx, request("librdkafka")).await;
        assert_eq!(response.error_code, ErrorCode::None);
        assert_eq!(response.api_keys.len(), ANNOUNCED.len());
    }

    #[tokio::test]
    async fn groups_of_newer_protocols_and_the_second_version_of_transactions_are_finalized() {
        for (version, supported) in [(3, 1), (4, 5)] {
            let response = handle(&testing::context(version), request("librdkafka")).await;
            assert_eq!(response.supported_features.len(), supported);
            let finalized = |name, level| FinalizedFeatureKey {
                name: Str::from_static(name),
                max_version_level: level,
                min_version_level: level,
            };
            assert_eq!(
                response.finalized_features,
                [
                    finalized("group.version", 1),
                    finalized("share.version", 1),
                    finalized("streams.version", 1),
                    finalized("transaction.version", 2)
                ]
            );
        }
    }

    #[tokio::test]
    async fn nameless_software_is_refused_since_version_3() {
        for name in ["", "-x", "x.", "a b"] {
            let response = handle(&testing::context(3), request(name)).await;
            assert_eq!(response.error_code, ErrorCode::InvalidRequest, "{name}");
        }
        let response = handle(&testing::context(2), ApiVersionsRequest::default()).await;
        assert_eq!(response.error_code, ErrorCode::None);
    }

    /// The right-hand side is what a client hears; the left-hand one what the table says. Where they differ, `docs/apis.md` is to be mended.
    #[tokio::test]
    async fn answer_is_kafkas_line_by_line_but_for_what_the_table_names() {
        let answered = handle(&testing::context(4), request("librdkafka")).await.api_keys;
        let rows: Vec<_> = TABLE.lines().filter_map(row).collect();
        let kafkas = (0..i16::MAX).filter_map(|key| ApiKey::try_from(key).ok());
        let expected: Vec<_> = kafkas
            .map(|api| {
                let key: i16 = api.into();
                let valid = api.valid_versions();
                // KAFKA-18659: announced, and refused.
                let oldest = if api == ApiKey::Produce { 0 } else { *valid.start() };
                let ours = answered.iter().find(|announced| announced.api_key == key);
                (
                    api.name().to_owned(),
                    key.to_string(),
                    range(oldest, *valid.end()),
                    ours.map(|ours| range(ours.min_version, ours.max_version)),
                )
            })
            .collect();
        let written: Vec<_> = rows
            .iter()
            .map(|[name, key, kafka, ours]| {
                assert!(
                    !ours.is_empty(),
                    "docs/apis.md does not say why {name} is not served"
                );
                let is_range = ours.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
                let ours = is_range.then(|| (*ours).to_owned());
                ((*name).to_owned(), (*key).to_owned(), (*kafka).to_owned(), ours)
            })
            .collect();
        for (written, expected) in written.iter().zip(&expected) {
            assert_eq!(
                written, expected,
                "docs/apis.md has another line than what is served"
            );
        }
        assert_eq!(
            written.len(),
            expected.len(),
            "docs/apis.md has not one line for each API"
        );
        assert_eq!(answered.len(), ANNOUNCED.len());
    }
}
