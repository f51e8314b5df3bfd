use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::Refusal;
use flotilla_crds::Topic;
use kube::ResourceExt as _;

use super::follow::report_as;
use super::scene::{Scene, Sight};
use super::{Action, Context, Error, LATER, SOON, tell};
use crate::apply::FINALIZER;
use crate::cluster::Pending;
use crate::controllers::pending;
use crate::fleet::{self, Fleet};
use crate::topic::{
    Departing, Departure, Found, Home, News, Outcome, Reached, Said, Settings, depart, kafka_name, outcome,
};
use crate::{Standing, namespace_of};

/// How long the fleet may take to show that a topic is gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// Undoes what the Topic made, and lets it go.
pub(super) async fn leave(topic: &Topic, context: &Context, scene: &Scene) -> Result<Action, Error> {
    if !topic.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    let held = match &scene.sight {
        Sight::Clear(_, view) => view.topics.get(kafka_name(topic)).cloned(),
        Sight::Blinking(_) | Sight::Dark => None,
    };
    let found = held.as_deref().map(Found::of);
    let departing = Departing {
        home: match scene.staying(&context.cache) {
            Some(_) => Home::Stays,
            None => Home::Gone,
        },
        heir: scene.heir.as_deref(),
        allowed: scene.allowed.is_ok(),
        reached: match &scene.sight {
            Sight::Clear(..) => Reached::Yes(found.as_ref()),
            Sight::Blinking(_) => Reached::NotYet,
            Sight::Dark => Reached::No,
        },
    };
    match (depart(topic, departing), &scene.sight) {
        (Departure::Release(news), _) => release(topic, context, scene, news).await,
        (Departure::Note(deletion, news), _) => note(topic, context, scene, &deletion, news).await,
        (Departure::Delete(owner), Sight::Clear(fleet, _)) => {
            let name = kafka_name(topic);
            let said = match fleet.delete_topic(name, Some(owner)).await {
                Ok(_) => {
                    vanished(fleet, name, found.as_ref().map(|found| found.observed.id)).await;
                    Said::Deleted
                }
                Err(fleet::Error::Timeout { .. }) => {
                    let silent = Departing {
                        reached: Reached::No,
                        ..departing
                    };
                    return match depart(topic, silent) {
                        Departure::Note(deletion, news) => note(topic, context, scene, &deletion, news).await,
                        _ => Ok(Action::requeue(SOON)),
                    };
                }
                Err(error) => match error.refusal() {
                    Some(Refusal::NotEmpty) => Said::NotEmpty(error.to_string()),
                    Some(Refusal::OwnedByAnother) => Said::OfAnother,
                    Some(Refusal::UnknownTopic | Refusal::UnknownTopicId) => Said::Deleted,
                    _ if error.is_transient() => return Ok(Action::requeue(SOON)),
                    _ => return Err(Error::Other(format!("topic `{name}` is not deleted: {error}"))),
                },
            };
            let is_going = context.cache.namespace_terminating(namespace_of(&topic.metadata));
            match outcome(topic, &said, is_going) {
                Outcome::Release(news) => release(topic, context, scene, news).await,
                Outcome::Blocked(problem) => {
                    let observed = found.as_ref().map(|found| found.observed);
                    let standing = Standing::of(&problem);
                    report_as(topic, context, scene, observed, Settings::Untold, &standing).await?;
                    Ok(Action::requeue(LATER))
                }
            }
        }
        (Departure::Wait, Sight::Blinking(left)) => Ok(Action::requeue(*left)),
        (Departure::Delete(_) | Departure::Wait, _) => Ok(Action::requeue(SOON)),
    }
}

async fn release(
    topic: &Topic,
    context: &Context,
    scene: &Scene,
    news: Option<News>,
) -> Result<Action, Error> {
    // First, so that it is told of a resource that is still there.
    if let Some(news) = news {
        tell(topic, context, scene, &news).await;
    }
    context.writer.remove_finalizer(topic).await?;
    Ok(Action::await_change())
}

/// Leaves the deletion to whoever looks after the Cluster.
async fn note(
    topic: &Topic,
    context: &Context,
    scene: &Scene,
    deletion: &Pending,
    news: News,
) -> Result<Action, Error> {
    let Some(cluster) = &scene.cluster else {
        return release(topic, context, scene, None).await;
    };
    pending::record(context, cluster, deletion).await?;
    release(topic, context, scene, Some(news)).await
}

/// Waits until the topic is not to be seen any more: a Topic of the same name that follows at once must not take it for its own.
async fn vanished(fleet: &Fleet, name: &str, id: Option<flotilla_control::Uuid>) {
    let mut sight = fleet.subscribe();
    let gone = sight.wait_for(|sight| {
        let view: Option<&Arc<fleet::View>> = sight.view.as_ref();
        view.is_none_or(|view| view.topics.get(name).map(|held| Found::of(held).observed.id) != id)
    });
    // Whoever waited in vain goes on: the next one merely sees it go.
    let _ = tokio::time::timeout(GONE_TIMEOUT, gone).await;
}
