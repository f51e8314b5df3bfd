//! Whatever members and topics do: no task is ever active twice, no process has a task twice, and in the end everybody has what it is to
//! have.

use super::*;

/// A thread of an application, as it behaves.
#[derive(Clone, Debug, Default)]
struct Client {
    epoch: i32,
    owned: Assignment,
    wanted: Assignment,
}

#[derive(Clone, Debug)]
enum Event {
    Join(u8),
    Leave(u8),
    Vanish(u8),
    Beat(u8),
    Reconcile(u8),
    Topics(i32),
    Standbys(u8),
    Reload,
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let member = 0_u8..4;
    proptest::collection::vec(
        prop_oneof![
            2 => member.clone().prop_map(Event::Join),
            1 => member.clone().prop_map(Event::Leave),
            1 => member.clone().prop_map(Event::Vanish),
            6 => member.clone().prop_map(Event::Beat),
            6 => member.prop_map(Event::Reconcile),
            1 => (0_i32..5).prop_map(Event::Topics),
            1 => (0_u8..3).prop_map(Event::Standbys),
            1 => Just(Event::Reload),
            1 => (0_u64..20_000).prop_map(Event::Wait),
        ],
        0..80,
    )
}

/// Two processes of two threads each.
fn process(id: u8) -> String {
    format!("p{}", id / 2)
}

struct World {
    bench: Bench,
    clients: BTreeMap<u8, Client>,
    partitions: i32,
    standbys: u8,
    index: u64,
}

impl World {
    fn seen(&self) -> Seen {
        let topics = [("words", WORDS, self.partitions), ("log", LOG, self.partitions)];
        let there = match self.partitions {
            0 => &[][..],
            _ => &topics[..],
        };
        let standbys = self.standbys.to_string();
        seen_with(self.index, there, &[("streams.num.standby.replicas", &standbys)])
    }

    fn send(&mut self, id: u8, says_owned: bool) {
        let seen = self.seen();
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let member = format!("m{id}");
        let heartbeat = if client.epoch == 0 {
            Heartbeat {
                process_id: Some(text(&process(id))),
                ..joining(&member, &seen)
            }
        } else if says_owned {
            owning(&member, client.epoch, client.owned.clone(), &seen)
        } else {
            beat(&member, client.epoch, &seen)
        };
        let answer = self.bench.beats(heartbeat);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        match answer {
            Ok(answer) => {
                client.epoch = answer.epoch;
                if let Some(assignment) = answer.assignment {
                    client.wanted = assignment;
                }
            }
            Err(Refused {
                error: Error::UnknownMember | Error::FencedMemberEpoch | Error::GroupNotFound,
                ..
            }) => *client = Client::default(),
            // Topics were made anew with fewer partitions: tasks that it has are no more.
            Err(Refused {
                error: Error::InvalidRequest,
                ..
            }) => *client = Client::default(),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Gives up what it must, says so, and takes what it may.
    fn reconcile(&mut self, id: u8) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let (owned, wanted) = (&client.owned, &client.wanted);
        let both = |owned: &Tasks, wanted: &Tasks| -> Tasks {
            owned
                .iter()
                .filter(|(subtopology, partition)| wanted.contains(subtopology, *partition))
                .collect()
        };
        let kept = Assignment {
            active: both(&owned.active, &wanted.active),
            standby: both(&owned.standby, &wanted.standby),
            ..Assignment::default()
        };
        if kept != client.owned {
            client.owned = kept;
            self.send(id, true);
        }
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.owned = client.wanted.clone();
        self.send(id, true);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Join(id) => {
                self.clients.entry(id).or_default();
                self.send(id, true);
            }
            Event::Leave(id) => {
                if self.clients.remove(&id).is_some_and(|client| client.epoch > 0) {
                    let seen = self.seen();
                    let _ = self.bench.beats(beat(&format!("m{id}"), -1, &seen));
                }
            }
            Event::Vanish(id) => {
                self.clients.remove(&id);
            }
            Event::Beat(id) => self.send(id, false),
            Event::Reconcile(id) => self.reconcile(id),
            Event::Topics(partitions) => (self.index, self.partitions) = (self.index + 1, partitions),
            Event::Standbys(standbys) => (self.index, self.standbys) = (self.index + 1, standbys),
            Event::Reload => self.bench.shard = self.bench.reloaded(),
            Event::Wait(ms) => {
                self.bench.advance(ms);
                self.forget_who_was_put_out();
            }
        }
    }

    /// Who is put out learns of it before another gets what it had, as clients end their sessions themselves.
    fn forget_who_was_put_out(&mut self) {
        let group = self.bench.shard.streams.get("g").cloned();
        for (id, client) in &mut self.clients {
            let is_there = |member: &str| group.as_ref().is_some_and(|group| group.member(member).is_some());
            if !is_there(&format!("m{id}")) {
                *client = Client::default();
            }
        }
    }

    /// Who has which active tasks. None is had twice, and no process has a task in two roles.
    fn active(&self) -> BTreeMap<(Text, i32), u8> {
        let mut active = BTreeMap::new();
        let mut of_processes = BTreeSet::new();
        for (id, client) in &self.clients {
            for task in client.owned.active.iter() {
                assert_eq!(
                    active.insert(task.clone(), *id),
                    None,
                    "{task:?} is active twice: {:?}",
                    self.clients
                );
            }
            for task in client.owned.active.iter().chain(client.owned.standby.iter()) {
                let place = (process(*id), task);
                assert!(
                    of_processes.insert(place.clone()),
                    "{place:?} is there twice: {:?}",
                    self.clients
                );
            }
        }
        active
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn groups_converge_and_no_task_is_active_twice(
        events in events(),
        interval_ms in prop_oneof![Just(0_u64), Just(1_000)],
        delay_ms in prop_oneof![Just(0_u64), Just(3_000)],
    ) {
        let mut config = Config::default();
        config.streams.assignment_interval_ms = interval_ms;
        config.streams.initial_rebalance_delay_ms = delay_ms;
        let mut world = World {
            bench: Bench::with(config),
            clients: BTreeMap::new(),
            partitions: 3,
            standbys: 0,
            index: 1,
        };
        for event in events {
            world.happen(event);
            world.active();
        }
        // Those that vanished are put out, the others go on.
        for _ in 0..16 {
            world.happen(Event::Wait(5_000));
            for id in 0..4 {
                world.send(id, false);
                world.active();
                world.reconcile(id);
                world.active();
            }
        }
        let active = world.active();
        let wanted = if world.clients.is_empty() { 0 } else { world.partitions };
        prop_assert_eq!(active.len(), wanted as usize, "every task is active somewhere: {:?}", world.clients);
        let processes: BTreeSet<String> = world.clients.keys().map(|id| process(*id)).collect();
        let most = usize::from(world.standbys).min(processes.len().saturating_sub(1));
        let standby: usize = world.clients.values().map(|client| client.owned.standby.len()).sum();
        prop_assert_eq!(standby, wanted as usize * most, "and has its standbys: {:?}", world.clients);
        if !world.clients.is_empty() {
            let seen = world.seen();
            let expected = if world.partitions == 0 { StreamsState::NotReady } else { StreamsState::Stable };
            prop_assert_eq!(world.bench.streams_state(&seen), expected);
        }
    }
}
