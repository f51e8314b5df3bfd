//! Keeps Topics as they were asked for.
//!
//! A Topic is looked at when it changes, when another Topic of its name comes or goes, when its Cluster or namespace does, and when
//! the fleet says that the topic is another than it was. What is to be done is decided in [`crate::topic`]; where nothing is,
//! nothing is sent, neither to brokers nor to Kubernetes.

mod follow;
mod leave;
mod memory;
mod scene;

use std::sync::Arc;
use std::time::Duration;

use flotilla_crds::Topic;

pub use memory::Memories;

use super::{Action, Context, Error};
use crate::apply::{EventType, reference};
use crate::topic::News;
use scene::Scene;

/// How long a fleet may be silent before its Topics say so: brokers restart one after another, and another one answers at once.
const SILENCE: Duration = Duration::from_secs(10);
/// What is refused for now is asked again after this.
const SOON: Duration = Duration::from_secs(1);
/// What waits for something that nobody tells is looked at again after this.
const LATER: Duration = Duration::from_secs(30);

/// Makes one Topic so.
///
/// # Errors
/// Kubernetes does not answer, or refuses what is written.
pub async fn reconcile(topic: Arc<Topic>, context: Arc<Context>) -> Result<Action, Error> {
    let scene = Scene::observe(&topic, &context);
    if topic.metadata.deletion_timestamp.is_some() {
        leave::leave(&topic, &context, &scene).await
    } else {
        follow::follow(&topic, &context, &scene).await
    }
}

/// Tells users. In a namespace that is being deleted nothing can be told any more; then it is told of the Cluster.
async fn tell(topic: &Topic, context: &Context, scene: &Scene, news: &News) {
    let type_ = match news.warning {
        true => EventType::Warning,
        false => EventType::Normal,
    };
    let is_going = topic.metadata.deletion_timestamp.is_some()
        && context
            .cache
            .namespace_terminating(crate::namespace_of(&topic.metadata));
    match &scene.cluster {
        Some(cluster) if is_going => {
            let message = format!("Topic {}: {}", crate::Key::of(&topic.metadata), news.message);
            let about = reference(cluster.as_ref());
            context
                .writer
                .event(&about, type_, &news.reason, "Reconcile", &message)
                .await;
        }
        _ => {
            let about = reference(topic);
            context
                .writer
                .event(&about, type_, &news.reason, "Reconcile", &news.message)
                .await;
        }
    }
}
