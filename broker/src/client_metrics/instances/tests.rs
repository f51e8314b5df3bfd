use super::super::client::testing::client;
use super::super::subscription::testing::subscription;
use super::*;

const CONNECTION: u64 = 7;
const BYTES_MAX: usize = 100;

/// One that asks everybody for `a.` once a second.
fn instances() -> Instances {
    let mut instances = Instances::default();
    instances.subscribe(vec![subscription(&[("metrics", "a."), ("interval.ms", "1000")])]);
    instances
}

fn get(instances: &mut Instances, number: u8, now_ms: i64) -> Result<i32, Refusal> {
    let wanted = instances.get(client(number), CONNECTION, now_ms)?;
    Ok(wanted.subscription_id)
}

fn pushed(number: u8, subscription_id: i32) -> Push {
    Push {
        instance_id: Uuid([number; 16]),
        subscription_id,
        terminating: false,
        codec: 4,
        bytes: 10,
    }
}

fn push(instances: &mut Instances, push: Push, now_ms: i64) -> Result<(), Refusal> {
    let client = Client {
        instance_id: push.instance_id,
        ..client(push.instance_id.0[0])
    };
    instances
        .push(client, push, BYTES_MAX, CONNECTION, now_ms)
        .map(drop)
}

#[test]
fn client_is_told_what_to_push_and_pushes_it() {
    let mut instances = instances();
    let wanted = instances.get(client(1), CONNECTION, 0).expect("the first time");
    assert_eq!(
        (wanted.interval_ms, wanted.metrics),
        (1_000, vec!["a.".to_owned()])
    );
    let taken = instances.push(
        client(1),
        pushed(1, wanted.subscription_id),
        BYTES_MAX,
        CONNECTION,
        0,
    );
    assert_eq!(
        taken,
        Ok(Taken {
            client_id: Some("client-1".into()),
            interval_ms: 1_000,
            metrics: vec!["a.".to_owned()]
        })
    );
    assert_eq!(
        instances.counts(0),
        Counts {
            instances: 1,
            pushes: 1,
            ..Counts::default()
        }
    );
}

#[test]
fn client_that_comes_before_its_interval_is_over_is_refused() {
    let mut instances = instances();
    let id = get(&mut instances, 1, 0).expect("the first time");
    assert_eq!(get(&mut instances, 1, 999), Err(Refusal::TooSoon));
    // The first push after a question may come at any time: clients spread theirs.
    assert_eq!(push(&mut instances, pushed(1, id), 1), Ok(()));
    assert_eq!(push(&mut instances, pushed(1, id), 1_000), Err(Refusal::TooSoon));
    assert_eq!(
        get(&mut instances, 1, 1_000),
        Err(Refusal::TooSoon),
        "a push counts, too"
    );
    assert_eq!(push(&mut instances, pushed(1, id), 1_001), Ok(()));
    assert_eq!(get(&mut instances, 1, 2_001), Ok(id));
    assert_eq!(instances.counts(2_001).throttled, 3);
}

#[test]
fn changed_subscription_is_told_at_once() {
    let mut instances = instances();
    let before = get(&mut instances, 1, 0).expect("the first time");
    instances.subscribe(vec![subscription(&[("metrics", "b."), ("interval.ms", "1000")])]);
    assert_eq!(
        push(&mut instances, pushed(1, before), 1),
        Err(Refusal::UnknownSubscription)
    );
    let now = get(&mut instances, 1, 2).expect("it was refused for what the answer tells");
    assert_ne!(now, before);
    assert_eq!(get(&mut instances, 1, 3), Err(Refusal::TooSoon), "once");
    assert_eq!(instances.counts(3).unknown_subscriptions, 1);
    instances.subscribe(Vec::new());
    let wanted = instances
        .get(client(1), CONNECTION, 4)
        .expect("others than before");
    assert_eq!((wanted.interval_ms, wanted.metrics), (300_000, vec![]));
}

