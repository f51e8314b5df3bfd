//! What the whole fleet supports, finalized (KIP-584).

use flotilla_control::proto::metadata::{FeatureLevel, Refusal, Response};

use super::{Draft, Refused, refuse};
use crate::metadata::Fact;

/// The feature that says which records may be written.
pub(super) const FEATURE: &str = "flotilla.version";
/// The highest `flotilla.version` whose records this binary writes.
pub const FLOTILLA_VERSION: i32 = 1;

/// A level is finalized once every registered broker supports it, and never taken back: records of it may be in the log.
pub(super) fn finalize(draft: &mut Draft<'_, '_>, request: &FeatureLevel) -> Result<Response, Refused> {
    if request.name != FEATURE {
        let message = format!("there is no feature `{}`; there is `{FEATURE}`", request.name);
        return Err(refuse(Refusal::InvalidRequest, message));
    }
    let now = draft.image.feature(FEATURE).unwrap_or(0);
    if request.level < now.max(1) {
        let message = format!(
            "{FEATURE} is finalized at {now} and cannot go down to {}",
            request.level
        );
        return Err(refuse(Refusal::UnsupportedVersion, message));
    }
    if request.level > FLOTILLA_VERSION {
        let message = format!("this controller supports {FEATURE} up to {FLOTILLA_VERSION}");
        return Err(refuse(Refusal::UnsupportedVersion, message));
    }
    if let Some(old) = draft
        .image
        .brokers()
        .find(|broker| broker.flotilla_version_max < request.level)
    {
        let message = format!(
            "broker {} ({}) supports {FEATURE} only up to {}; upgrade it first",
            old.id, old.version, old.flotilla_version_max
        );
        return Err(refuse(Refusal::UnsupportedVersion, message));
    }
    if request.level != now {
        draft.write(Fact::FeatureLevel(FeatureLevel {
            name: FEATURE.to_owned(),
            level: request.level,
        }));
    }
    Ok(Response::default())
}
