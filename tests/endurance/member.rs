//! A member of a classic group, as small as can be, so that thousands fit into one process: one connection, Kafka's requests, and the times of
//! a Java consumer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flotilla_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use flotilla_protocol::messages::leave_group_request::MemberIdentity;
use flotilla_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use flotilla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use flotilla_protocol::{ErrorCode, Str};

use crate::crowd::{Group, Told};
use crate::wire::{ASK_AGAIN, Wire, coordinator, refused};

/// `session.timeout.ms`, `max.poll.interval.ms` and `heartbeat.interval.ms` of Java's consumer.
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 300_000;
const HEARTBEAT: Duration = Duration::from_secs(3);

const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEART: i16 = 4;
const LEAVE: i16 = 5;

pub struct Member {
    bootstrap: String,
    group: Arc<Group>,
    /// Whether it is the one that leaves.
    restless: bool,
    told: Arc<Told>,
    wire: Wire,
    id: Str,
    generation: i32,
}

impl Member {
    pub async fn of(
        bootstrap: String,
        group: Arc<Group>,
        restless: bool,
        told: Arc<Told>,
    ) -> io::Result<Self> {
        let wire = coordinator(&bootstrap, &group.name).await?;
        Ok(Self {
            bootstrap,
            group,
            restless,
            told,
            wire,
            id: Str::default(),
            generation: -1,
        })
    }

    /// Is in the group for as long as nobody ends it. An error: the broker refused what it should not.
    pub async fn stay(mut self) -> io::Result<()> {
        let group = self.group.clone();
        loop {
            self.join().await?;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(HEARTBEAT) => {
                        if !self.is_current().await? {
                            break;
                        }
                    }
                    () = group.change.notified(), if self.restless => {
                        self.leave().await?;
                        break;
                    }
                }
            }
        }
    }

    /// Until it has an assignment.
    async fn join(&mut self) -> io::Result<()> {
        loop {
            let request = JoinGroupRequest {
                group_id: self.group_id(),
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: REBALANCE_MS,
                member_id: self.id.clone(),
                protocol_type: "consumer".into(),
                protocols: vec![JoinGroupRequestProtocol {
                    name: "range".into(),
                    metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]),
                }],
                ..Default::default()
            };
            let joined = self.wire.call(JOIN, &request).await?;
            match ErrorCode::from(joined.error_code) {
                ErrorCode::None => {
                    self.id.clone_from(&joined.member_id);
                    self.generation = joined.generation_id;
                    if self.synced(&joined).await? {
                        return Ok(());
                    }
                }
                ErrorCode::MemberIdRequired => self.id = joined.member_id,
                ErrorCode::UnknownMemberId => self.expire(),
                // While the topic of groups is made.
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable => {
                    tokio::time::sleep(ASK_AGAIN).await;
                    self.wire = coordinator(&self.bootstrap, &self.group.name).await?;
                }
                error => return Err(refused("JoinGroup", error)),
            }
        }
    }

    /// Whether the generation that was joined came to an assignment.
    async fn synced(&mut self, joined: &JoinGroupResponse) -> io::Result<bool> {
        let leads = joined.leader == joined.member_id;
        let assignments = joined.members.iter().map(|member| SyncGroupRequestAssignment {
            member_id: member.member_id.clone(),
            assignment: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        });
        let request = SyncGroupRequest {
            group_id: self.group_id(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: assignments.collect(),
            ..Default::default()
        };
        let synced = self.wire.call(SYNC, &request).await?;
        match ErrorCode::from(synced.error_code) {
            ErrorCode::None => {
                if leads {
                    self.group
                        .whole
                        .store(joined.members.len() == 2, Ordering::Relaxed);
                }
                Ok(true)
            }
            ErrorCode::RebalanceInProgress => Ok(false),
            ErrorCode::UnknownMemberId => {
                self.expire();
                Ok(false)
            }
            error => Err(refused("SyncGroup", error)),
        }
    }

    /// Whether its generation goes on.
    async fn is_current(&mut self) -> io::Result<bool> {
        let request = HeartbeatRequest {
            group_id: self.group_id(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: None,
        };
        let sent = Instant::now();
        let answer = self.wire.call(HEART, &request).await?;
        // Who counts may have stopped.
        let _ = self.told.heartbeats.send(sent.elapsed());
        match ErrorCode::from(answer.error_code) {
            ErrorCode::None => Ok(true),
            ErrorCode::RebalanceInProgress => Ok(false),
            ErrorCode::UnknownMemberId => {
                self.expire();
                Ok(false)
            }
            error => Err(refused("Heartbeat", error)),
        }
    }

    async fn leave(&mut self) -> io::Result<()> {
        let request = LeaveGroupRequest {
            group_id: self.group_id(),
            members: vec![MemberIdentity {
                member_id: std::mem::take(&mut self.id),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.group.whole.store(false, Ordering::Relaxed);
        let answer = self.wire.call(LEAVE, &request).await?;
        let member = answer.members.first().map_or(0, |member| member.error_code);
        match [answer.error_code, member].map(ErrorCode::from) {
            [ErrorCode::None, ErrorCode::None] => {
                self.group.changes.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            errors => Err(refused("LeaveGroup", errors[0])),
        }
    }

    fn expire(&mut self) {
        self.told.expired.fetch_add(1, Ordering::Relaxed);
        self.id = Str::default();
    }

    fn group_id(&self) -> Str {
        Str::copy_from(&self.group.name)
    }
}