#[test]
fn pushes_are_refused_in_kafkas_order() {
    let mut instances = instances();
    for reserved in [0, 1] {
        let mut id = [0; 16];
        id[15] = reserved;
        let refused = Push {
            instance_id: Uuid(id),
            ..pushed(0, 0)
        };
        assert_eq!(push(&mut instances, refused, 0), Err(Refusal::InvalidId));
    }
    assert_eq!(instances.counts(0).instances, 0);
    let id = get(&mut instances, 1, 0).expect("the first time");
    let wrong = Push {
        codec: 5,
        bytes: BYTES_MAX + 1,
        ..pushed(1, id + 1)
    };
    assert_eq!(push(&mut instances, wrong, 0), Err(Refusal::UnknownSubscription));
    assert_eq!(push(&mut instances, wrong, 1), Err(Refusal::TooSoon));
    let wrong = Push {
        subscription_id: id,
        ..wrong
    };
    assert_eq!(push(&mut instances, wrong, 2_000), Err(Refusal::UnknownCodec));
    assert_eq!(
        get(&mut instances, 1, 2_001),
        Ok(id),
        "the answer names the codecs"
    );
    for codec in [-1, 5] {
        let wrong = Push { codec, ..wrong };
        let now_ms = 10_000 * i64::from(codec + 2);
        assert_eq!(
            push(&mut instances, wrong, now_ms),
            Err(Refusal::UnknownCodec),
            "{codec}"
        );
    }
    let wrong = Push { codec: 0, ..wrong };
    assert_eq!(push(&mut instances, wrong, 100_000), Err(Refusal::TooLarge));
    let last = Push {
        terminating: true,
        ..pushed(1, id)
    };
    assert_eq!(
        push(&mut instances, last, 100_001),
        Ok(()),
        "the last push does not wait"
    );
    assert_eq!(push(&mut instances, wrong, 100_002), Err(Refusal::Terminated));
}

#[test]
fn what_cannot_be_read_is_no_reason_to_ask_again_at_once() {
    let mut instances = instances();
    let id = get(&mut instances, 1, 0).expect("the first time");
    assert_eq!(push(&mut instances, pushed(1, id), 0), Ok(()));
    instances.failed(Uuid([1; 16]), Refusal::Malformed);
    assert_eq!(get(&mut instances, 1, 1), Err(Refusal::TooSoon));
}

#[test]
fn client_that_is_not_heard_of_is_forgotten_with_its_connection_or_in_time() {
    let mut instances = instances();
    get(&mut instances, 1, 0).expect("the first time");
    instances
        .get(client(2), CONNECTION + 1, 30_000)
        .expect("the first time");
    get(&mut instances, 1, 40_000).expect("in time");
    assert_eq!(instances.counts(89_999).instances, 2);
    assert_eq!(instances.counts(90_000).instances, 1, "a minute of silence");
    instances.disconnected(CONNECTION + 1);
    assert!(instances.is_known(Uuid([1; 16])));
    instances.disconnected(CONNECTION);
    assert_eq!(instances.counts(90_000).instances, 0);
    assert!(
        instances.by_use.is_empty() && instances.by_expiry.is_empty() && instances.by_connection.is_empty()
    );
    instances.subscribe(vec![subscription(&[("interval.ms", "30000")])]);
    get(&mut instances, 1, 0).expect("the first time");
    assert_eq!(
        instances.counts(89_999).instances,
        1,
        "three intervals are more than a minute"
    );
    assert_eq!(instances.counts(90_000).instances, 0);
}

#[test]
fn of_too_many_clients_who_was_silent_for_longest_goes() {
    let mut instances = instances();
    let numbered = |number: usize| {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Client {
            instance_id: Uuid(id),
            ..client(9)
        }
    };
    for number in 0..INSTANCES_MAX {
        instances
            .get(numbered(number), CONNECTION, 0)
            .expect("the first time");
    }
    // The first one is heard of again, so that the second goes.
    instances.get(numbered(0), CONNECTION, 1_000).expect("in time");
    instances
        .get(numbered(INSTANCES_MAX), CONNECTION, 1_000)
        .expect("the first time");
    let counts = instances.counts(1_000);
    assert_eq!((counts.instances, counts.evictions), (INSTANCES_MAX, 1));
    assert!(instances.is_known(numbered(0).instance_id));
    assert!(!instances.is_known(numbered(1).instance_id));
}
