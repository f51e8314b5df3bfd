use flotilla_crds::{User, UserStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::secret_name;
use crate::{Standing, conditions, paused};

/// The status of a User. The Secret is named from when it is there.
#[must_use]
pub fn status(user: &User, now: &Time, has_secret: bool, standing: &Standing) -> UserStatus {
    let previous = user.status.clone().unwrap_or_default();
    let generation = user.metadata.generation;
    UserStatus {
        observed_generation: generation,
        username: user.metadata.name.clone(),
        secret: has_secret
            .then(|| secret_name(user).to_owned())
            .or(previous.secret),
        conditions: conditions(&previous.conditions, generation, now, standing),
    }
}

/// The status of a User whose Cluster is paused.
#[must_use]
pub fn status_paused(user: &User, now: &Time) -> UserStatus {
    let previous = user.status.clone().unwrap_or_default();
    UserStatus {
        conditions: paused(&previous.conditions, user.metadata.generation, now),
        ..previous
    }
}

#[cfg(test)]
mod tests {
    use flotilla_crds::Reason;
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn status_is_whole() {
        let user = testing::user(json!({"type": "scram-sha-512"}));
        let now: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let standing = Standing::Working(Reason::ClusterNotFound, "there is no Cluster `events`".into());
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "ClusterNotFound", "message": "there is no Cluster `events`",
                "observedGeneration": 3, "lastTransitionTime": now,
            })
        };
        let mut expected = json!({
            "observedGeneration": 3,
            "username": "checkout",
            "conditions": [condition("Ready", "False"), condition("Reconciling", "True")],
        });
        assert_eq!(
            serde_json::to_value(status(&user, &now, false, &standing)).unwrap(),
            expected
        );
        expected["secret"] = "checkout".into();
        assert_eq!(
            serde_json::to_value(status(&user, &now, true, &standing)).unwrap(),
            expected
        );
    }
}
