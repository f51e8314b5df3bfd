use std::collections::BTreeMap;

use flotilla_crds::{Cluster, Reason};
use k8s_openapi::api::core::v1 as core;

use super::exposure::{Node, Reach, ServiceReach};
use super::rollout::{Pod, PodState};
use super::status::PoolObserved;
use super::{CONTAINER, Member, Names, REVISION_ANNOTATION, Revision};

/// What kubelets say of containers that will not run by themselves. `ContainerCreating` and the like pass.
const BROKEN: [&str; 8] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How brokers are reached, from what Kubernetes says of the Cluster's Services and pods, and of nodes.
#[must_use]
pub fn reach<'a>(
    services: impl IntoIterator<Item = &'a core::Service>,
    nodes: impl IntoIterator<Item = &'a core::Node>,
    pods: impl IntoIterator<Item = &'a core::Pod>,
) -> Reach {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    Reach {
        services: services
            .into_iter()
            .map(|service| (name(&service.metadata.name), service_reach(service)))
            .collect(),
        nodes: nodes
            .into_iter()
            .map(|node| {
                let labels = node.metadata.labels.clone().unwrap_or_default();
                let address = address(node);
                (name(&node.metadata.name), Node { address, labels })
            })
            .collect(),
        pods: pods
            .into_iter()
            .filter_map(|pod| Some((name(&pod.metadata.name), pod.spec.as_ref()?.node_name.clone()?)))
            .collect(),
    }
}

fn service_reach(service: &core::Service) -> ServiceReach {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let node_port = ports
        .and_then(|ports| ports.first()?.node_port)
        .and_then(|port| u16::try_from(port).ok());
    let balanced = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()?.first());
    ServiceReach {
        node_port,
        load_balancer: balanced.and_then(|point| point.hostname.clone().or_else(|| point.ip.clone())),
    }
}

fn address(node: &core::Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    ["ExternalIP", "InternalIP"].into_iter().find_map(|kind| {
        addresses
            .iter()
            .find(|address| address.type_ == kind)
            .map(|address| address.address.clone())
    })
}

/// The pod of every member, in their order. One that is not there yet is gone.
#[must_use]
pub fn pods(cluster: &Cluster, members: &[Member], observed: &[&core::Pod]) -> Vec<Pod> {
    let names = Names::of(cluster);
    members
        .iter()
        .map(|member| {
            let name = names.pod(member);
            let found = observed
                .iter()
                .copied()
                .find(|pod| pod.metadata.name.as_deref() == Some(name.as_str()));
            let annotations = found.and_then(|pod| pod.metadata.annotations.as_ref());
            let revision = annotations.and_then(|all| all.get(REVISION_ANNOTATION));
            Pod {
                broker: member.id,
                pool: member.pool.clone(),
                revision: revision.map_or_else(Revision::default, |text| Revision::parse(text)),
                state: found.map_or(PodState::Gone, state),
            }
        })
        .collect()
}

/// How many pods each pool has.
#[must_use]
pub fn pool_counts(pods: &[Pod]) -> BTreeMap<String, PoolObserved> {
    let mut counts: BTreeMap<String, PoolObserved> = BTreeMap::new();
    for pod in pods {
        let count = counts.entry(pod.pool.clone()).or_default();
        count.replicas += i32::from(pod.state != PodState::Gone);
        count.ready += i32::from(pod.state == PodState::Ready);
    }
    counts
}

fn state(pod: &core::Pod) -> PodState {
    if pod.metadata.deletion_timestamp.is_some() {
        return PodState::Gone;
    }
    if condition(pod, "Ready").is_some_and(|ready| ready.status == "True") {
        return PodState::Ready;
    }
    match trouble(pod) {
        Some((_, message)) => PodState::Broken(message),
        None => PodState::Starting,
    }
}

/// What keeps a pod from running, in the words of whoever keeps it.
#[must_use]
pub fn trouble(pod: &core::Pod) -> Option<(Reason, String)> {
    // One that is on its way out is meant to end.
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let said = |reason: &str, message: Option<&String>| match message {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    };
    if let Some(scheduled) = condition(pod, "PodScheduled")
        && scheduled.status == "False"
        && scheduled.reason.as_deref() == Some("Unschedulable")
    {
        return Some((
            Reason::Unschedulable,
            said("Unschedulable", scheduled.message.as_ref()),
        ));
    }
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        return Some((Reason::Recovering, said(reason, status.message.as_ref())));
    }
    let containers = status.container_statuses.iter().flatten();
    let broker = containers
        .filter(|container| container.name == CONTAINER)
        .find_map(|container| container.state.as_ref())?;
    if let Some(waiting) = &broker.waiting {
        let reason = waiting
            .reason
            .as_deref()
            .filter(|reason| BROKEN.contains(reason))?;
        let word = if reason.contains("Image") {
            Reason::ImageUnavailable
        } else {
            Reason::Recovering
        };
        return Some((word, said(reason, waiting.message.as_ref())));
    }
    let ended = broker.terminated.as_ref()?;
    Some((
        Reason::Recovering,
        said(
            &format!("the broker ended with code {}", ended.exit_code),
            ended.message.as_ref(),
        ),
    ))
}

