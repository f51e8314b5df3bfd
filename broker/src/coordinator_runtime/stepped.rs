//! The shards one step at a time, none of which waits: what a simulation calls where a broker runs [`super::Groups`]. What
//! a step does is what the task of a shard does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flotilla_protocol::PartitionIndex;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::host::{Clock, Host, Job};
use super::load::{self, Tally};
use super::partitions::{Partitions, Place, ReadError};
use super::replicas::OfReplicas;
use crate::group::{Config, Error, Reply, Request, Shard, TOPIC, WriteError};
use crate::replica::{LeadershipChange, Replicas, Role};

/// How long a shard that could not be loaded waits before it tries again, in milliseconds.
const LOAD_RETRY_MS: u64 = 250;

type Load = BoxFuture<'static, Result<(Shard, Tally), load::Error>>;

/// The group coordinators of one broker.
pub struct Stepped {
    partitions: Arc<dyn Partitions>,
    changes: mpsc::UnboundedReceiver<LeadershipChange>,
    config: Config,
    now_ms: Arc<AtomicU64>,
    shards: BTreeMap<PartitionIndex, (Place, Phase)>,
    loaded: u64,
}

enum Phase {
    Loading(Load),
    Resting { until_ms: u64 },
    Active(Box<Host<Shard>>),
}

impl Stepped {
    /// Hosts nothing yet. The replicas wait for disks in place.
    #[must_use]
    pub fn new(replicas: &Arc<Replicas>, config: Config) -> Self {
        Self {
            partitions: Arc::new(OfReplicas::new(replicas.clone())),
            changes: replicas.leadership(TOPIC),
            config,
            now_ms: Arc::default(),
            shards: BTreeMap::new(),
            loaded: 0,
        }
    }

    /// How many shards were loaded.
    #[must_use]
    pub fn loaded(&self) -> u64 {
        self.loaded
    }

    /// Goes on with all that can go on. `now_ms` never goes back.
    pub fn step(&mut self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        while let Ok(change) = self.changes.try_recv() {
            self.take(&change);
        }
        let mut lost = Vec::new();
        for (partition, (place, phase)) in &mut self.shards {
            if matches!(phase, Phase::Resting { until_ms } if *until_ms <= now_ms) {
                *phase = Phase::Loading(begin(&self.partitions, *place, &self.config));
            }
            if let Phase::Loading(load) = phase
                && let Some(loaded) = load.now_or_never()
            {
                *phase = match loaded {
                    Ok((shard, _)) => {
                        self.loaded += 1;
                        let clock = Clock::told(self.now_ms.clone());
                        // Groups have nothing done elsewhere.
                        let (errands, _) = mpsc::unbounded_channel();
                        let partitions = self.partitions.clone();
                        let host = Host::new(*place, partitions, errands, shard, clock);
                        Phase::Active(Box::new(host))
                    }
                    Err(
                        load::Error::Read(ReadError::NotLeader) | load::Error::Commit(WriteError::NotLeader),
                    ) => {
                        lost.push(*partition);
                        continue;
                    }
                    Err(_) => Phase::Resting {
                        until_ms: now_ms + LOAD_RETRY_MS,
                    },
                };
            }
            if let Phase::Active(host) = phase
                && !host.step()
            {
                let resting = Phase::Resting {
                    until_ms: now_ms + LOAD_RETRY_MS,
                };
                if let Phase::Active(host) = std::mem::replace(phase, resting) {
                    host.unload();
                }
            }
        }
        for partition in lost {
            self.unload(partition);
        }
    }

    fn take(&mut self, change: &LeadershipChange) {
        let Role::Leader(leader_epoch) = change.role else {
            self.unload(change.partition);
            return;
        };
        let place = Place {
            topic_id: change.topic_id,
            partition: change.partition,
            leader_epoch,
        };
        if self
            .shards
            .get(&change.partition)
            .is_some_and(|(known, _)| *known == place)
        {
            return;
        }
        self.unload(change.partition);
        let load = begin(&self.partitions, place, &self.config);
        self.shards
            .insert(change.partition, (place, Phase::Loading(load)));
    }

    fn unload(&mut self, partition: PartitionIndex) {
        if let Some((_, Phase::Active(host))) = self.shards.remove(&partition) {
            host.unload();
        }
    }

    /// Asks the shard of a partition of `__consumer_offsets`.
    pub fn ask(&mut self, partition: PartitionIndex, request: Request) -> oneshot::Receiver<Reply> {
        let (answer, answered) = oneshot::channel();
        let refusal = match self.shards.get_mut(&partition) {
            Some((_, Phase::Active(host))) => {
                host.apply(Job { request, answer });
                host.step();
                return answered;
            }
            Some(_) => Error::LoadInProgress,
            None => Error::NotCoordinator,
        };
        // The receiver is here.
        let _ = answer.send(request.refused(refusal));
        answered
    }
}

fn begin(partitions: &Arc<dyn Partitions>, place: Place, config: &Config) -> Load {
    let (partitions, config) = (partitions.clone(), config.clone());
    Box::pin(async move { load::load(&*partitions, place, config).await })
}
