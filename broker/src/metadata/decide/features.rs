//! What the whole fleet supports, finalized (KIP-584).

use flotilla_control::proto::metadata::{FeatureLevel, FeatureUpdate, Refusal, Response, UpdateFeatures};

use super::{Draft, Refused, refuse};
use crate::metadata::feature::{FEATURES, Feature};
use crate::metadata::{Broker, Fact};

pub(super) use crate::metadata::feature::FLOTILLA_FEATURE as FEATURE;

/// The highest `flotilla.version` whose records this binary writes.
pub const FLOTILLA_VERSION: i32 = 1;
/// Kafka's numbers for the ways of an update.
const UPGRADE: i32 = 1;
const SAFE_DOWNGRADE: i32 = 2;
const UNSAFE_DOWNGRADE: i32 = 3;

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
    if let Some(message) = held_back(draft, request.level) {
        return Err(refuse(Refusal::UnsupportedVersion, message));
    }
    if request.level != now {
        write(draft, FEATURE, request.level);
    }
    Ok(Response::default())
}

/// Why a broker keeps `flotilla.version` from that level, if one does.
fn held_back(draft: &Draft<'_, '_>, level: i32) -> Option<String> {
    let too_old = |broker: &&std::sync::Arc<Broker>| broker.flotilla_version_max < level;
    let old = draft.image.brokers().find(too_old)?;
    Some(format!(
        "broker {} ({}) supports {FEATURE} only up to {}; upgrade it first",
        old.id, old.version, old.flotilla_version_max
    ))
}

fn write(draft: &mut Draft<'_, '_>, name: &str, level: i32) {
    draft.write(Fact::FeatureLevel(FeatureLevel {
        name: name.to_owned(),
        level,
    }));
}

/// Levels go where their updates say, all of them or none (KIP-584).
pub(super) fn update(draft: &mut Draft<'_, '_>, request: &UpdateFeatures) -> Result<Response, Refused> {
    for update in &request.updates {
        let (name, level) = (&update.name, update.level);
        let changes = is_change(draft, update).map_err(|reason| {
            let message = format!("no feature was changed: {name} cannot be at level {level}: {reason}");
            refuse(Refusal::InvalidUpdateVersion, message)
        })?;
        if changes {
            write(draft, name, level);
        }
    }
    Ok(Response::default())
}

/// Whether the update changes a level, or why it may not.
fn is_change(draft: &Draft<'_, '_>, update: &FeatureUpdate) -> Result<bool, String> {
    let (name, level) = (update.name.as_str(), update.level);
    let may_go_down = match update.upgrade_type {
        UPGRADE => false,
        SAFE_DOWNGRADE | UNSAFE_DOWNGRADE => true,
        other => return Err(format!("there is no upgrade type {other}")),
    };
    let feature = Feature::named(name).ok_or_else(|| {
        let names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
        format!("brokers know no such feature, but {}", names.join(", "))
    })?;
    let now = feature.level(&draft.image);
    // Records of it may be in the log.
    if name == FEATURE && level < now {
        return Err(format!("it is at {now}, and never goes down"));
    }
    if !(feature.oldest..=feature.newest).contains(&level) {
        let (oldest, newest) = (feature.oldest, feature.newest);
        return Err(format!("brokers support {oldest} to {newest}"));
    }
    if level < now && !may_go_down {
        return Err(format!("it is at {now}, and an upgrade does not go down"));
    }
    if level > now && may_go_down {
        return Err(format!("it is at {now}, and a downgrade does not go up"));
    }
    if name == FEATURE
        && let Some(message) = held_back(draft, level)
    {
        return Err(message);
    }
    Ok(level != now)
}