fn condition<'a>(pod: &'a core::Pod, type_: &str) -> Option<&'a core::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;

    fn pod(name: &str, status: Value) -> core::Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {"flotilla.dev/revision": "image=1"}},
            "spec": {"containers": [], "nodeName": "n1"},
            "status": status,
        }))
        .unwrap()
    }

    fn waiting(reason: &str) -> Value {
        let state = json!({"waiting": {"reason": reason, "message": "why"}});
        json!({"containerStatuses": [{
            "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }]})
    }

    fn state_of(status: Value) -> PodState {
        state(&pod("x", status))
    }

    #[test]
    fn pods_that_pass_are_told_from_pods_that_are_broken() {
        let broken = |text: &str| PodState::Broken(text.into());
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": []});
        assert_eq!(state_of(ready), PodState::Ready);
        assert_eq!(state_of(json!({})), PodState::Starting);
        assert_eq!(state_of(waiting("ContainerCreating")), PodState::Starting);
        assert_eq!(
            state_of(waiting("ImagePullBackOff")),
            broken("ImagePullBackOff: why")
        );
        assert_eq!(
            state_of(waiting("CrashLoopBackOff")),
            broken("CrashLoopBackOff: why")
        );
        let unschedulable = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
        }]});
        assert_eq!(
            state_of(unschedulable),
            broken("Unschedulable: 0/3 nodes are available")
        );
        assert_eq!(
            state_of(json!({"phase": "Failed", "reason": "Evicted", "message": "disk"})),
            broken("Evicted: disk")
        );
        let ended = json!({"containerStatuses": [{
            "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"terminated": {"exitCode": 3}},
        }]});
        assert_eq!(state_of(ended), broken("the broker ended with code 3"));
        let mut going = pod("x", json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(state(&going), PodState::Gone);
        going.status = pod("x", waiting("CrashLoopBackOff")).status;
        assert_eq!(trouble(&going), None);
    }

    #[test]
    fn reasons_are_words_of_the_list() {
        let word = |status| trouble(&pod("x", status)).map(|(reason, _)| reason);
        assert_eq!(word(waiting("ErrImagePull")), Some(Reason::ImageUnavailable));
        assert_eq!(word(waiting("CrashLoopBackOff")), Some(Reason::Recovering));
        assert_eq!(word(json!({})), None);
    }

    #[test]
    fn every_member_has_a_pod_and_one_that_is_not_there_is_gone() {
        let cluster = testing::cluster();
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let observed = [pod("events-main-1", ready), pod("events-main-0", json!({}))];
        let pods = pods(&cluster, &testing::members(&cluster), &observed.each_ref());
        let states: Vec<_> = pods
            .iter()
            .map(|pod| (pod.broker.0, pod.revision.to_string(), pod.state.clone()))
            .collect();
        assert_eq!(
            states,
            [
                (0, "image=1".into(), PodState::Starting),
                (1, "image=1".into(), PodState::Ready),
                (2, String::new(), PodState::Gone),
            ]
        );
        assert_eq!(
            pool_counts(&pods),
            BTreeMap::from([(
                "main".into(),
                PoolObserved {
                    replicas: 2,
                    ready: 1
                }
            )])
        );
    }

    #[test]
    fn reach_is_read_from_services_nodes_and_pods() {
        let service: core::Service = serde_json::from_value(json!({
            "metadata": {"name": "events-external"},
            "spec": {"ports": [{"port": 9094, "nodePort": 30000}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.1.1.1"}]}},
        }))
        .unwrap();
        let node: core::Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"zone": "a"}},
            "status": {"addresses": [
                {"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "ExternalIP", "address": "192.0.2.1"},
            ]},
        }))
        .unwrap();
        assert_eq!(
            reach(&[service], &[node], &[pod("events-main-0", json!({}))]),
            Reach {
                services: BTreeMap::from([(
                    "events-external".into(),
                    ServiceReach {
                        node_port: Some(30_000),
                        load_balancer: Some("10.1.1.1".into()),
                    }
                )]),
                nodes: BTreeMap::from([(
                    "n1".into(),
                    Node {
                        address: Some("192.0.2.1".into()),
                        labels: BTreeMap::from([("zone".into(), "a".into())]),
                    }
                )]),
                pods: BTreeMap::from([("events-main-0".into(), "n1".into())]),
            }
        );
    }
}
