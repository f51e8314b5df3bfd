//! Keeps Users as they were asked for.
//!
//! A User is looked at when it changes, when another User of its name comes or goes, when its Cluster, its namespace, its Secrets or the
//! Topics beside it do, and when the fleet says that the user is another than it was. What is to be done is decided in [`crate::user`];
//! where nothing is, nothing is sent, neither to brokers nor to Kubernetes.

mod certificate;
mod follow;
mod leave;
mod memory;
mod scene;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use flotilla_crds::User;

pub use memory::Memories;

use super::{Action, Context, Error};
use crate::Problem;
use crate::apply::{self, EventType, reference};
use crate::cache::ReadError;
use crate::topic::News;
use scene::Scene;

/// How long a fleet may be silent before its Users say so.
const SILENCE: Duration = Duration::from_secs(10);
/// What is refused for now is asked again after this.
const SOON: Duration = Duration::from_secs(1);
/// What waits for something that nobody tells is looked at again after this.
const LATER: Duration = Duration::from_secs(30);

/// Makes one User so.
///
/// # Errors
/// Kubernetes does not answer, or refuses what is written.
pub async fn reconcile(user: Arc<User>, context: Arc<Context>) -> Result<Action, Error> {
    let scene = Scene::observe(&user, &context);
    if user.metadata.deletion_timestamp.is_some() {
        leave::leave(&user, &context, &scene).await
    } else {
        follow::follow(&user, &context, &scene).await
    }
}

/// Forgets a User that is gone.
pub(super) fn forget(context: &Context, user: &crate::Key) {
    context.users.forget(user);
}

/// Why a step ended: something for the status, or something to try again.
enum Failure {
    Problem(Problem),
    Error(Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<apply::Error> for Failure {
    fn from(error: apply::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Error(error.into())
    }
}

/// Tells users. In a namespace that is being deleted nothing can be told any more; then it is told of the Cluster.
async fn tell(user: &User, context: &Context, scene: &Scene, news: &News) {
    let type_ = match news.warning {
        true => EventType::Warning,
        false => EventType::Normal,
    };
    let namespace = crate::namespace_of(&user.metadata);
    let is_going =
        user.metadata.deletion_timestamp.is_some() && context.cache.namespace_terminating(namespace);
    let (about, message) = match &scene.cluster {
        Some(cluster) if is_going => (
            reference(cluster.as_ref()),
            format!("User {}: {}", crate::Key::of(&user.metadata), news.message),
        ),
        _ => (reference(user), news.message.clone()),
    };
    context
        .writer
        .event(&about, type_, &news.reason, "Reconcile", &message)
        .await;
}
