//! Share groups (KIP-932).

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::group::consumer::{Partitions, Refused, Seen};
use crate::group::share::{Beat, Described, Heartbeat, Named, Standing};
use crate::group::testing::seen;

const ORDERS: Uuid = Uuid([1; 16]);

fn beat(member: &str, epoch: i32, topics: Option<&[&str]>, seen: &Seen) -> Heartbeat {
    Heartbeat {
        group: text("g"),
        member_id: text(member),
        epoch,
        rack_id: None,
        topics: topics.map(|topics| topics.iter().map(|topic| text(topic)).collect()),
        client_id: text("c"),
        client_host: text("/h"),
        seen: seen.clone(),
    }
}

fn named(partitions: impl IntoIterator<Item = i32>) -> BTreeMap<Uuid, Named> {
    let named = Named {
        name: text("orders"),
        partitions: partitions.into_iter().collect(),
    };
    [(ORDERS, named)].into()
}

fn orders(partitions: impl IntoIterator<Item = i32>) -> Partitions {
    partitions
        .into_iter()
        .map(|partition| (ORDERS, partition))
        .collect()
}

/// Deliveries of `g` are about to be set anew, or only whether that may be is asked.
fn altering(sets: bool) -> Request {
    Request::ShareAltering {
        group: text("g"),
        sets,
    }
}

impl Bench {
    fn share_heartbeat(&mut self, heartbeat: Heartbeat) -> Result<Beat, Refused> {
        match self.ask(Request::ShareHeartbeat(Box::new(heartbeat))) {
            Reply::ShareHeartbeat(answer) => answer,
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    /// As the request's handler does it: what is to be initialized is, and then the member asks once more.
    fn share(&mut self, heartbeat: Heartbeat) -> Beat {
        let first = self.share_heartbeat(heartbeat.clone()).expect("a member");
        if first.to_initialize.is_empty() {
            return first;
        }
        let request = Request::ShareInitialized {
            group: text("g"),
            topics: first.to_initialize,
        };
        assert_eq!(self.ask(request), Reply::ShareChanged(Ok(())));
        self.share_heartbeat(heartbeat).expect("a member")
    }

    fn standing(&mut self, request: Request) -> Result<Standing, Error> {
        match self.ask(request) {
            Reply::ShareStanding(standing) => standing,
            other => panic!("no standing: {other:?}"),
        }
    }

    fn share_described(&mut self) -> Result<Described, Refused> {
        match self.ask(Request::ShareDescribe(vec![text("g")])) {
            Reply::ShareDescribe(Ok(mut groups)) => groups.remove(0),
            other => panic!("not described: {other:?}"),
        }
    }

    fn eager_share() -> Self {
        let mut config = Config::default();
        config.share.assignment_interval_ms = 0;
        Self::with(config)
    }
}

#[test]
fn a_member_is_assigned_what_is_initialized() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    let first = bench
        .share_heartbeat(beat("a", 0, Some(&["orders"]), &seen))
        .unwrap();
    assert_eq!(
        (first.assignment, first.to_initialize, first.state_epoch),
        (Some(Partitions::default()), named(0..2), 1)
    );
    // While one has it initialized, others do not.
    let other = bench
        .share_heartbeat(beat("b", 0, Some(&["orders"]), &seen))
        .unwrap();
    assert_eq!(
        (other.assignment, other.to_initialize),
        (Some(Partitions::default()), BTreeMap::new())
    );
    let initialized = Request::ShareInitialized {
        group: text("g"),
        topics: named(0..2),
    };
    assert_eq!(bench.ask(initialized), Reply::ShareChanged(Ok(())));
    let one = bench
        .share_heartbeat(beat("a", 0, Some(&["orders"]), &seen))
        .unwrap();
    let two = bench
        .share_heartbeat(beat("b", other.epoch, None, &seen))
        .unwrap();
    let both: Partitions = [&one, &two]
        .into_iter()
        .flat_map(|beat| beat.assignment.as_ref().expect("news").iter().collect::<Vec<_>>())
        .collect();
    assert_eq!(both, orders(0..2));
    assert_eq!((one.epoch, one.heartbeat_interval_ms), (two.epoch, 5_000));
    // No news: nothing is said of it.
    let again = bench.share_heartbeat(beat("a", one.epoch, None, &seen)).unwrap();
    assert_eq!((again.assignment, again.epoch), (None, one.epoch));
}

#[test]
fn members_share_a_partition_and_leave_it_to_each_other() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    let one = bench.share(beat("a", 0, Some(&["orders"]), &seen));
    let two = bench.share(beat("b", 0, Some(&["orders"]), &seen));
    assert_eq!(
        (one.assignment, two.assignment),
        (Some(orders([0])), Some(orders([0])))
    );
    let left = bench.share_heartbeat(beat("a", -1, None, &seen)).unwrap();
    assert_eq!((left.epoch, left.assignment), (-1, None));
    let described = bench.share_described().unwrap();
    assert_eq!((described.state, described.members.len()), ("Stable", 1));
    // One that is silent is put out.
    bench.advance(45_000);
    assert_eq!(bench.share_described().unwrap().state, "Empty");
    let unknown = bench
        .share_heartbeat(beat("b", two.epoch, None, &seen))
        .unwrap_err();
    assert_eq!(unknown.error, Error::UnknownMember);
}

