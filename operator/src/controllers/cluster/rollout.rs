//! Brokers that run something else than they should restart one at a time, each with a grant of the fleet's.

use std::time::Duration;

use flotilla_control::BrokerId;
use flotilla_control::proto::metadata::Refusal;
use k8s_openapi::api::core::v1::Pod;
use kube::core::ApiResource;

use super::{Error, Reconcile};
use crate::cluster::rollout::{self, Next, Outdated, PodState, Rollout};
use crate::cluster::{Maintenance, Member, Names};
use crate::fleet::{self, Fleet};

/// How long a broker may be away: as long as it may take to end, and to read its logs again.
const GRANT: Duration = Duration::from_secs(600);
/// How soon a fleet is asked again that lets nobody go now. What it waits for is told by the fleet too, but for the clock.
const AGAIN: Duration = Duration::from_millis(500);

impl Reconcile<'_> {
    /// The next step, taken.
    pub(super) async fn roll(
        &self,
        observed: &rollout::Observed<'_>,
        members: &[Member],
        fleet: Option<&Fleet>,
    ) -> Result<(Rollout, Option<Duration>), Error> {
        let outdated = observed.outdated();
        let mut plan = None;
        if let Some(fleet) = fleet {
            self.release(observed, &outdated, fleet).await;
            if !outdated.is_empty() && observed.maintenance == Maintenance::Open {
                let ids: Vec<BrokerId> = outdated.iter().map(|outdated| outdated.broker).collect();
                plan = fleet.plan_restart(&ids).await.ok();
            }
        }
        let mut rollout = observed.rollout(plan.as_ref());
        let mut again = None;
        match rollout.next.clone() {
            Next::Nothing => {}
            Next::Wait(_) => {
                let ready = observed.pods.iter().all(|pod| pod.state == PodState::Ready);
                again = match observed.maintenance {
                    Maintenance::Open => ready.then_some(AGAIN),
                    Maintenance::Closed(until) => until.map(|until| self.until(until)),
                };
            }
            Next::Restart { broker, needs_grant } => {
                let changes = rollout
                    .outdated
                    .iter()
                    .find(|outdated| outdated.broker == broker)
                    .map_or(String::new(), |outdated| outdated.changes.join(", "));
                if let Some(wait) = self
                    .restart(broker, needs_grant, &changes, members, fleet)
                    .await?
                {
                    rollout.next = Next::Wait(wait);
                    again = Some(AGAIN);
                }
            }
        }
        Ok((rollout, again))
    }

    /// Grants that were used, or will not be: the fleet counts whoever holds one as away.
    async fn release(&self, observed: &rollout::Observed<'_>, outdated: &[Outdated], fleet: &Fleet) {
        let Some(view) = &self.view else { return };
        let used: Vec<BrokerId> = observed
            .pods
            .iter()
            .filter(|pod| {
                pod.state == PodState::Ready
                    && view.grants.contains_key(&pod.broker.0)
                    && view.online(pod.broker)
                    && !outdated.iter().any(|outdated| outdated.broker == pod.broker)
            })
            .map(|pod| pod.broker)
            .collect();
        if !used.is_empty()
            && let Err(error) = fleet.release_restart(&used).await
        {
            // It ends by itself.
            tracing::debug!(cluster = %self.key, %error, "a grant was not given back");
        }
    }

    /// Restarts one broker. What it waits for, if it cannot be now.
    async fn restart(
        &self,
        broker: BrokerId,
        needs_grant: bool,
        changes: &str,
        members: &[Member],
        fleet: Option<&Fleet>,
    ) -> Result<Option<String>, Error> {
        let member = members.iter().find(|member| member.id == broker);
        let name = member
            .map(|member| Names::of(self.cluster).pod(member))
            .unwrap_or_default();
        let Some(uid) = self.observed.pod(&name).and_then(|pod| pod.metadata.uid.clone()) else {
            return Ok(Some(format!("broker {broker} has no pod")));
        };
        if needs_grant {
            let Some(fleet) = fleet else {
                return Ok(Some("the fleet does not answer".to_owned()));
            };
            match fleet.prepare_restart(&[broker], GRANT).await {
                Ok(_) => {}
                Err(fleet::Error::Refused {
                    refusal: Refusal::NotSafeNow,
                    message,
                }) => return Ok(Some(format!("broker {broker}: {message}"))),
                Err(error) => return Ok(Some(format!("broker {broker} gets no leave to restart: {error}"))),
            }
        }
        let resource = ApiResource::erase::<Pod>(&());
        let deleted = self
            .context
            .writer
            .delete(&resource, &self.key.namespace, &name, &uid)
            .await;
        match (deleted, fleet) {
            (Ok(_), _) => {
                let what = format!("broker {broker} restarts for a change of {changes}");
                self.say("Restarting", &what).await;
                Ok(None)
            }
            (Err(error), fleet) => {
                if let (true, Some(fleet)) = (needs_grant, fleet) {
                    let _ = fleet.release_restart(&[broker]).await;
                }
                Err(error.into())
            }
        }
    }
}
