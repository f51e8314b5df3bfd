//! The operator's way to brokers, on a fleet of real ones: what it sees of changes, and that commands go on while brokers come and go.

use std::time::{Duration, Instant};

use flotilla_control::BrokerId;
use flotilla_control::proto::metadata::{
    AlterConfig, ApplyTopic, BrokerPlacement, ConfigOperation, Refusal, ResourceConfigs, ResourceType,
};
use flotilla_operator::Key;
use flotilla_operator::fleet::{Access, Change, Changes, Fleets, View, What};

use crate::contract::Operator;
use crate::fleet::{Fleet, manifests};

const SOON: Duration = Duration::from_secs(20);

fn topic(name: &str) -> ApplyTopic {
    ApplyTopic {
        name: name.to_owned(),
        partitions: 2,
        replicas: 3,
        ..ApplyTopic::default()
    }
}

fn setting(value: Option<&str>) -> Vec<ResourceConfigs> {
    vec![ResourceConfigs {
        resource_type: ResourceType::Broker.into(),
        resource_name: String::new(),
        changes: vec![AlterConfig {
            operation: if value.is_some() {
                ConfigOperation::Set
            } else {
                ConfigOperation::Delete
            }
            .into(),
            key: "log.retention.ms".to_owned(),
            value: value.map(str::to_owned),
        }],
        replace: false,
    }]
}

/// Waits for a change.
async fn told(changes: &mut Changes, what: &What) {
    let next = async { while changes.next().await.what != *what {} };
    tokio::time::timeout(SOON, next)
        .await
        .unwrap_or_else(|_| panic!("nobody told of {what:?}"));
}

/// Waits until the view is so.
async fn seen(fleet: &flotilla_operator::fleet::Fleet, what: &str, wanted: impl Fn(&View) -> bool) {
    let mut sight = fleet.subscribe();
    let known = sight.wait_for(|sight| sight.view.as_deref().is_some_and(&wanted));
    let answer = tokio::time::timeout(SOON, known).await;
    assert!(answer.is_ok(), "not seen: {what}; last seen: {:?}", fleet.view());
}

fn fleet_of_three() -> (Fleet, Access) {
    let fleet = Fleet::start(&manifests(3, &[]));
    let access = Operator::of(&fleet).access();
    (fleet, access)
}

#[test]
fn what_changes_is_told_and_commands_go_on_when_a_broker_dies() {
    let (mut brokers, access) = fleet_of_three();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = Key::new("streaming", "events");
    let fleets = Fleets::default();
    let mut changes = fleets.changes();
    let _inside = runtime.enter();
    let fleet = fleets.reach(&key, access);
    runtime.block_on(async {
        assert_eq!(
            changes.next().await,
            Change {
                cluster: key.clone(),
                what: What::Connected
            }
        );
        let view = fleet.view().expect("what was told is there");
        assert_eq!(view.voters, view.directories());
        assert_eq!((view.voters.len(), view.brokers.len()), (3, 3));
        assert!(view.controller.is_some());

        assert!(
            fleet
                .dry_run()
                .apply_topic(topic("orders"))
                .await
                .unwrap()
                .changed
        );
        assert!(fleet.apply_topic(topic("orders")).await.unwrap().changed);
        told(&mut changes, &What::Topic("orders".to_owned())).await;
        assert_eq!(fleet.view().unwrap().topic("orders").unwrap().partitions.len(), 2);
        assert!(!fleet.apply_topic(topic("orders")).await.unwrap().changed);

        // All that a reconcile has to compare with is in the view.
        let placement = BrokerPlacement {
            broker_id: 1,
            rack: "zone-b".to_owned(),
            endpoints: vec![],
        };
        assert!(fleet.apply_broker(placement.clone()).await.unwrap().changed);
        assert!(fleet.apply_config(setting(Some("7000"))).await.unwrap().changed);
        assert!(fleet.drain(BrokerId(2), true).await.unwrap().changed);
        fleet.prepare_restart(&[BrokerId(0)], SOON).await.unwrap();
        seen(&fleet, "what was said of brokers", |view| {
            view.placements.get(&1).map(|placed| &**placed) == Some(&placement)
                && view.rack(BrokerId(1)) == Some("zone-b")
                && view.settings.get("log.retention.ms").map(String::as_str) == Some("7000")
                && view.draining.contains(&2)
                && view.grants.contains_key(&0)
        })
        .await;
        fleet.apply_config(setting(None)).await.unwrap();
        fleet.drain(BrokerId(2), false).await.unwrap();
        fleet.release_restart(&[BrokerId(0)]).await.unwrap();
        seen(&fleet, "all taken back", |view| {
            !view.settings.contains_key("log.retention.ms")
                && view.draining.is_empty()
                && view.grants.is_empty()
        })
        .await;
        let wide = ApplyTopic {
            replicas: 4,
            ..topic("wide")
        };
        let refused = fleet.apply_topic(wide).await.unwrap_err();
        assert_eq!(
            refused.refusal(),
            Some(Refusal::InvalidReplicationFactor),
            "{refused}"
        );

        // Each of them is the one that is followed, once, or the controller.
        for id in [0, 1, 2] {
            let epoch = |view: &View| view.brokers[&id].broker_epoch;
            let before = epoch(&fleet.view().expect("the fleet answers"));
            brokers.kill_broker(i64::from(id));
            let killed = Instant::now();
            let name = format!("after-{id}");
            assert!(fleet.apply_topic(topic(&name)).await.unwrap().changed);
            println!(
                "a command was answered {:?} after broker {id} was killed",
                killed.elapsed()
            );
            seen(&fleet, "the broker's next life", |view| {
                epoch(view) != before && view.online(BrokerId(id)) && view.topic(&name).is_some()
            })
            .await;
            seen(&fleet, "all in sync", |view| {
                (0..3).all(|id| view.online(BrokerId(id)) && view.in_sync(BrokerId(id)))
            })
            .await;
        }
        let mut lost = 0;
        while let Ok(change) = tokio::time::timeout(Duration::from_millis(10), changes.next()).await {
            lost += usize::from(change.what == What::Lost);
        }
        assert_eq!(lost, 0, "some broker answered all the time");
    });
    brokers.stop();
    runtime.block_on(async {
        told(&mut changes, &What::Lost).await;
        assert!(fleet.view().is_none() && fleet.lost_since().is_some());
        let error = fleet.apply_topic(topic("never")).await.unwrap_err();
        assert!(error.to_string().contains("no broker answers: broker"), "{error}");
    });
    brokers.up();
    runtime.block_on(async {
        told(&mut changes, &What::Connected).await;
        seen(&fleet, "the fleet that was there", |view| {
            view.topic("orders").is_some()
        })
        .await;
        assert_eq!(fleet.lost_since(), None);
    });
}