#[test]
fn partitions_that_come_later_are_initialized_and_assigned() {
    let mut bench = Bench::eager_share();
    let before = seen(1, &[("orders", ORDERS, 1)]);
    let one = bench.share(beat("a", 0, Some(&["orders"]), &before));
    let after = seen(2, &[("orders", ORDERS, 3)]);
    let grown = bench.share(beat("a", one.epoch, None, &after));
    assert!(grown.epoch > one.epoch);
    assert_eq!(bench.share_described().unwrap().members[0].assigned, orders(0..3));
    // And those of a topic that is gone are forgotten.
    let gone = DeletedTopic {
        name: text("orders"),
        id: ORDERS,
    };
    assert_eq!(
        bench.ask(Request::TopicsDeleted(vec![gone])),
        Reply::TopicsDeleted
    );
    let standing = bench.standing(Request::ShareStanding(text("g"))).unwrap();
    assert!(standing.partitions.is_empty());
}

#[test]
fn epochs_of_others_are_fenced_and_those_of_the_past_too() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    let not_there = bench.share_heartbeat(beat("a", 1, None, &seen)).unwrap_err();
    assert_eq!(not_there.error, Error::GroupNotFound);
    let first = bench.share(beat("a", 0, Some(&["orders"]), &seen));
    bench.share(beat("b", 0, Some(&["orders"]), &seen));
    let second = bench
        .share_heartbeat(beat("a", first.epoch, None, &seen))
        .unwrap();
    // The answer was lost: the member says once more what it knew.
    assert!(second.epoch > first.epoch);
    assert!(bench.share_heartbeat(beat("a", first.epoch, None, &seen)).is_ok());
    for epoch in [second.epoch + 1, first.epoch - 1] {
        let refused = bench.share_heartbeat(beat("a", epoch, None, &seen)).unwrap_err();
        assert_eq!(refused.error, Error::FencedMemberEpoch, "{epoch}");
    }
    for bad in [
        beat("", 0, Some(&["orders"]), &seen),
        beat("c", 0, None, &seen),
        beat("c", 0, Some(&[]), &seen),
        beat("c", -2, None, &seen),
    ] {
        let refused = bench.share_heartbeat(bad).unwrap_err();
        assert_eq!(refused.error, Error::InvalidRequest);
    }
}

#[test]
fn a_full_group_takes_nobody() {
    let mut config = Config::default();
    config.share.members_max = 1;
    let mut bench = Bench::with(config);
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    bench.share(beat("a", 0, Some(&["orders"]), &seen));
    let refused = bench
        .share_heartbeat(beat("b", 0, Some(&["orders"]), &seen))
        .unwrap_err();
    assert_eq!(refused.error, Error::GroupFull);
}

#[test]
fn other_kinds_of_groups_keep_away() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    bench.share(beat("a", 0, Some(&["orders"]), &seen));
    let joined = bench.ask(Request::Join(join("", "1")));
    assert_eq!(joined, refused("", Error::InconsistentProtocol));
    let committed = bench.ask(Request::Commit(commit("", -1, "orders", 1)));
    assert_eq!(committed, Reply::Commit(Err(Error::GroupNotFound)));
    let listed = ListedGroup {
        group: text("g"),
        kind: Kind::Share,
        protocol_type: text("share"),
        state: "Stable",
    };
    assert_eq!(bench.ask(Request::List), Reply::List(Ok(vec![listed])));
    let mut classic = Bench::new();
    classic.ask(Request::Commit(commit("", -1, "orders", 1)));
    let refused = classic
        .share_heartbeat(beat("a", 0, Some(&["orders"]), &seen))
        .unwrap_err();
    assert_eq!(refused.error, Error::GroupNotFound);
    assert_eq!(classic.standing(altering(true)), Err(Error::GroupNotFound));
}

