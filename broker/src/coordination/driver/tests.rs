use std::sync::atomic::{AtomicU8, Ordering};

use flotilla_control::proto::metadata::{
    AllocateProducerIds, Broker, BrokerHeartbeat, CreateDelegationToken, RegisterBroker,
};
use tokio::time::timeout;

use std::time::Duration;

use flotilla_protocol::{BrokerId, Uuid};
use tokio::time::Instant;

use super::super::options::StaticSettings;
use super::*;
use crate::coordination::testing::{PATIENCE, set};
use crate::coordination::{Indexed, Metadata, Publisher, Solo};
use crate::metadata::Image;

const KEY: &str = "log.retention.ms";

fn started(session: Duration) -> (Driver, Arc<Solo>, Metadata) {
    started_with(session, Arc::new(|_| None), || 0)
}

fn started_with(
    session: Duration,
    settings: StaticSettings,
    now_ms: fn() -> i64,
) -> (Driver, Arc<Solo>, Metadata) {
    let (publisher, metadata) = Publisher::new(Indexed::default());
    let quorum = Arc::new(Solo::new(BrokerId(0), Image::default(), publisher));
    let drawn = AtomicU8::new(1);
    let options = Options {
        session_timeout: session,
        settings,
        now_ms,
        fresh_id: Arc::new(move || Uuid([drawn.fetch_add(1, Ordering::Relaxed); 16])),
    };
    let (driver, task) = Driver::new(quorum.clone(), Arc::default(), options);
    tokio::spawn(task);
    (driver, quorum, metadata)
}

async fn asked(driver: &Driver, request: Request) -> Result<Answer, NotController> {
    timeout(PATIENCE, driver.submit(request))
        .await
        .expect("an answer in time")
}

fn asking(driver: &Driver, request: Request) -> tokio::task::JoinHandle<Result<Answer, NotController>> {
    let driver = driver.clone();
    tokio::spawn(async move { asked(&driver, request).await })
}

fn of(kind: request::Request) -> Request {
    Request {
        validate_only: false,
        request: Some(kind),
    }
}

fn register(broker: i32) -> Request {
    let broker = Broker {
        broker_id: broker,
        incarnation_id: vec![1; 16],
        directory_id: vec![broker as u8 + 1; 16],
        flotilla_version_max: crate::metadata::FLOTILLA_VERSION,
        ..Broker::default()
    };
    of(request::Request::RegisterBroker(RegisterBroker {
        broker: Some(broker),
        ..RegisterBroker::default()
    }))
}

fn heartbeat(broker: i32, epoch: i64) -> Request {
    let heartbeat = BrokerHeartbeat {
        broker_id: broker,
        broker_epoch: epoch,
        applied_index: u64::MAX,
        ..BrokerHeartbeat::default()
    };
    of(request::Request::BrokerHeartbeat(heartbeat))
}

#[tokio::test]
async fn requests_are_decided_on_what_is_still_in_flight() {
    let (driver, quorum, metadata) = started(PATIENCE);
    let epoch = asked(&driver, register(0)).await.unwrap().response.broker_epoch;
    quorum.hold();
    let ids = || {
        of(request::Request::AllocateProducerIds(AllocateProducerIds {
            broker_id: 0,
            broker_epoch: epoch,
        }))
    };
    let waiting: Vec<_> = (0..3).map(|_| asking(&driver, ids())).collect();
    tokio::task::yield_now().await;
    let before = metadata.image().next_producer_id();
    quorum.release().unwrap();
    let mut firsts = Vec::new();
    for answer in waiting {
        firsts.push(answer.await.unwrap().unwrap().response.first_producer_id);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1_000, 2_000]);
    assert_eq!((before, metadata.image().next_producer_id()), (0, 3_000));
}

#[tokio::test]
async fn an_answer_comes_only_when_it_is_committed_even_where_nothing_is_written() {
    let (driver, quorum, _) = started(PATIENCE);
    quorum.hold();
    let first = asking(&driver, set(KEY, "1"));
    let second = asking(&driver, set(KEY, "1"));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished() && !second.is_finished());
    quorum.release().unwrap();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert!(first.response.changed && !second.response.changed);
    assert!(second.index >= first.index);
}

#[tokio::test]
async fn leader_that_may_have_been_replaced_answers_nothing_without_a_majority() {
    let (driver, quorum, _) = started(PATIENCE);
    let before = asked(&driver, set(KEY, "1")).await.unwrap();
    quorum.hold();
    let unchanged = asking(&driver, set(KEY, "1"));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!unchanged.is_finished(), "another leader may have changed it");
    quorum.release().unwrap();
    let answer = unchanged.await.unwrap().unwrap();
    assert!(!answer.response.changed && answer.index > before.index);
    let with_lease = asked(&driver, set(KEY, "1")).await.unwrap();
    assert_eq!(with_lease.index, answer.index, "nothing is written for it");
}

