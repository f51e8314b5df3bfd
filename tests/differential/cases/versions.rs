//! What brokers announce, and what they do with versions and frames that they cannot read.

use flotilla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use flotilla_protocol::{ApiKey, ErrorCode, Message as _, frame};

use crate::answer::Value;
use crate::case::{Case, Expected, case, raw};

pub fn cases() -> Vec<Case> {
    let mut cases = api_versions();
    for api in (0..=i16::from(u8::MAX)).filter_map(|key| ApiKey::try_from(key).ok()) {
        if api != ApiKey::ApiVersions {
            cases.push(unreadable(api, "a version that there is not", |_| i16::MAX));
        }
        // The two with versions that have no fields.
        if !matches!(api, ApiKey::ApiVersions | ApiKey::ListGroups) {
            cases.push(unreadable(
                api,
                "a request that ends after its header",
                |version| version,
            ));
        }
    }
    cases
}

fn api_versions() -> Vec<Case> {
    use ErrorCode as E;
    vec![
        case("what is announced", E::None, |at| {
            let told = at.version >= 3;
            Ok(ApiVersionsRequest {
                client_software_name: if told { "differential".into() } else { "".into() },
                client_software_version: if told { "1.0".into() } else { "".into() },
            })
        }),
        case("a software name that is not valid", E::InvalidRequest, |_| {
            Ok(ApiVersionsRequest {
                client_software_name: "a name!".into(),
                client_software_version: "1.0".into(),
            })
        })
        .versions(3..=i16::MAX),
        case("a software version that is not valid", E::InvalidRequest, |_| {
            Ok(ApiVersionsRequest {
                client_software_name: "differential".into(),
                client_software_version: "".into(),
            })
        })
        .versions(3..=i16::MAX),
        raw(
            ApiKey::ApiVersions,
            "a version that there is not",
            E::UnsupportedVersion,
            |_| framed(ApiKey::ApiVersions, 99, &[0]),
            |answer| {
                // Of version 0, as the request of whoever knows nothing yet (KIP-511).
                let (_, mut reader) = frame::decode_response(answer, ApiKey::ApiVersions, 0)?;
                Ok(Value::of(&ApiVersionsResponse::decode(&mut reader, 0)?))
            },
        )
        .versions(0..=0),
    ]
}

fn unreadable(api: ApiKey, name: &'static str, version: fn(i16) -> i16) -> Case {
    raw(
        api,
        name,
        Expected::Closed,
        move |of_case| framed(api, version(of_case), &[]),
        |_| Ok(Value::List(Vec::new())),
    )
}

/// A request's header of version 1, without a client id, and what follows.
fn framed(api: ApiKey, version: i16, rest: &[u8]) -> Vec<u8> {
    let head = [
        &i16::from(api).to_be_bytes()[..],
        &version.to_be_bytes(),
        &7_i32.to_be_bytes(),
        &(-1_i16).to_be_bytes(),
    ]
    .concat();
    let size = (head.len() + rest.len()) as i32;
    [&size.to_be_bytes()[..], &head, rest].concat()
}
