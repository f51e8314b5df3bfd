use std::sync::Arc;
use std::time::Duration;

use flotilla_control::proto::metadata::Refusal;
use flotilla_crds::{ConditionType, Reason, Topic};

use super::scene::{Scene, Sight};
use super::{Action, Context, Error, LATER, SOON, tell};
use crate::fleet::{self, Fleet, View};
use crate::topic::{
    Found, Known, Observed, Plan, Settings, conflict, is_rising, kafka_name, plan, status, status_paused,
    turn,
};
use crate::{Problem, Standing};

/// How long the fleet may take to show what it has done.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Of two Topics of one name the younger one looks again after this: what keeps the older one may end without a sign.
const RIVAL: Duration = Duration::from_secs(60);

/// How soon a Topic that waits for its new Cluster looks again, should nothing tell it.
const RISING_PAUSE: Duration = Duration::from_secs(2);

/// Makes the topic as the Topic says.
pub(super) async fn follow(topic: &Topic, context: &Context, scene: &Scene) -> Result<Action, Error> {
    let Some(cluster) = scene.staying(&context.cache) else {
        let why = match &scene.cluster {
            None => format!(
                "there is no Cluster `{}` in namespace `{}`",
                scene.key.name, scene.key.namespace
            ),
            Some(_) => format!("the Cluster `{}` is being deleted", scene.key.name),
        };
        let problem = Problem::because(Reason::ClusterNotFound, "spec.cluster", why);
        return untold(topic, context, scene, &Standing::of(&problem), None).await;
    };
    if cluster.spec.paused {
        let paused = status_paused(topic, &context.now());
        context.writer.status(topic, &paused).await?;
        return Ok(Action::await_change());
    }
    if let Err(problem) = &scene.allowed {
        return untold(topic, context, scene, &Standing::of(problem), None).await;
    }
    if let Some(elder) = scene.elder(topic) {
        let standing = Standing::of(&conflict(topic, elder));
        return untold(topic, context, scene, &standing, Some(RIVAL)).await;
    }
    match &scene.sight {
        Sight::Clear(_, view)
            if is_rising(cluster, &context.now()) && !view.topics.contains_key(kafka_name(topic)) =>
        {
            let message = format!(
                "waits until Cluster `{}` is ready, so that each of its brokers gets its share",
                scene.key.name
            );
            let standing = Standing::Working(Reason::Creating, message);
            untold(topic, context, scene, &standing, Some(RISING_PAUSE)).await
        }
        Sight::Clear(fleet, view) => make(topic, context, scene, fleet, view).await,
        Sight::Blinking(left) if topic.status.is_some() => Ok(Action::requeue(*left)),
        Sight::Blinking(left) => untold(topic, context, scene, &silent(topic, scene), Some(*left)).await,
        Sight::Dark => untold(topic, context, scene, &silent(topic, scene), None).await,
    }
}

/// How a Topic stands whose fleet does not answer.
fn silent(topic: &Topic, scene: &Scene) -> Standing {
    let made = topic
        .status
        .as_ref()
        .is_some_and(|status| status.topic_id.is_some());
    if made {
        let message = format!(
            "no broker of Cluster `{}` answers; what is known is from before",
            scene.key.name
        );
        Standing::Unknown(Reason::Unreachable, message)
    } else {
        let message = format!("the brokers of Cluster `{}` do not answer yet", scene.key.name);
        Standing::Working(Reason::Creating, message)
    }
}

async fn make(
    topic: &Topic,
    context: &Context,
    scene: &Scene,
    fleet: &Fleet,
    view: &View,
) -> Result<Action, Error> {
    let planned = planned(topic, context, scene, view);
    let Some(command) = planned.command.clone() else {
        return report(topic, context, scene, &planned).await;
    };
    // Before anything is made, so that nothing is left behind.
    context.writer.add_finalizer(topic).await?;
    match fleet.apply_topic(command).await {
        Ok(answer) => {
            if answer.changed {
                for news in &planned.news {
                    tell(topic, context, scene, news).await;
                }
            }
            match shown(topic, context, scene, fleet).await {
                Some(now) => report(topic, context, scene, &now).await,
                None => Ok(Action::requeue(SOON)),
            }
        }
        Err(error) if error.is_transient() && error.refusal() != Some(Refusal::NotEnoughBrokers) => {
            match error {
                fleet::Error::Timeout { .. } => {
                    let standing = Standing::Unknown(Reason::Unreachable, error.to_string());
                    untold(topic, context, scene, &standing, Some(SOON)).await
                }
                _ => Ok(Action::requeue(SOON)),
            }
        }
        Err(error) => {
            let standing = Standing::of(&refused(&error));
            report_as(
                topic,
                context,
                scene,
                planned.observed,
                Settings::Untold,
                &standing,
            )
            .await?;
            Ok(Action::requeue(LATER))
        }
    }
}

