//! A member of a consumer group (the classic protocol): it joins, is assigned what there is or nothing, reads on from what
//! the group has committed, and commits.

use super::clients::Kind;
use super::event::{Answer, Ask};
use super::world::World;
use bytes::Bytes;
use flotilla_broker::group::consumer::Seen;
use flotilla_broker::group::{
    Commit, CommitPartition, Error, Fetch, Join, PartitionRef, Protocol, Reply, Request, Sync, Text,
    partition_of,
};
use flotilla_broker::replica::PartitionKey;
use flotilla_protocol::{PartitionIndex, Uuid};

/// What the group reads. Its records are of no concern here, only what is committed of it.
const TOPIC: &str = "t0";
const SESSION_MS: i32 = 1_500;
const REBALANCE_MS: i32 = 2_000;
/// What the leader of the group assigns to the one member that gets all.
const ALL: &[u8] = b"all";

/// One member.
pub(super) struct Member {
    pub group: String,
    id: Text,
    generation: i32,
    state: Membership,
    /// What it has to send as the leader of its group.
    assignments: Vec<(Text, Bytes)>,
    /// What it commits next.
    position: i64,
    /// What is being committed.
    committing: Option<i64>,
    knows_coordinator: bool,
    /// Whether it has committed after the last fault, or heard that it has nothing to do.
    pub is_content: bool,
    turn: u64,
    /// What was known to be committed when it asked last.
    known: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Joining,
    Syncing,
    /// It asks what is committed.
    Fetching,
    /// It commits.
    Owning,
    /// Another member has everything.
    Idle,
}

impl Member {
    pub fn new(group: &str) -> Self {
        Self {
            group: group.to_owned(),
            id: "".into(),
            generation: -1,
            state: Membership::Joining,
            assignments: Vec::new(),
            position: 0,
            committing: None,
            knows_coordinator: false,
            is_content: false,
            turn: 0,
            known: -1,
        }
    }

    fn rejoin(&mut self) {
        self.state = Membership::Joining;
        self.committing = None;
    }

    fn text(&self) -> Text {
        self.group.as_str().into()
    }

    fn request(&mut self, fresh: Uuid) -> Request {
        match self.state {
            Membership::Joining => Request::Join(Join {
                group: self.text(),
                member_id: self.id.clone(),
                instance_id: None,
                client_id: "member".into(),
                client_host: "/127.0.0.1".into(),
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: REBALANCE_MS,
                protocol_type: "consumer".into(),
                protocols: vec![Protocol {
                    name: "range".into(),
                    metadata: Bytes::from_static(b"m"),
                }],
                requires_known_member_id: true,
                can_skip_assignment: false,
                fresh_id: fresh.to_string().as_str().into(),
                seen: Seen::default(),
            }),
            Membership::Syncing => Request::Sync(Sync {
                group: self.text(),
                generation: self.generation,
                member_id: self.id.clone(),
                instance_id: None,
                protocol_type: None,
                protocol: None,
                assignments: self.assignments.clone(),
                seen: Seen::default(),
            }),
            Membership::Fetching => Request::Fetch(Fetch {
                group: self.text(),
                partitions: Some(vec![PartitionRef {
                    topic: TOPIC.into(),
                    topic_id: Uuid::default(),
                    partition: 0,
                }]),
                require_stable: true,
                member: None,
            }),
            Membership::Owning if !self.turn.is_multiple_of(3) => {
                let offset = self.position + 1;
                self.committing = Some(offset);
                Request::Commit(Commit {
                    group: self.text(),
                    generation: self.generation,
                    member_id: self.id.clone(),
                    instance_id: None,
                    retention_ms: -1,
                    knows_group_not_found: true,
                    partitions: vec![CommitPartition {
                        topic: TOPIC.into(),
                        topic_id: Uuid::default(),
                        partition: 0,
                        offset,
                        leader_epoch: -1,
                        metadata: "".into(),
                    }],
                })
            }
            Membership::Owning | Membership::Idle => Request::Heartbeat {
                group: self.text(),
                member_id: self.id.clone(),
                instance_id: None,
                generation: self.generation,
                seen: Seen::default(),
            },
        }
    }
}

impl World {
    /// Where a group lives.
    fn home(&self, group: &str) -> Option<PartitionKey> {
        let partitions = i32::try_from(self.group_keys.len())
            .ok()
            .filter(|count| *count > 0)?;
        let home = PartitionIndex(partition_of(group, partitions));
        self.group_keys.iter().find(|key| key.partition == home).copied()
    }

