//! Clients of both protocols in one group, which goes from one kind to the other with them.

use flotilla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use flotilla_protocol::wire::{Message, Reader};

use super::migration::{alive, assignment, classic_join, classic_sync, cooperative};
use super::*;

/// What a classic client does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Join,
    Sync,
    Beat,
}

/// A client of the classic protocol that does what Java's does.
#[derive(Clone, Debug, Default)]
struct ClassicClient {
    id: String,
    generation: i32,
    owned: BTreeSet<i32>,
    next: Next,
    /// Of the leader: what each is to hold.
    parts: Vec<(String, Bytes)>,
    waiting: Option<Ticket>,
}

impl ClassicClient {
    /// It has lost its place and all that it held; it may keep its id.
    fn lose(&mut self, id: String) {
        *self = Self {
            id,
            ..Self::default()
        };
    }
}

struct Both {
    modern: World,
    classic: BTreeMap<u8, ClassicClient>,
    /// Whether classic clients give up only what moves.
    is_cooperative: bool,
    fresh: u32,
}

fn decoded<T: Message>(bytes: &Bytes) -> T {
    let version = i16::from_be_bytes([bytes[0], bytes[1]]);
    T::decode(&mut Reader::new(bytes.slice(2..)), version).expect("well formed")
}

fn partitions_of(bytes: &Bytes) -> BTreeSet<i32> {
    let told: ConsumerProtocolAssignment = decoded(bytes);
    let places = told.assigned_partitions.into_iter();
    places.flat_map(|topic| topic.partitions).collect()
}

/// An even assignment in which nobody gets what another still holds.
fn shared_out(members: &[JoinedMember], count: i32) -> Vec<(String, Bytes)> {
    let most = (count as usize).div_ceil(members.len());
    let mut owners: BTreeMap<i32, usize> = BTreeMap::new();
    let mut parts = vec![BTreeSet::new(); members.len()];
    for (place, member) in members.iter().enumerate() {
        let told: ConsumerProtocolSubscription = decoded(&member.metadata);
        for owned in told
            .owned_partitions
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            // Of two that say so, one speaks of a generation of the past.
            if owned < count && owners.insert(owned, place).is_none() && parts[place].len() < most {
                parts[place].insert(owned);
            }
        }
    }
    for partition in (0..count).filter(|partition| !owners.contains_key(partition)) {
        let fewest = (0..parts.len()).min_by_key(|place| parts[*place].len());
        parts[fewest.expect("a member")].insert(partition);
    }
    let ids = members.iter().map(|member| member.member_id.to_string());
    let bytes = parts
        .iter()
        .map(|part| assignment(1, &part.iter().copied().collect::<Vec<_>>()));
    ids.zip(bytes).collect()
}

impl Both {
    fn turn(&mut self, id: u8) {
        let seen = self.modern.seen();
        let Some(client) = self.classic.get_mut(&id) else {
            self.modern.send(id, false);
            self.modern.reconcile(id);
            return;
        };
        if client.waiting.is_none() {
            let request = match client.next {
                Next::Join => {
                    if !self.is_cooperative {
                        client.owned.clear();
                    }
                    self.fresh += 1;
                    let mut join = classic_join(&client.id, &format!("{id}-{}", self.fresh), &seen);
                    if self.is_cooperative {
                        let owned: Vec<i32> = client.owned.iter().copied().collect();
                        join.protocols[0].metadata = cooperative(&owned);
                    }
                    join.session_timeout_ms = 45_000;
                    Request::Join(join)
                }
                Next::Sync => {
                    let parts: Vec<(&str, Bytes)> = client
                        .parts
                        .iter()
                        .map(|(id, bytes)| (&**id, bytes.clone()))
                        .collect();
                    Request::Sync(classic_sync(&client.id, client.generation, &parts, &seen))
                }
                Next::Beat => alive(&client.id, client.generation, &seen),
            };
            let to = self.modern.bench.send(request);
            self.classic.entry(id).or_default().waiting = Some(to);
        }
        self.listen(id);
    }

    /// Takes the answer that a classic client waits for, if it is there.
    fn listen(&mut self, id: u8) {
        let Some(client) = self.classic.get_mut(&id) else {
            return;
        };
        let Some(reply) = client
            .waiting
            .and_then(|to| self.modern.bench.replies.remove(&to))
        else {
            return;
        };
        client.waiting = None;
        match reply {
            Reply::Join(Joined { error: None, .. }) | Reply::Sync(Ok(_)) | Reply::Heartbeat(Ok(())) => {}
            Reply::Join(Joined {
                error: Some(Error::MemberIdRequired),
                ref member_id,
                ..
            }) => client.id = member_id.to_string(),
            Reply::Join(Joined {
                error: Some(error), ..
            })
            | Reply::Sync(Err(error))
            | Reply::Heartbeat(Err(error)) => match error {
                Error::RebalanceInProgress => client.next = Next::Join,
                Error::IllegalGeneration => client.lose(client.id.clone()),
                Error::UnknownMember => client.lose(String::new()),
                other => panic!("{other:?}"),
            },
            ref other => panic!("{other:?}"),
        }
        match reply {
            Reply::Join(joined) if joined.error.is_none() => {
                client.id = joined.member_id.to_string();
                client.generation = joined.generation;
                client.next = Next::Sync;
                client.parts = match *joined.leader == *client.id {
                    true => shared_out(&joined.members, self.modern.topics.0),
                    false => Vec::new(),
                };
            }
            Reply::Sync(Ok(assigned)) => {
                let owned = partitions_of(&assigned.assignment);
                let gives_up = !client.owned.is_subset(&owned);
                client.owned = owned;
                client.next = if gives_up { Next::Join } else { Next::Beat };
            }
            _ => {}
        }
    }

