use flotilla_crds::{Reason, User};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{Problem, namespace_of};

/// Which of several Users owns the name that all of them want: the older one, and of two from the same second the one whose uid comes
/// first.
#[must_use]
pub fn eldest<'a>(claimants: impl IntoIterator<Item = &'a User>) -> Option<&'a User> {
    claimants.into_iter().min_by_key(|user| age(user))
}

fn age(user: &User) -> (Option<Time>, Option<String>) {
    (
        user.metadata.creation_timestamp.clone(),
        user.metadata.uid.clone(),
    )
}

/// What the User that lost its name to another is told.
#[must_use]
pub fn conflict(user: &User, owner: &User) -> Problem {
    Problem::because(
        Reason::Conflict,
        "metadata.name",
        format!(
            "user `{}` belongs to the User of that name in namespace `{}`, which is older. Delete one of the two, or choose another name",
            user.metadata.name.as_deref().unwrap_or_default(),
            namespace_of(&owner.metadata),
        ),
    )
}

/// What a User of another namespace than the Cluster's is told when somebody made a user of its name by hand: it might take over rights that
/// were not meant for it.
#[must_use]
pub fn unowned(user: &User) -> Problem {
    Problem::because(
        Reason::Conflict,
        "metadata.name",
        format!(
            "user `{}` exists already and belongs to no resource: only a User in the Cluster's own namespace may adopt it. Choose another \
             name, or let the Cluster's owner delete it",
            user.metadata.name.as_deref().unwrap_or_default(),
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing;
    use super::*;

    #[test]
    fn older_user_owns_the_name_and_the_other_says_so() {
        let user = |namespace: &str, age: &str, uid: &str| {
            let mut user = testing::user(json!({"type": "mtls"}));
            user.metadata.namespace = Some(namespace.into());
            user.metadata.uid = Some(uid.into());
            user.metadata.creation_timestamp = Some(serde_json::from_value(json!(age)).unwrap());
            user
        };
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let (shop, web, ops) = (
            user("shop", young, "1"),
            user("web", old, "3"),
            user("ops", old, "2"),
        );
        assert_eq!(eldest([&shop, &web, &ops]), Some(&ops));
        assert_eq!(eldest([]), None);
        let problem = conflict(&shop, &ops);
        assert_eq!(problem.reason, Reason::Conflict);
        assert!(problem.message.contains("namespace `ops`"), "{problem}");
    }
}
