use flotilla_control::proto::metadata::Refusal;
use flotilla_crds::User;
use kube::ResourceExt as _;

use super::scene::{Scene, Sight};
use super::{Action, Context, Error, LATER, SOON, certificate, tell};
use crate::Key;
use crate::apply::FINALIZER;
use crate::controllers::pending;
use crate::fleet;
use crate::topic::News;
use crate::user::{Departure, Reached, depart, secret_name};

/// Whether something of the User may be left in its fleet.
pub(super) fn has_finalizer(user: &User) -> bool {
    user.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Undoes what the User made, and lets it go.
pub(super) async fn leave(user: &User, context: &Context, scene: &Scene) -> Result<Action, Error> {
    if !has_finalizer(user) {
        return Ok(Action::await_change());
    }
    if scene.illegible {
        // Whether it stays or goes, nobody can tell.
        return Ok(Action::requeue(LATER));
    }
    let reached = match (&scene.sight, scene.staying(context)) {
        (_, None) => Reached::Gone,
        (Sight::Clear(..), Some(_)) => Reached::Yes,
        (Sight::Blinking(_), Some(_)) => Reached::NotYet,
        (Sight::Dark, Some(_)) => Reached::No,
    };
    if let Some(cluster) = scene.staying(context) {
        certificate::take_back(user, cluster, context).await;
    }
    let mut news = None;
    match (depart(user, reached), &scene.sight) {
        (Departure::Release, _) => {}
        (Departure::Delete(owner), Sight::Clear(fleet, _)) => {
            let name = secret_name(user);
            match fleet.delete_user(name, Some(owner)).await {
                Ok(answer) if answer.changed => {
                    news = Some(News {
                        warning: false,
                        reason: "Deleted".to_owned(),
                        message: format!("user `{name}` was deleted"),
                    });
                }
                Ok(_) => {}
                Err(error) if error.refusal() == Some(Refusal::OwnedByAnother) => {}
                Err(fleet::Error::Timeout { .. } | fleet::Error::Unreachable(_)) => {
                    news = note(user, context, scene).await?;
                }
                Err(error) if error.is_transient() => return Ok(Action::requeue(SOON)),
                Err(error) => return Err(Error::Other(format!("user `{name}` is not deleted: {error}"))),
            }
        }
        (Departure::Note(..), _) => news = note(user, context, scene).await?,
        (Departure::Wait, Sight::Blinking(left)) => return Ok(Action::requeue(*left)),
        (Departure::Delete(_) | Departure::Wait, _) => return Ok(Action::requeue(SOON)),
    }
    // First, so that it is told of a resource that is still there.
    if let Some(news) = news {
        tell(user, context, scene, &news).await;
    }
    context.users.forget(&Key::of(&user.metadata));
    context.writer.remove_finalizer(user).await?;
    Ok(Action::await_change())
}

/// Leaves the deletion to whoever looks after the Cluster.
async fn note(user: &User, context: &Context, scene: &Scene) -> Result<Option<News>, Error> {
    let (Some(cluster), Departure::Note(deletion, news)) = (&scene.cluster, depart(user, Reached::No)) else {
        return Ok(None);
    };
    pending::record(context, cluster, &deletion).await?;
    Ok(Some(news))
}
