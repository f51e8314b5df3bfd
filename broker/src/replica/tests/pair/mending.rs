//! What is broken on the disk of one of two is put right from the other's copy.

use super::*;
use crate::replica::ReadError;

const SEGMENT: &str = "/data/orders-0/00000000000000000000.log";

/// Looks through everything that a broker stores, as the scrub does.
fn scrub(replicas: &Replicas) {
    for hosted in replicas.all() {
        let bases = hosted.here().unwrap().log.segment_bases();
        for base in bases {
            let inspection = hosted.here().unwrap().log.inspect(base);
            if let Some(inspected) = inspection.and_then(|inspection| inspection.run(&mut |_| true).unwrap())
            {
                hosted.inspected(base, inspected).unwrap();
            }
        }
    }
}

async fn until_mended(replicas: &Replicas) {
    let wait = async {
        while replicas.metrics().damages_mended.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("mended");
    assert_eq!(replicas.census().broken, 0);
}

fn content(site: &Site) -> Bytes {
    site.sim.read_at(Path::new(SEGMENT), 0, 1 << 20).unwrap()
}

/// Reads go to the disk from now on.
fn forget_tail(replicas: &Replicas) {
    let hosted = replicas.hosted(key(1, 0)).unwrap();
    hosted.here().unwrap().log.drop_tail();
}

/// What lies there is broken, and may still be mended.
async fn refused_but_mendable(replicas: &Replicas, from: Offset) {
    let refused = replicas
        .read(key(1, 0), from, 1 << 20, Upto::LogEnd)
        .await
        .unwrap_err();
    let is_mendable = matches!(
        &refused,
        ReadError::Broken {
            beyond_repair: false,
            ..
        }
    );
    assert!(is_mendable, "{refused:?}");
}

#[tokio::test]
async fn broken_batch_of_a_follower_is_mended_from_the_leader_without_leaving_the_isr() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    for values in [&["a", "b"][..], &["c"], &["d"]] {
        put(&first.replicas, values).await;
    }
    let good = content(&first);
    assert_eq!(content(&second), good);
    let before = fleet.metadata.image();
    // In the second batch.
    second
        .sim
        .tamper(Path::new(SEGMENT), |bytes| bytes[good.len() / 2] ^= 4);
    scrub(&second.replicas);
    until_mended(&second.replicas).await;
    assert_eq!(content(&second), good);
    let after = fleet.metadata.image();
    let of = |image: &Image| image.partition("orders", PartitionIndex(0)).cloned();
    assert_eq!(of(&after), of(&before));
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(4)));
    put(&first.replicas, &["e"]).await;
}

#[tokio::test]
async fn leader_hands_over_what_is_broken_on_its_disk_and_mends_as_a_follower() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    for values in [&["a", "b"][..], &["c"], &["d"]] {
        put(&first.replicas, values).await;
    }
    let good = content(&second);
    first
        .sim
        .tamper(Path::new(SEGMENT), |bytes| bytes[good.len() / 2] ^= 4);
    forget_tail(&first.replicas);
    // What comes before it is served, the rest is refused until somebody has it.
    let served = first
        .replicas
        .read(key(1, 0), Offset(0), 1 << 20, Upto::LogEnd)
        .await
        .unwrap();
    assert_eq!(
        values(&served.records),
        [(0, "a".to_owned()), (1, "b".to_owned())]
    );
    refused_but_mendable(&first.replicas, Offset(2)).await;
    until_leads(&second.replicas, 4).await;
    until_mended(&first.replicas).await;
    assert_eq!(content(&first), good);
    assert_eq!(first.replicas.metrics().leaderships_handed_over.get(), 1);
    fleet.until_in_sync(&[0, 1]).await;
    assert_eq!(put(&second.replicas, &["e"]).await, 4);
    let found = read_all(&second.replicas, key(1, 0), Upto::HighWatermark).await;
    let wanted = ["a", "b", "c", "d", "e"];
    assert_eq!(found, (0..).zip(wanted.map(str::to_owned)).collect::<Vec<_>>());
}

#[tokio::test]
async fn leader_hands_over_where_what_is_broken_is_not_committed() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    for values in [&["a", "b"][..], &["c"]] {
        put(&first.replicas, values).await;
    }
    let good = content(&second);
    // The follower gets nothing more from it.
    fleet.network.lock().remove(&BrokerId(0));
    first
        .replicas
        .append(key(1, 0), &batch(&["lost"]), Acks::Leader, Origin::Client)
        .unwrap();
    assert_eq!(second.replicas.log_end(key(1, 0)), Some(Offset(3)));
    first.sim.tamper(Path::new(SEGMENT), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
    });
    forget_tail(&first.replicas);
    scrub(&first.replicas);
    until_leads(&second.replicas, 4).await;
    assert_eq!(put(&second.replicas, &["d"]).await, 3);
    fleet.until_in_sync(&[0, 1]).await;
    assert_eq!(first.replicas.census().broken, 0);
    assert_eq!(content(&first), content(&second));
    assert_eq!(content(&first)[..good.len()], good);
}

#[tokio::test]
async fn replica_that_comes_back_mends_what_its_leader_lost_alone() {
    let (fleet, first, second) = two().await;
    fleet.until_in_sync(&[0, 1]).await;
    put(&first.replicas, &["a", "b"]).await;
    put(&first.replicas, &["c"]).await;
    let good = content(&first);
    let disk = fleet.kill(second, 0);
    fleet.fence(BrokerId(1)).await;
    fleet.until_in_sync(&[0]).await;
    first.sim.tamper(Path::new(SEGMENT), |bytes| bytes[70] ^= 4);
    scrub(&first.replicas);
    forget_tail(&first.replicas);
    // While it may still come back, clients are to try again.
    refused_but_mendable(&first.replicas, Offset(0)).await;
    let second = fleet.start(BrokerId(1), disk, 2);
    fleet.register(BrokerId(1), 2).await;
    until_mended(&first.replicas).await;
    assert_eq!(content(&first), good);
    drop(second);
}

#[tokio::test]
async fn what_nobody_has_is_refused_alone_and_kept() {
    let fleet = Fleet::new(image([
        broker(0, 1),
        topic("orders", 1),
        partition(1, 0, &[0], &[0], 3),
    ]));
    let first = fleet.start(BrokerId(0), Arc::default(), 1);
    until_leads(&first.replicas, 3).await;
    for values in [["a"], ["b"], ["c"]] {
        put(&first.replicas, &values).await;
    }
    let size = content(&first).len() / 3;
    first
        .sim
        .tamper(Path::new(SEGMENT), |bytes| bytes[size + 66] ^= 4);
    let broken = content(&first);
    forget_tail(&first.replicas);
    let wait = async {
        loop {
            let refused = first
                .replicas
                .read(key(1, 0), Offset(1), 1 << 20, Upto::HighWatermark)
                .await;
            match refused.unwrap_err() {
                ReadError::Broken {
                    beyond_repair: true, ..
                } => break,
                ReadError::Broken { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("nobody has it");
    let census = first.replicas.census();
    assert_eq!((census.broken, census.beyond_repair), (1, 1));
    for (from, value) in [(0, "a"), (2, "c")] {
        let part = first
            .replicas
            .read(key(1, 0), Offset(from), 1 << 20, Upto::HighWatermark)
            .await;
        assert_eq!(values(&part.unwrap().records), [(from, value.to_owned())]);
    }
    assert_eq!(put(&first.replicas, &["d"]).await, 3);
    assert_eq!(content(&first)[..broken.len()], broken);
}
