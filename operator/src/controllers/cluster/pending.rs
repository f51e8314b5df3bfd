//! Deletions that waited for the fleet are carried out once it answers.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ApiResource;

use super::{Error, Reconcile};
use crate::Key;
use crate::cache::cluster_of_user;
use crate::cluster::{Names, Pending, PendingKind, pending, pending_patch};
use crate::fleet::Fleet;

/// Deletions that are carried out in one go; the others follow.
const AT_ONCE_MAX: usize = 200;

impl Reconcile<'_> {
    /// Does what is left to do. Answers whether some is left even then.
    pub(super) async fn delete_pending(&self, fleet: &Fleet) -> Result<bool, Error> {
        let name = Names::of(self.cluster).pending();
        let Some(map) = self.observed.config_map(&name) else {
            return Ok(false);
        };
        let all = pending(map);
        let mut done = Vec::new();
        let mut left = all.len() > AT_ONCE_MAX;
        for deletion in all.into_iter().take(AT_ONCE_MAX) {
            if self.is_wanted_again(&deletion) {
                done.push(deletion);
                continue;
            }
            let owner = Some(deletion.owner());
            let answer = match deletion.kind {
                PendingKind::Topic => fleet.delete_topic(&deletion.name, owner).await,
                PendingKind::User => fleet.delete_user(&deletion.name, owner).await,
            };
            let what = format!(
                "{:?} {} of {}/{}",
                deletion.kind, deletion.name, deletion.namespace, deletion.resource
            );
            match answer {
                Ok(_) => {
                    self.say(
                        "Deleted",
                        &format!("{what} is deleted, as was asked while no broker answered"),
                    )
                    .await;
                    done.push(deletion);
                }
                Err(error) if error.is_transient() => left = true,
                // It belongs to another by now, or holds data that its policy keeps.
                Err(error) => {
                    self.warn("NotDeleted", &format!("{what} stays: {error}")).await;
                    done.push(deletion);
                }
            }
        }
        if !done.is_empty() {
            let resource = ApiResource::erase::<ConfigMap>(&());
            let patch = pending_patch(&[], &done);
            self.context
                .writer
                .merge(&resource, &self.key.namespace, &name, &patch)
                .await?;
        }
        Ok(left)
    }

    /// Whether a resource that lives wants the topic or user: then its deletion was taken back.
    fn is_wanted_again(&self, deletion: &Pending) -> bool {
        let cache = &self.context.cache;
        match deletion.kind {
            PendingKind::Topic => cache
                .topics_named(&self.key, &deletion.name)
                .iter()
                .any(|topic| topic.metadata.deletion_timestamp.is_none()),
            // A password ends with its User. One of another namespace may have the name and not be taken by the Cluster; where it is, the
            // fleet says that the user is its own by now.
            PendingKind::User => cache
                .user(&Key::new(&deletion.namespace, &deletion.resource))
                .is_some_and(|user| {
                    user.metadata.deletion_timestamp.is_none() && cluster_of_user(&user) == self.key
                }),
        }
    }
}
