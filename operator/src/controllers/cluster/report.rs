//! What users are told: the status, written when it says something else, and events for what happened.

use flotilla_crds::{BrokerStatus, ClusterStatus};
use k8s_openapi::api::core::v1::ObjectReference;

use super::{Error, Reconcile};
use crate::apply::EventType;
use crate::cluster::rollout::{Pod, PodState};
use crate::cluster::{Member, Names, StatusInput, status};
use crate::{Standing, conditions};

impl Reconcile<'_> {
    /// Something that happened as it should.
    pub(super) async fn say(&self, reason: &str, message: &str) {
        self.event(EventType::Normal, reason, message).await;
    }

    /// Something that somebody should look at.
    pub(super) async fn warn(&self, reason: &str, message: &str) {
        self.event(EventType::Warning, reason, message).await;
    }

    async fn event(&self, type_: EventType, reason: &str, message: &str) {
        let about = ObjectReference {
            api_version: Some(format!("{}/{}", flotilla_crds::GROUP, flotilla_crds::VERSION)),
            kind: Some("Cluster".to_owned()),
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            uid: self.cluster.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.context
            .writer
            .event(&about, type_, reason, "Reconcile", message)
            .await;
    }

    /// Writes the status if it says something else, and an event if it stands otherwise.
    pub(super) async fn report(&self, input: StatusInput<'_>) -> Result<(), Error> {
        let now = self.context.now();
        self.write(&status(self.asked, &now, input), input.standing).await
    }

    /// How it stands, where nothing else is known.
    pub(super) async fn report_standing(&self, standing: &Standing) -> Result<(), Error> {
        let now = self.context.now();
        let previous = self.asked.status.clone().unwrap_or_default();
        let status = ClusterStatus {
            observed_generation: self.asked.metadata.generation,
            conditions: conditions(
                &previous.conditions,
                self.asked.metadata.generation,
                &now,
                standing,
            ),
            ..previous
        };
        self.write(&status, standing).await
    }

    async fn write(&self, status: &ClusterStatus, standing: &Standing) -> Result<(), Error> {
        let word = |status: &ClusterStatus| {
            let ready = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == "Ready");
            ready.map(|ready| (ready.status.clone(), ready.reason.clone()))
        };
        let before = self.asked.status.as_ref().and_then(word);
        if !self.context.writer.status(self.asked, status).await? || before == word(status) {
            return Ok(());
        }
        match standing {
            _ if self.asked.spec.paused => self.say("Paused", "everything is left as it is").await,
            Standing::Ready(message) => self.say("Available", message).await,
            Standing::Working(reason, message) => self.say(&reason.to_string(), message).await,
            Standing::Stuck(reason, message) | Standing::Unknown(reason, message) => {
                self.warn(&reason.to_string(), message).await;
            }
        }
        Ok(())
    }

    /// The brokers, for the status.
    pub(super) fn brokers(&self, members: &[Member], pods: &[Pod]) -> Vec<BrokerStatus> {
        let names = Names::of(self.cluster);
        let view = self.view.as_deref();
        let known = self
            .asked
            .status
            .as_ref()
            .map(|status| status.brokers.as_slice())
            .unwrap_or_default();
        members
            .iter()
            .zip(pods)
            .map(|(member, pod)| {
                let before = known.iter().find(|broker| broker.id == member.id.0);
                let registered = view.and_then(|view| view.brokers.get(&member.id.0));
                let version = registered
                    .map(|broker| broker.version.clone())
                    .filter(|version| !version.is_empty());
                let rack = view.and_then(|view| view.rack(member.id)).map(str::to_owned);
                // While the fleet does not answer, what was known stays.
                let (rack, version) = match view {
                    Some(_) => (rack, version),
                    None => (
                        before.and_then(|before| before.rack.clone()),
                        before.and_then(|before| before.version.clone()),
                    ),
                };
                BrokerStatus {
                    id: member.id.0,
                    pod: names.pod(member),
                    rack,
                    version,
                    state: match pod.state {
                        PodState::Ready => "Ready",
                        PodState::Starting => "Starting",
                        PodState::Broken(_) => "Broken",
                        PodState::Gone => "Gone",
                    }
                    .to_owned(),
                }
            })
            .collect()
    }
}
