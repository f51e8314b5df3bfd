//! Volumes that come back empty.

use std::time::Duration;

use flotilla_control::BrokerId;
use flotilla_operator::fleet;

use crate::contract::Operator;
use crate::eventually::eventually;
use crate::fleet::{Fleet, manifests};
use crate::kafka::config;
use crate::writer::{Writer, check};

const SOON: Duration = Duration::from_secs(60);

/// While clients write, the data directory of one broker after another is emptied: each comes back as a stranger, gets its replicas
/// from their leaders and, where it voted, its vote anew.
fn empty(replicas: u32, ids: &[i64], voters: usize) {
    let brokers = Fleet::start(&manifests(replicas, &[("orders", 4, 3)]));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let fleet = fleet::Fleet::follow(Operator::of(&brokers).access());
    let writer = Writer::start(&config(brokers.bootstrap()), "orders");
    writer.wait_for_more(500, Duration::from_secs(20));
    for id in ids {
        let broker = BrokerId(*id as i32);
        let before = runtime.block_on(fleet.seen()).expect("the fleet answers");
        let directory = before.directory(broker).expect("the broker is registered");
        brokers.empty_volume(*id);
        eventually(SOON, "the broker to be whole again", || {
            let Some(view) = fleet.view() else {
                return Err("the fleet does not answer".to_owned());
            };
            let whole = view.directory(broker) != Some(directory)
                && view.online(broker)
                && view.brokers.keys().all(|id| view.in_sync(BrokerId(*id)))
                && view.voters.len() == voters
                && view
                    .voters
                    .iter()
                    .all(|(id, directory)| view.directory(*id) == Some(*directory));
            whole.then_some(()).ok_or_else(|| format!("{view:?}"))
        });
        writer.wait_for_more(200, Duration::from_secs(10));
    }
    check(&config(brokers.bootstrap()), "orders", &writer.finish());
}

#[test]
fn emptied_volumes_of_voters_heal_one_after_another_and_nothing_is_lost() {
    empty(3, &[0, 1, 2], 3);
}

#[test]
fn emptied_volume_of_a_broker_that_does_not_vote_heals_from_its_leaders() {
    empty(4, &[3], 3);
}