#[tokio::test]
async fn what_was_decided_before_leadership_was_lost_is_not_answered_and_not_remembered() {
    let (driver, quorum, metadata) = started(PATIENCE);
    asked(&driver, set(KEY, "1")).await.unwrap();
    quorum.hold();
    let lost = asking(&driver, set(KEY, "2"));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    quorum.depose(Some(BrokerId(7)));
    assert_eq!(lost.await.unwrap(), Err(NotController));
    assert_eq!(asked(&driver, set(KEY, "3")).await, Err(NotController));
    quorum.elect();
    let again = loop {
        match asked(&driver, set(KEY, "2")).await {
            Ok(answer) => break answer,
            Err(NotController) => tokio::task::yield_now().await,
        }
    };
    assert!(
        again.response.changed,
        "decided on the committed image, not on the one that was lost"
    );
    assert_eq!(metadata.image().cluster_setting(KEY), Some("2"));
}

#[tokio::test]
async fn more_than_the_queue_holds_is_throttled_and_heartbeats_still_pass() {
    let (driver, quorum, _) = started(PATIENCE);
    let epoch = asked(&driver, register(0)).await.unwrap().response.broker_epoch;
    quorum.hold();
    let flood: Vec<_> = (0..QUEUE_MAX * 2)
        .map(|number| asking(&driver, set(KEY, &number.to_string())))
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let finished = flood.iter().filter(|request| request.is_finished()).count();
    assert!(
        finished > 0 && finished <= QUEUE_MAX,
        "{finished} were answered at once"
    );
    let alive = asking(&driver, heartbeat(0, epoch));
    quorum.release().unwrap();
    assert_eq!(alive.await.unwrap().unwrap().response.refusal(), Refusal::None);
    let mut throttled = 0;
    for request in flood {
        let response = request.await.unwrap().unwrap().response;
        throttled += usize::from(response.refusal() == Refusal::Throttled);
    }
    assert_eq!(throttled, finished);
}

#[tokio::test]
async fn a_silent_broker_is_fenced_and_one_that_is_heard_is_not() {
    let session = Duration::from_millis(300);
    let (driver, _quorum, metadata) = started(session);
    let mut epochs = Vec::new();
    for broker in 0..2 {
        let epoch = asked(&driver, register(broker))
            .await
            .unwrap()
            .response
            .broker_epoch;
        asked(&driver, heartbeat(broker, epoch)).await.unwrap();
        epochs.push(epoch);
    }
    assert!(metadata.image().is_alive(BrokerId(0)) && metadata.image().is_alive(BrokerId(1)));
    let begun = Instant::now();
    while metadata.image().is_alive(BrokerId(1)) {
        assert!(begun.elapsed() < PATIENCE, "still not fenced");
        asked(&driver, heartbeat(0, epochs[0])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() >= session);
    assert!(metadata.image().is_alive(BrokerId(0)));
    let stale = asked(&driver, heartbeat(1, epochs[1] - 1)).await.unwrap();
    assert_eq!(stale.response.refusal(), Refusal::StaleBrokerEpoch);
    assert!(!metadata.image().is_alive(BrokerId(1)));
}

#[tokio::test]
async fn expired_delegation_tokens_are_forgotten_and_others_are_not() {
    let settings = |key: &str| match key {
        "delegation.token.secret.key" => Some("hush".to_owned()),
        "delegation.token.expiry.check.interval.ms" => Some("1".to_owned()),
        _ => None,
    };
    let (driver, _quorum, metadata) = started_with(PATIENCE, Arc::new(settings), crate::clock::now_ms);
    let create = async |max_lifetime_ms| {
        let token = CreateDelegationToken {
            owner: "alice".into(),
            requester: "alice".into(),
            max_lifetime_ms,
            ..CreateDelegationToken::default()
        };
        let answer = asked(&driver, of(request::Request::CreateDelegationToken(token))).await;
        answer.unwrap().response.delegation_token.expect("a token").id
    };
    let lasting = create(-1).await;
    let short = create(1).await;
    let mut images = metadata.subscribe();
    let forgotten = async {
        while images.latest().image.token(&short).is_some() {
            images.changed().await.expect("the controller runs");
        }
    };
    timeout(PATIENCE, forgotten)
        .await
        .expect("the token is forgotten in time");
    assert!(metadata.image().token(&lasting).is_some());
}
