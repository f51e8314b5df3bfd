//! Followers that serve consumers (KIP-392).

use super::*;
use crate::replica::{Fetch, Part, Query, ReadError, Reader, Unavailable};
use std::time::Instant;

const ALL: Reader = Reader::Consumer {
    read_committed: false,
};

/// A consumer's fetch from there on, in that epoch. `near`: as the leader is told.
fn fetch(offset: i64, epoch: i32, near: Option<&[i32]>) -> Fetch {
    Fetch {
        reader: ALL,
        near: near.map(|near| near.iter().copied().map(BrokerId).collect()),
        wait_max: Duration::ZERO,
        bytes_min: 1,
        bytes_max: 1 << 20,
        partitions: vec![(
            key(1, 0),
            Query {
                leader_epoch: LeaderEpoch(epoch),
                offset: Offset(offset),
                last_fetched_epoch: LeaderEpoch::UNKNOWN,
                log_start: Offset(-1),
                bytes_max: 1 << 20,
                high_watermark: Offset(i64::MAX),
                in_place: false,
            },
        )],
    }
}

async fn read(replicas: &Replicas, fetch: &Fetch) -> Result<Part, ReadError> {
    replicas.fetch(fetch).await.remove(0)
}

/// Waits until the follower has heard that all up to there is committed.
async fn until_committed(replicas: &Replicas, offset: i64) {
    let wait = async {
        while replicas.high_watermark(key(1, 0)) != Some(Offset(offset)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, wait)
        .await
        .expect("the high watermark");
}

#[tokio::test]
async fn leader_names_the_follower_that_serves_the_same_records() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a", "b"]).await;
    until_committed(&second.replicas, 2).await;

    let sent = read(&first.replicas, &fetch(0, 3, Some(&[1]))).await.unwrap();
    assert_eq!((sent.preferred, sent.size_bytes), (Some(BrokerId(1)), 0));
    assert_eq!((sent.high_watermark, sent.next_offset), (Offset(2), Offset(0)));
    let own = read(&first.replicas, &fetch(0, 3, Some(&[]))).await.unwrap();
    let served = read(&second.replicas, &fetch(0, 3, Some(&[]))).await.unwrap();
    assert!(served.size_bytes > 0);
    assert_eq!(served, own);
}

#[tokio::test]
async fn follower_serves_no_more_than_it_knows_as_committed() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a"]).await;
    until_committed(&second.replicas, 1).await;
    // The follower has the record, and cannot tell the leader that it is on its disk: it is not committed.
    let appended = append_unsynced(&first, &second).await;
    for offset in [1, 2] {
        let part = read(&second.replicas, &fetch(offset, 3, Some(&[])))
            .await
            .unwrap();
        assert_eq!(
            (part.size_bytes, part.high_watermark),
            (0, Offset(1)),
            "at {offset}"
        );
    }
    // Who waits there is woken by the mark, long before its time is over.
    let mut patient = fetch(1, 3, Some(&[]));
    patient.wait_max = SOON;
    let began = Instant::now();
    let waiting = read(&second.replicas, &patient);
    let release = async {
        tokio::task::yield_now().await;
        second.sim.hold_syncs(false);
        appended.commit.unwrap().wait(SOON).await.unwrap();
    };
    let (part, ()) = tokio::join!(waiting, release);
    let part = part.unwrap();
    assert!(part.size_bytes > 0);
    assert_eq!((part.high_watermark, part.next_offset), (Offset(2), Offset(2)));
    assert!(began.elapsed() < SOON / 2, "woken, not timed out");
}

#[tokio::test]
async fn follower_sends_back_whom_it_cannot_serve() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a", "b"]).await;
    until_committed(&second.replicas, 2).await;

    let beyond = read(&second.replicas, &fetch(3, 3, Some(&[]))).await.unwrap_err();
    let not_here = ReadError::NotHereYet {
        asked: Offset(3),
        log_end: Offset(2),
    };
    assert_eq!(beyond, not_here);
    let before = read(&second.replicas, &fetch(-1, 3, Some(&[])))
        .await
        .unwrap_err();
    assert!(matches!(before, ReadError::OutOfRange { .. }), "{before}");
    let of_leader = read(&first.replicas, &fetch(3, 3, Some(&[]))).await.unwrap_err();
    assert!(matches!(of_leader, ReadError::OutOfRange { .. }), "{of_leader}");
    // A client of before version 11 cannot be told where to go.
    let old = read(&second.replicas, &fetch(0, 3, None)).await.unwrap_err();
    assert_eq!(old, ReadError::Unavailable(Unavailable::NotLeader));
    for epoch in [2, 4] {
        let other = read(&second.replicas, &fetch(0, epoch, Some(&[])))
            .await
            .unwrap_err();
        assert!(
            matches!(other, ReadError::Unavailable(Unavailable::Epoch(_))),
            "{other}"
        );
    }
}

#[tokio::test]
async fn follower_that_died_is_named_no_longer() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a"]).await;
    fleet.kill(second, 0);
    fleet.fence(BrokerId(1)).await;
    fleet.until_in_sync(&[0]).await;
    let led = async {
        loop {
            let epoch = first.replicas.led(key(1, 0)).expect("it leads all the time");
            let part = read(&first.replicas, &fetch(0, epoch.0, Some(&[1]))).await;
            if let Ok(part) = part
                && part.preferred.is_none()
            {
                return part;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let part = tokio::time::timeout(SOON, led).await.expect("the leader serves");
    assert!(part.size_bytes > 0);
}
