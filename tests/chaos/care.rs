//! What an operator does while the fleet runs: it follows the fleet, and gives a voter that lost its disk its vote anew.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use flotilla_control::BrokerId;
use flotilla_operator::cluster::stale_voter;
use flotilla_operator::fleet::{Access, Fleet, View};
use tokio::runtime::Runtime;

/// How often the quorum is looked at, and how long it is left alone after a change.
const INTERVAL: Duration = Duration::from_millis(500);

/// The operator's view of the fleet, and its hands.
pub struct Care {
    fleet: Fleet,
    brokers: Vec<BrokerId>,
    _runtime: Runtime,
}

impl Care {
    pub fn take(access: Access) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot make a runtime")?;
        let brokers: Vec<BrokerId> = access.brokers.iter().map(|(id, _)| *id).collect();
        let inside = runtime.enter();
        let fleet = Fleet::follow(access);
        runtime.spawn(mend_quorum(fleet.clone(), brokers.clone()));
        drop(inside);
        Ok(Self {
            fleet,
            brokers,
            _runtime: runtime,
        })
    }

    /// The fleet as it is now, while it answers.
    pub fn view(&self) -> Option<Arc<View>> {
        self.fleet.view()
    }

    /// Whether every broker serves, every replica is in sync, nothing moves, and every broker votes from the directory that it has:
    /// only then may a disk be destroyed. Says what is missing.
    pub fn whole(&self) -> Result<(), String> {
        let view = self.view().ok_or("the fleet does not answer")?;
        for id in &self.brokers {
            if !view.online(*id) {
                return Err(format!("broker {id} is not online"));
            }
            if !view.in_sync(*id) {
                let behind = view
                    .partitions()
                    .filter(|partition| partition.replicas.contains(&id.0) && !partition.isr.contains(&id.0));
                return Err(format!(
                    "broker {id} is not in sync with {} partitions",
                    behind.count()
                ));
            }
            if view.voters.get(id) != view.directory(*id).as_ref() {
                return Err(format!(
                    "broker {id} does not vote from the directory that it has"
                ));
            }
        }
        match view.moving() {
            0 => Ok(()),
            moving => Err(format!("{moving} partitions move")),
        }
    }
}

/// As `flotilla up` and the operator on Kubernetes do it: the vote of a directory that is gone is taken away, and the broker votes
/// again with the one that it has now.
async fn mend_quorum(fleet: Fleet, brokers: Vec<BrokerId>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(view) = fleet.view() else { continue };
        if view.voters.is_empty() {
            continue;
        }
        // What cannot be done now is tried again.
        if let Some((id, directory)) = stale_voter(&view.voters, &view.directories()) {
            let _ = fleet.remove_voter(id, Some(directory)).await;
        } else if let Some(id) = brokers
            .iter()
            .find(|id| !view.voters.contains_key(id) && view.online(**id))
        {
            let _ = fleet.add_voter(*id, view.directory(*id)).await;
        }
    }
}
