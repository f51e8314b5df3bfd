//! Takes resources from their queues and reconciles them: many at a time, each by itself.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::queue::{End, Queue};
use super::triggers::{self, Queues};
use super::{Action, Context, Error, cluster, topic, undecodable, user};
use crate::Key;
use crate::apply;
use crate::cache::Cache;
use crate::metrics::Outcome;

/// Resources of one kind that are reconciled at a time.
const CONCURRENCY: usize = 16;
/// No reconcile takes longer.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long those under way may go on after the shutdown began. Kubernetes kills after thirty seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    if shutdown
        .run_until_cancelled(context.cache.synced())
        .await
        .is_none()
    {
        return;
    }
    let queues = Arc::new(Queues::default());
    count(&context, &queues);
    let listening = shutdown.run_until_cancelled(async {
        tokio::join!(listen(&context, &queues), listen_to_fleets(&context, &queues))
    });
    let clusters = Controller {
        kind: "Cluster",
        queue: &queues.clusters,
        get: Cache::cluster,
        reconcile: cluster::reconcile,
        gone: cluster::forget,
    };
    let topics = Controller {
        kind: "Topic",
        queue: &queues.topics,
        get: Cache::topic,
        reconcile: topic::reconcile,
        gone: |_, _| {},
    };
    let users = Controller {
        kind: "User",
        queue: &queues.users,
        get: Cache::user,
        reconcile: user::reconcile,
        gone: user::forget,
    };
    tokio::join!(
        listening,
        clusters.run(&context, &shutdown),
        topics.run(&context, &shutdown),
        users.run(&context, &shutdown),
    );
}

/// Keeps gauges of what waits and of what is connected.
fn count(context: &Context, queues: &Arc<Queues>) {
    let queues = Arc::downgrade(queues);
    let fleets = context.fleets.clone();
    context.metrics.before_reading(move |metrics| {
        if let Some(queues) = queues.upgrade() {
            metrics.queued("Cluster", queues.clusters.depth());
            metrics.queued("Topic", queues.topics.depth());
            metrics.queued("User", queues.users.depth());
        }
        for key in fleets.known() {
            let connected = fleets
                .get(&key)
                .is_some_and(|fleet| fleet.lost_since().is_none() && fleet.view().is_some());
            metrics.fleet(&key, connected);
        }
        metrics.fleet_calls(&fleets.calls());
    });
}

/// Turns changes in fleets into work, for ever.
async fn listen_to_fleets(context: &Context, queues: &Queues) {
    let mut changes = context.fleets.changes();
    loop {
        let change = changes.next().await;
        triggers::route_fleet(&change, context, queues);
    }
}

/// Turns changes in Kubernetes into work, for ever. Whoever lags behind looks at everything.
async fn listen(context: &Context, queues: &Queues) {
    let mut touched = context.cache.touched();
    triggers::everything(&context.cache, queues);
    for (kind, broken) in context.cache.undecodable() {
        for key in broken.keys() {
            undecodable::report(context, kind, key).await;
        }
    }
    loop {
        match touched.recv().await {
            Ok(crate::cache::Touched::Undecodable { kind, key }) => {
                undecodable::report(context, kind, &key).await;
            }
            Ok(touched) => triggers::route(&touched, &context.cache, queues),
            Err(RecvError::Lagged(missed)) => {
                tracing::info!(
                    missed,
                    "changes came faster than they were read; everything is looked at"
                );
                triggers::everything(&context.cache, queues);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// How a reconcile ended that did not break; the outer error: it took too long.
type InTime = Result<Result<Action, Error>, tokio::time::error::Elapsed>;

struct Controller<'a, K, F> {
    kind: &'static str,
    queue: &'a Queue,
    get: fn(&Cache, &Key) -> Option<Arc<K>>,
    reconcile: F,
    gone: fn(&Context, &Key),
}

impl<K, F, Fut> Controller<'_, K, F>
where
    K: Send + Sync + 'static,
    F: Fn(Arc<K>, Arc<Context>) -> Fut,
    Fut: Future<Output = Result<Action, Error>> + Send + 'static,
{
    async fn run(&self, context: &Arc<Context>, shutdown: &CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut running: HashMap<Id, (Key, Instant)> = HashMap::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                key = self.queue.next(), if tasks.len() < CONCURRENCY => {
                    let Some(object) = (self.get)(&context.cache, &key) else {
                        (self.gone)(context, &key);
                        self.queue.done(key, End::Gone);
                        continue;
                    };
                    let span = tracing::info_span!("reconcile", kind = self.kind, object = %key);
                    let work = tokio::time::timeout(RECONCILE_TIMEOUT, (self.reconcile)(object, Arc::clone(context)));
                    let task = tasks.spawn(work.instrument(span));
                    running.insert(task.id(), (key, Instant::now()));
                }
                Some(ended) = tasks.join_next_with_id() => self.ended(context, ended, &mut running),
            }
        }
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
            while let Some(ended) = tasks.join_next_with_id().await {
                self.ended(context, ended, &mut running);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(
                kind = self.kind,
                left = tasks.len(),
                "reconciles did not end in time"
            );
        }
    }

    fn ended(
        &self,
        context: &Context,
        ended: Result<(Id, InTime), JoinError>,
        running: &mut HashMap<Id, (Key, Instant)>,
    ) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(broken) => broken.id(),
        };
        let Some((key, began)) = running.remove(&id) else {
            return;
        };
        let (outcome, end) = match ended {
            Ok((_, Ok(Ok(Action(after))))) => (Outcome::Done, End::Done(after)),
            Ok((_, Ok(Err(error)))) => {
                self.log(&key, &error);
                (Outcome::Failed, End::Failed)
            }
            Ok((_, Err(_))) => {
                tracing::warn!(kind = self.kind, object = %key, "a reconcile took too long and was given up; it is tried again");
                (Outcome::Failed, End::Failed)
            }
            Err(broken) => {
                tracing::error!(kind = self.kind, object = %key, error = %broken, "a reconcile broke; it is tried again");
                (Outcome::Panicked, End::Failed)
            }
        };
        context.metrics.reconciled(self.kind, outcome, began.elapsed());
        self.queue.done(key, end);
    }

    fn log(&self, key: &Key, error: &Error) {
        // Somebody else wrote at the same time: ordinary, and mended by looking again.
        if matches!(error, Error::Write(apply::Error::Conflict(_))) {
            tracing::debug!(kind = self.kind, object = %key, %error, "tried again");
        } else {
            tracing::warn!(kind = self.kind, object = %key, %error, "a reconcile failed; it is tried again");
        }
    }
}