fn planned(topic: &Topic, context: &Context, scene: &Scene, view: &View) -> Plan {
    let found = view.topics.get(kafka_name(topic)).map(|held| Found::of(held));
    let known = Known {
        found: found.as_ref(),
        brokers: view.brokers.len(),
        may_take: &|owner| scene.may_take(topic, owner, &context.cache),
    };
    plan(topic, known)
}

/// The plan once the fleet shows what was done, so that nothing is left of it but what cannot be.
async fn shown(topic: &Topic, context: &Context, scene: &Scene, fleet: &Fleet) -> Option<Plan> {
    let mut sight = fleet.subscribe();
    let showing = async {
        loop {
            let view: Option<Arc<View>> = sight.borrow_and_update().view.clone();
            let now = view.map(|view| planned(topic, context, scene, &view));
            if let Some(now) = now.filter(|now| now.command.is_none()) {
                return Some(now);
            }
            sight.changed().await.ok()?;
        }
    };
    tokio::time::timeout(SHOWN_TIMEOUT, showing).await.ok()?
}

/// What the fleet's refusal means for the resource.
fn refused(error: &fleet::Error) -> Problem {
    let (reason, field) = match error.refusal() {
        Some(Refusal::OwnedByAnother) => (Reason::Conflict, "spec.name"),
        Some(
            Refusal::InvalidReplicationFactor | Refusal::NotEnoughBrokers | Refusal::InvalidReplicaAssignment,
        ) => (Reason::NotEnoughBrokers, "spec.replicas"),
        Some(Refusal::InvalidConfig) => (Reason::InvalidSpec, "spec.config"),
        Some(Refusal::InvalidTopicName | Refusal::TopicExists) => (Reason::InvalidSpec, "spec.name"),
        Some(Refusal::InvalidPartitions | Refusal::PolicyViolation) => {
            (Reason::InvalidSpec, "spec.partitions")
        }
        _ => (Reason::InvalidSpec, "spec"),
    };
    Problem::because(reason, field, error.to_string())
}

async fn report(topic: &Topic, context: &Context, scene: &Scene, plan: &Plan) -> Result<Action, Error> {
    let standing = plan.standing();
    report_as(topic, context, scene, plan.observed, plan.settings, &standing).await?;
    Ok(match standing {
        Standing::Working(Reason::NotEnoughBrokers, _) => Action::requeue(LATER),
        Standing::Stuck(Reason::Conflict, _) => Action::requeue(RIVAL),
        _ => Action::await_change(),
    })
}

/// Reports on a Topic of which the fleet was not told.
async fn untold(
    topic: &Topic,
    context: &Context,
    scene: &Scene,
    standing: &Standing,
    again: Option<Duration>,
) -> Result<Action, Error> {
    report_as(topic, context, scene, None, Settings::Untold, standing).await?;
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

pub(super) async fn report_as(
    topic: &Topic,
    context: &Context,
    scene: &Scene,
    observed: Option<Observed>,
    settings: Settings,
    standing: &Standing,
) -> Result<(), Error> {
    let status = status(topic, &context.now(), observed, settings, standing);
    let written = context.writer.status(topic, &status).await?;
    if written && let Some(news) = turn(topic, standing) {
        tell(topic, context, scene, &news).await;
    }
    if written {
        tracing::debug!(ready = ?status.conditions.iter().find(|one| one.type_ == ConditionType::Ready.to_string()).map(|one| &one.message), "reported");
    }
    Ok(())
}
