//! The fleet as the operator sees it: by one stream of changes, so that looking costs the fleet nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flotilla_control::BrokerId;
use flotilla_operator::fleet::{self, View};
use tokio::runtime::Runtime;

use crate::contract::Operator;
use crate::fleet::Fleet;

/// Follows a fleet.
pub struct Sight {
    runtime: Runtime,
    fleet: fleet::Fleet,
}

impl Sight {
    pub fn of(fleet: &Fleet) -> Self {
        let access = Operator::of(fleet).access();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let fleet = {
            let _inside = runtime.enter();
            fleet::Fleet::follow(access)
        };
        Self { runtime, fleet }
    }

    /// The first view that `wanted` takes.
    pub fn wait(&self, within: Duration, what: &str, wanted: impl Fn(&View) -> bool) -> Arc<View> {
        let mut sights = self.fleet.subscribe();
        let begun = Instant::now();
        let seen = async {
            loop {
                let view = sights.borrow_and_update().view.clone();
                if let Some(view) = view.filter(|view| wanted(view)) {
                    return view;
                }
                sights.changed().await.expect("the fleet is followed");
            }
        };
        let found = self
            .runtime
            .block_on(async { tokio::time::timeout(within, seen).await });
        found.unwrap_or_else(|_| {
            let last = sights.borrow().view.clone();
            let said = last.map_or("no broker answers".to_owned(), |view| told(&view));
            panic!("waited {:?} for {what}; last seen: {said}", begun.elapsed())
        })
    }

    /// All `brokers` serve and are in sync everywhere.
    pub fn wait_whole(&self, within: Duration, brokers: i32) -> Arc<View> {
        self.wait(within, "all brokers to be in sync", |view| whole(view, brokers))
    }

    /// The same, each partition led by the broker that is preferred.
    pub fn wait_even(&self, within: Duration, brokers: i32) -> Arc<View> {
        self.wait(within, "preferred leaders to lead", |view| {
            whole(view, brokers) && !view.askew()
        })
    }

    /// As it is now.
    pub fn now(&self) -> Arc<View> {
        self.wait(Duration::from_secs(60), "the fleet to answer", |_| true)
    }
}

/// The epoch of a broker's registration; each process has another.
pub fn epoch(view: &View, broker: i32) -> Option<i64> {
    view.brokers.get(&broker).map(|broker| broker.broker_epoch)
}

fn whole(view: &View, brokers: i32) -> bool {
    (0..brokers).all(|id| view.online(BrokerId(id)) && view.in_sync(BrokerId(id)))
        && view.controller.is_some()
        && view.partitions().next().is_some()
}

/// What matters of a view, in a line.
fn told(view: &View) -> String {
    let brokers = view.brokers.values().map(|broker| {
        let state = if broker.fenced { "fenced" } else { "alive" };
        format!("{} {state} epoch {}", broker.broker_id, broker.broker_epoch)
    });
    let brokers: Vec<String> = brokers.collect();
    let behind = view
        .partitions()
        .filter(|partition| partition.isr.len() < partition.replicas.len());
    let led: Vec<i32> = view
        .partitions()
        .take(12)
        .map(|partition| partition.leader)
        .collect();
    format!(
        "controller {:?}; brokers {brokers:?}; {} partitions with replicas out of sync; the first are led by {led:?}",
        view.controller,
        behind.count()
    )
}