    pub(super) fn member_acts(&mut self, client: usize) {
        let fresh = super::site::uuid(&mut self.dice.client);
        let Kind::Member(member) = &self.clients.all[client].kind else {
            return;
        };
        let group = member.group.clone();
        let Some(home) = self.home(&group) else {
            self.client_after(client, 100_000);
            return;
        };
        let leader = self.clients.all[client].leaders.get(&home).copied();
        let Kind::Member(member) = &mut self.clients.all[client].kind else {
            return;
        };
        let Some((leader, _)) = leader.filter(|_| member.knows_coordinator) else {
            self.client_asks_for_leader(client, home);
            return;
        };
        member.turn += 1;
        member.known = self.laws.group_offsets.known(&group);
        let request = Box::new(member.request(fresh));
        let ask = Ask::Group {
            partition: home.partition,
            request,
        };
        // A join may wait for others as long as a rebalance takes.
        self.client_asks_within(client, leader.0 as usize, ask, 4_000_000);
    }

    pub(super) fn member_answered(&mut self, client: usize, answer: Answer) {
        let Kind::Member(member) = &self.clients.all[client].kind else {
            return;
        };
        let Some(home) = self.home(&member.group) else {
            return;
        };
        let us = match answer {
            Answer::Leader(leader) => {
                let knows = self.client_learns(client, home, leader);
                if let Kind::Member(member) = &mut self.clients.all[client].kind {
                    member.knows_coordinator = leader.is_some();
                }
                if knows { 0 } else { 50_000 }
            }
            Answer::Group(reply) => self.member_told(client, *reply),
            _ => {
                if let Kind::Member(member) = &mut self.clients.all[client].kind {
                    member.knows_coordinator = false;
                    // What was under way is in doubt: what is committed is asked for again.
                    if member.committing.take().is_some() {
                        member.state = Membership::Fetching;
                    }
                }
                self.dice.client.between(10_000, 100_000) as u64
            }
        };
        self.client_after(client, us);
    }

    /// After how many microseconds the member goes on.
    fn member_told(&mut self, client: usize, reply: Reply) -> u64 {
        let is_healed = self.is_healed;
        let calm_us = self.dice.client.between(20_000, 200_000) as u64;
        let Kind::Member(member) = &mut self.clients.all[client].kind else {
            return calm_us;
        };
        let refusal = match reply {
            Reply::Join(joined) => match joined.error {
                None => {
                    member.id = joined.member_id.clone();
                    member.generation = joined.generation;
                    member.state = Membership::Syncing;
                    member.assignments.clear();
                    if joined.leader == joined.member_id {
                        let mut ids: Vec<Text> = joined
                            .members
                            .into_iter()
                            .map(|member| member.member_id)
                            .collect();
                        ids.sort();
                        member.assignments = ids
                            .into_iter()
                            .enumerate()
                            .map(|(place, id)| {
                                let gets: &'static [u8] = if place == 0 { ALL } else { b"" };
                                (id, Bytes::from_static(gets))
                            })
                            .collect();
                    }
                    self.counts.count("group generations joined");
                    return 0;
                }
                Some(error) => {
                    if error == Error::MemberIdRequired {
                        member.id = joined.member_id;
                        return 0;
                    }
                    error
                }
            },
            Reply::Sync(Ok(assigned)) => {
                member.state = if assigned.assignment == ALL {
                    Membership::Fetching
                } else {
                    member.is_content |= is_healed;
                    Membership::Idle
                };
                return 0;
            }
            Reply::Heartbeat(Ok(())) => {
                member.is_content |= is_healed && member.state == Membership::Idle;
                return calm_us;
            }
            Reply::Fetch(Ok(found)) => {
                let committed = found.into_iter().next().map(|found| found.committed);
                match committed {
                    Some(Ok(committed)) => {
                        let offset = committed.map_or(-1, |committed| committed.offset);
                        let held = self
                            .laws
                            .group_offsets
                            .fetched(&member.group, member.known, offset);
                        member.position = offset.max(0);
                        member.state = Membership::Owning;
                        self.counts.count("group offsets fetched");
                        if !self.laws.is_lossy {
                            self.hold(held);
                        }
                        return calm_us;
                    }
                    Some(Err(error)) => error,
                    None => Error::NotAvailable,
                }
            }
            Reply::Commit(Ok(results)) => match results.first() {
                Some(Ok(())) => {
                    if let Some(offset) = member.committing.take() {
                        member.position = offset;
                        member.is_content |= is_healed;
                        self.laws.group_offsets.committed(&member.group, offset);
                        self.counts.count("group offsets committed");
                    }
                    return calm_us;
                }
                Some(Err(error)) => *error,
                None => Error::NotAvailable,
            },
            Reply::Sync(Err(error)) | Reply::Heartbeat(Err(error)) => error,
            Reply::Fetch(Err(error)) | Reply::Commit(Err(error)) => error,
            _ => Error::Unexpected,
        };
        match refusal {
            Error::UnknownMember => {
                member.id = "".into();
                member.rejoin();
            }
            Error::IllegalGeneration | Error::RebalanceInProgress => member.rejoin(),
            Error::NotCoordinator => member.knows_coordinator = false,
            _ => {}
        }
        if member.committing.take().is_some() && member.state == Membership::Owning {
            member.state = Membership::Fetching;
        }
        calm_us
    }
}