#[test]
fn a_group_begins_with_what_is_set() {
    let mut bench = Bench::eager_share();
    let asked = || Request::ShareStanding(text("g"));
    let nothing_set = bench.standing(altering(false)).unwrap();
    assert_eq!((nothing_set.epoch, nothing_set.is_empty), (0, true));
    assert_eq!(bench.standing(asked()), Err(Error::GroupNotFound));
    let set = bench.standing(altering(true)).unwrap();
    assert_eq!((set.epoch, set.is_empty), (1, true));
    let initialized = Request::ShareInitialized {
        group: text("g"),
        topics: named([0]),
    };
    assert_eq!(bench.ask(initialized), Reply::ShareChanged(Ok(())));
    let known = bench.standing(asked()).unwrap();
    assert_eq!(known.partitions.initialized, named([0]));
    assert_eq!(bench.reloaded().share_standing(&text("g")), Ok(known));
}

#[test]
fn what_is_stored_is_deleted_before_the_group_is() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    bench.share(beat("a", 0, Some(&["orders"]), &seen));
    let deleting = |topics| Request::ShareDeleting {
        group: text("g"),
        topics,
    };
    let delete = || Request::Delete(vec![text("g")]);
    for request in [deleting(None), altering(true), altering(false)] {
        assert_eq!(bench.standing(request), Err(Error::NonEmptyGroup));
    }
    assert_eq!(
        bench.ask(delete()),
        Reply::Delete(Ok(vec![Err(Error::NonEmptyGroup)]))
    );
    bench.share_heartbeat(beat("a", -1, None, &seen)).unwrap();
    // Set anew: nothing that was stored in an earlier epoch counts any more.
    let before = bench.standing(Request::ShareStanding(text("g"))).unwrap();
    assert_eq!(bench.standing(altering(false)).as_ref(), Ok(&before));
    let altered = bench.standing(altering(true)).unwrap();
    assert!(altered.epoch > before.epoch);
    assert_eq!(
        bench.ask(delete()),
        Reply::Delete(Ok(vec![Err(Error::NotAvailable)]))
    );
    let standing = bench.standing(deleting(None)).unwrap();
    assert_eq!(standing.partitions.deleting, [(ORDERS, text("orders"))].into());
    let deleted = Request::ShareDeleted {
        group: text("g"),
        topics: BTreeSet::from([ORDERS]),
    };
    assert_eq!(bench.ask(deleted), Reply::ShareChanged(Ok(())));
    assert_eq!(bench.ask(delete()), Reply::Delete(Ok(vec![Ok(())])));
    assert_eq!(
        bench.ask(delete()),
        Reply::Delete(Ok(vec![Err(Error::GroupNotFound)]))
    );
    assert_eq!(bench.reloaded().shares.len(), 0);
}

#[test]
fn who_takes_over_knows_the_members_and_what_they_have() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 2)]);
    bench.share(beat("a", 0, Some(&["orders"]), &seen));
    bench.share(beat("b", 0, Some(&["orders"]), &seen));
    let known = bench.share_described().unwrap();
    let standing = bench.standing(Request::ShareStanding(text("g"))).unwrap();
    let next = bench.reloaded();
    assert_eq!(next.share_describe(&text("g")), Ok(known));
    assert_eq!(next.share_standing(&text("g")), Ok(standing));
    // Members have a whole session to be heard from.
    assert_eq!(next.next_deadline(), Some(bench.now_ms + 45_000));
}

#[test]
fn a_write_that_fails_leaves_no_trace() {
    let mut bench = Bench::eager_share();
    let seen = seen(1, &[("orders", ORDERS, 1)]);
    let heartbeat = beat("a", 0, Some(&["orders"]), &seen);
    let (to, effects) = bench.effects(Request::ShareHeartbeat(Box::new(heartbeat)));
    let [Effect::Append { write, .. }] = &effects[..] else {
        panic!("one write: {effects:?}");
    };
    let failed = bench.shard.failed(0, *write, WriteError::NotLeader);
    bench.carry_out(failed);
    let reply = bench.replies.remove(&to);
    assert_eq!(
        reply,
        Some(Reply::ShareHeartbeat(Err(Error::NotCoordinator.into())))
    );
    assert_eq!(bench.share_described().unwrap_err().error, Error::GroupNotFound);
}
