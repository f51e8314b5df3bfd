//! Offsets of streams groups.

use super::*;

fn commit_of(member: &str, epoch: i32, partition: i32) -> Commit {
    let mut commit = commit(member, epoch, "words", 5);
    commit.partitions[0].partition = partition;
    commit
}

fn committed(bench: &mut Bench, commit: Commit) -> Result<(), Error> {
    match bench.ask(Request::Commit(commit)) {
        Reply::Commit(Ok(results)) => results[0],
        Reply::Commit(Err(error)) => Err(error),
        other => panic!("not committed: {other:?}"),
    }
}

fn fetched(bench: &mut Bench, member: Option<(&str, i32)>) -> Result<usize, Error> {
    let member = member.map(|(member, epoch)| (text(member), epoch));
    let fetch = Fetch {
        group: text("g"),
        partitions: None,
        require_stable: true,
        member,
    };
    match bench.ask(Request::Fetch(fetch)) {
        Reply::Fetch(found) => found.map(|found| found.len()),
        other => panic!("not fetched: {other:?}"),
    }
}

/// A group of `a`, which has task 0 since epoch 2 and is in epoch 3, and `b`, which has task 1.
fn two() -> (Bench, Seen) {
    let mut bench = Bench::prompt();
    let seen = seen(1, &TOPICS);
    bench.beats(joining("a", &seen)).expect("a joins");
    bench.beats(joining("b", &seen)).expect("b joins");
    bench
        .beats(owning("a", 2, active(&[0, 1]), &seen))
        .expect("a is to give up");
    bench
        .beats(owning("a", 2, active(&[0]), &seen))
        .expect("a goes on");
    bench.beats(beat("b", 3, &seen)).expect("b gets it");
    (bench, seen)
}

#[test]
fn members_commit_in_their_epoch_or_in_one_since_which_they_have_the_task() {
    let (mut bench, _) = two();
    let stale = Err(Error::StaleMemberEpoch);
    assert_eq!(committed(&mut bench, commit_of("a", 3, 0)), Ok(()));
    assert_eq!(committed(&mut bench, commit_of("a", 2, 0)), Ok(()));
    assert_eq!(committed(&mut bench, commit_of("a", 1, 0)), stale);
    assert_eq!(committed(&mut bench, commit_of("a", 2, 1)), stale, "of another");
    assert_eq!(committed(&mut bench, commit_of("a", 4, 0)), stale);
    assert_eq!(
        committed(&mut bench, commit_of("nobody", 3, 0)),
        Err(Error::UnknownMember)
    );
    let mut elsewhere = commit_of("a", 2, 0);
    elsewhere.partitions[0].topic = text("others");
    assert_eq!(committed(&mut bench, elsewhere), stale);
    let old = Commit {
        knows_group_not_found: false,
        ..commit_of("a", 3, 0)
    };
    assert_eq!(committed(&mut bench, old), Err(Error::UnsupportedVersion));
    let producer = Producer {
        id: ProducerId(1),
        epoch: ProducerEpoch(0),
        guard: None,
    };
    let in_transaction =
        |bench: &mut Bench, commit| match bench.ask(Request::CommitInTransaction(commit, producer)) {
            Reply::Commit(Ok(results)) => results[0],
            Reply::Commit(Err(error)) => Err(error),
            other => panic!("not committed: {other:?}"),
        };
    assert_eq!(in_transaction(&mut bench, commit_of("a", 2, 0)), Ok(()));
    assert_eq!(
        in_transaction(&mut bench, commit_of("a", 1, 0)),
        Err(Error::IllegalGeneration)
    );
    assert_eq!(
        in_transaction(&mut bench, commit_of("", -1, 0)),
        Ok(()),
        "who says nothing is believed"
    );
}

#[test]
fn offsets_are_told_to_members_in_their_epoch() {
    let (mut bench, _) = two();
    committed(&mut bench, commit_of("a", 3, 0)).expect("committed");
    assert_eq!(fetched(&mut bench, None), Ok(1));
    assert_eq!(fetched(&mut bench, Some(("a", 3))), Ok(1));
    assert_eq!(fetched(&mut bench, Some(("a", 2))), Err(Error::StaleMemberEpoch));
    assert_eq!(
        fetched(&mut bench, Some(("nobody", 3))),
        Err(Error::UnknownMember)
    );
}

#[test]
fn offsets_stay_while_members_read_the_topic_and_the_group_while_it_has_members() {
    let (mut bench, seen) = two();
    committed(&mut bench, commit_of("a", 3, 0)).expect("committed");
    let delete_offsets = |bench: &mut Bench| {
        let partitions = vec![PartitionRef {
            topic: text("words"),
            topic_id: Uuid::ZERO,
            partition: 0,
        }];
        let group = text("g");
        match bench.ask(Request::DeleteOffsets { group, partitions }) {
            Reply::DeleteOffsets(Ok(results)) => results[0],
            other => panic!("not deleted: {other:?}"),
        }
    };
    let delete = |bench: &mut Bench| match bench.ask(Request::Delete(vec![text("g")])) {
        Reply::Delete(Ok(results)) => results[0],
        other => panic!("not deleted: {other:?}"),
    };
    assert_eq!(delete_offsets(&mut bench), Err(Error::SubscribedToTopic));
    assert_eq!(delete(&mut bench), Err(Error::NonEmptyGroup));
    bench.beats(beat("a", -1, &seen)).expect("a leaves");
    bench.beats(beat("b", -1, &seen)).expect("b leaves");
    assert_eq!(delete_offsets(&mut bench), Ok(()));
    committed(&mut bench, commit_of("", -1, 0)).expect("of an empty group");
    assert_eq!(delete(&mut bench), Ok(()));
    assert_eq!(
        bench.streams_described(&seen),
        Err(refused_with(Error::GroupNotFound, "there is no streams group g"))
    );
    let reloaded = bench.reloaded();
    assert!(!reloaded.streams.contains("g") && reloaded.groups.is_empty());
    assert_eq!(reloaded.latest.iter().count(), 0);
}

#[test]
fn what_an_empty_group_has_left_goes_with_time() {
    let (mut bench, seen) = two();
    committed(&mut bench, commit_of("a", 3, 0)).expect("committed");
    bench.beats(beat("a", -1, &seen)).expect("a leaves");
    bench.beats(beat("b", -1, &seen)).expect("b leaves");
    let week_ms = 7 * 24 * 60 * 60 * 1_000;
    bench.advance(week_ms - 1_200_000);
    assert!(bench.shard.streams.contains("g"));
    bench.advance(1_800_000);
    assert!(!bench.shard.streams.contains("g"));
}