    fn happen(&mut self, event: &Happening) {
        match *event {
            Happening::Start(id) if !self.classic.contains_key(&id) => {
                self.classic.insert(id, ClassicClient::default());
                self.turn(id);
            }
            Happening::StartModern(id) => self.modern.happen(Event::Join(id, 1)),
            Happening::Stop(id) => {
                if let Some(client) = self.classic.remove(&id) {
                    if client.next == Next::Beat {
                        self.modern.bench.send(leave(&client.id));
                    }
                } else {
                    self.modern.happen(Event::Leave(id));
                }
            }
            Happening::Turn(id) => self.turn(id),
            Happening::Move => {
                self.modern.bench = self.modern.bench.moved();
                // Who waited is sent away, and asks again.
                for client in self
                    .classic
                    .values_mut()
                    .filter(|client| client.waiting.is_some())
                {
                    client.waiting = None;
                    client.next = Next::Join;
                }
            }
            Happening::Wait(ms) => self.modern.happen(Event::Wait(ms)),
            Happening::Start(_) => {}
        }
        self.hear();
    }

    /// Answers arrive, and who was put out learns of it before another gets what it had, as clients end their sessions themselves.
    fn hear(&mut self) {
        for id in 0..5 {
            self.listen(id);
        }
        let shard = &self.modern.bench.shard;
        let is_there = |id: &str| {
            let modern = shard.consumers.get("g");
            let classic = shard.groups.get("g");
            modern.is_some_and(|group| group.member(id).is_some())
                || classic.is_some_and(|group| group.member(id).is_some() || group.pending_joins.contains(id))
        };
        for client in self.classic.values_mut() {
            if client.next != Next::Join && !is_there(&client.id) {
                client.lose(String::new());
            }
        }
        for (id, client) in &mut self.modern.clients {
            if client.epoch > 0 && !is_there(&format!("m{id}")) {
                *client = Client {
                    subscribed: client.subscribed.clone(),
                    ..Client::default()
                };
            }
        }
    }

    /// Who holds what of `orders`; nothing is held twice.
    fn held(&self) -> BTreeMap<i32, String> {
        let modern = self.modern.owned();
        let mut held: BTreeMap<i32, String> = modern
            .into_iter()
            .map(|((_, partition), id)| (partition, format!("m{id}")))
            .collect();
        for client in self.classic.values() {
            for partition in &client.owned {
                let other = held.insert(*partition, client.id.clone());
                assert_eq!(
                    other, None,
                    "partition {partition} is held twice: {:?} {:?}",
                    self.classic, self.modern.clients
                );
            }
        }
        held
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Start(u8),
    StartModern(u8),
    Stop(u8),
    Turn(u8),
    /// Another coordinator takes over.
    Move,
    Wait(u64),
}

/// Clients 0 to 2 are classic ones, the others speak the new protocol.
fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        2 => (0_u8..3).prop_map(Happening::Start),
        1 => (3_u8..5).prop_map(Happening::StartModern),
        1 => (0_u8..5).prop_map(Happening::Stop),
        10 => (0_u8..5).prop_map(Happening::Turn),
        1 => Just(Happening::Move),
        2 => (0_u64..8_000).prop_map(Happening::Wait),
    ];
    proptest::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever comes and goes, no partition is ever held by two; and once all rest, each is held by one, and the group is of the kind
    /// of its members.
    #[test]
    fn members_of_both_protocols_share_a_group_and_no_partition_is_held_twice(
        happenings in happenings(),
        is_cooperative in any::<bool>(),
    ) {
        let mut both = Both {
            modern: World {
                bench: Bench::eager(),
                clients: BTreeMap::new(),
                topics: (5, 0),
                index: 1,
                is_range: false,
            },
            classic: BTreeMap::new(),
            is_cooperative,
            fresh: 0,
        };
        for happening in &happenings {
            both.happen(happening);
            both.held();
        }
        for _ in 0..40 {
            both.happen(&Happening::Wait(3_000));
            for id in 0..5 {
                both.happen(&Happening::Turn(id));
                both.held();
            }
        }
        let modern = both.modern.clients.values().any(|client| client.epoch > 0);
        if modern || !both.classic.is_empty() {
            let held: Vec<i32> = both.held().into_keys().collect();
            prop_assert_eq!(held, (0..5).collect::<Vec<_>>(), "{:?} {:?}", both.classic, both.modern.clients);
            prop_assert_eq!(both.modern.bench.shard.consumers.contains("g"), modern);
            prop_assert_eq!(both.modern.bench.shard.groups.contains_key("g"), !modern);
        }
    }
}
