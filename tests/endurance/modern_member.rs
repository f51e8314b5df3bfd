//! A member of a group of the new protocol (KIP-848), as small as can be: one connection, and the heartbeats that Java's consumer sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flotilla_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use flotilla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use flotilla_protocol::{ErrorCode, Str};

use crate::crowd::{Group, Told};
use crate::wire::{ASK_AGAIN, Wire, coordinator, refused};

/// `max.poll.interval.ms` of Java's consumer.
const REBALANCE_MS: i32 = 300_000;
/// Partitions of the one topic, which both members read.
const PARTITIONS: usize = 2;
/// The epochs of a member that joins, and of one that leaves.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;

const HEARTBEAT: i16 = 1;

pub struct ModernMember {
    bootstrap: String,
    group: Arc<Group>,
    /// Whether it is the one that leaves.
    restless: bool,
    told: Arc<Told>,
    wire: Wire,
    id: Str,
    epoch: i32,
    /// What it has and has not told yet.
    untold: Option<Vec<TopicPartitions>>,
    /// Until the next heartbeat, as the broker says.
    interval: Duration,
}

impl ModernMember {
    pub async fn of(bootstrap: &str, group: Arc<Group>, restless: bool, told: Arc<Told>) -> io::Result<Self> {
        let wire = coordinator(bootstrap, &group.name).await?;
        // Clients choose their ids themselves (KIP-1082).
        let id = Str::copy_from(&format!("{}-{}", group.name, usize::from(restless)));
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            group,
            restless,
            told,
            wire,
            id,
            epoch: JOINS,
            untold: None,
            interval: Duration::ZERO,
        })
    }

    /// Is in the group for as long as nobody ends it. An error: the broker refused what it should not.
    pub async fn stay(mut self) -> io::Result<()> {
        let group = self.group.clone();
        self.join().await?;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => self.beat().await?,
                () = group.change.notified(), if self.restless => {
                    self.leave().await?;
                    // Otherwise the other one would not notice.
                    let mut held = group.held[0].subscribe();
                    // The group lives as long as its members.
                    let _ = held.wait_for(|held| *held == PARTITIONS).await;
                    self.join().await?;
                }
            }
        }
    }

    /// Until the coordinator has taken it in.
    async fn join(&mut self) -> io::Result<()> {
        self.epoch = JOINS;
        while self.epoch == JOINS {
            self.beat().await?;
        }
        Ok(())
    }

    /// Sends a heartbeat, and another one at once where the assignment has changed, which tells so.
    async fn beat(&mut self) -> io::Result<()> {
        loop {
            let tells = self.untold.take();
            let request = self.request(tells.clone());
            let sent = Instant::now();
            let answer = self.wire.call(HEARTBEAT, &request).await?;
            // Who counts may have stopped.
            let _ = self.told.heartbeats.send(sent.elapsed());
            match ErrorCode::from(answer.error_code) {
                ErrorCode::None => {}
                ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                    self.told.expired.fetch_add(1, Ordering::Relaxed);
                    self.epoch = JOINS;
                    continue;
                }
                // While the topic of groups is made.
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable => {
                    self.untold = tells;
                    tokio::time::sleep(ASK_AGAIN).await;
                    self.wire = coordinator(&self.bootstrap, &self.group.name).await?;
                    continue;
                }
                error => return Err(refused("ConsumerGroupHeartbeat", error)),
            }
            if let Some(told) = tells {
                self.holds(&told);
            }
            self.take(answer);
            if self.untold.is_none() {
                return Ok(());
            }
        }
    }

    /// All that a member says when it joins, and afterwards what has changed.
    fn request(&self, tells: Option<Vec<TopicPartitions>>) -> ConsumerGroupHeartbeatRequest {
        let in_epoch = ConsumerGroupHeartbeatRequest {
            group_id: Str::copy_from(&self.group.name),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            topic_partitions: tells,
            ..Default::default()
        };
        if self.epoch == JOINS {
            ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: REBALANCE_MS,
                subscribed_topic_names: Some(vec!["t".into()]),
                topic_partitions: Some(Vec::new()),
                ..in_epoch
            }
        } else {
            in_epoch
        }
    }

    /// Follows what the coordinator says.
    fn take(&mut self, answer: ConsumerGroupHeartbeatResponse) {
        self.epoch = answer.member_epoch;
        self.interval = Duration::from_millis(answer.heartbeat_interval_ms.unsigned_abs().into());
        self.untold = answer.assignment.map(|assignment| {
            let assigned = assignment.topic_partitions.into_iter();
            assigned
                .map(|topic| TopicPartitions {
                    topic_id: topic.topic_id,
                    partitions: topic.partitions,
                })
                .collect()
        });
    }

    /// It has these partitions, and the coordinator knows.
    fn holds(&self, partitions: &[TopicPartitions]) {
        let count = partitions.iter().map(|topic| topic.partitions.len()).sum();
        self.hold(count);
    }

    fn hold(&self, count: usize) {
        self.group.held[usize::from(self.restless)].send_replace(count);
        let shared = self.group.held.iter().all(|held| *held.borrow() == 1);
        self.group.whole.store(shared, Ordering::Relaxed);
    }

    async fn leave(&mut self) -> io::Result<()> {
        self.epoch = LEAVES;
        let request = self.request(None);
        self.untold = None;
        self.hold(0);
        let answer = self.wire.call(HEARTBEAT, &request).await?;
        match ErrorCode::from(answer.error_code) {
            ErrorCode::None => {
                self.group.changes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            error => Err(refused("ConsumerGroupHeartbeat", error)),
        }
    }
}
