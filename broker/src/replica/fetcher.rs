//! The loops that follow leaders: fetch, append, sync once per volume, fetch on.

use super::PartitionKey;
use super::append::{Fetched, Rests, Said};
use super::hosted::Hosted;
use super::in_session::InSession;
use super::link::{Dial, LinkError};
use super::replicas::Replicas;
use super::volume::{Health, Volume};
use crate::coordination::Metadata;
use crate::partition::follower::{Answer, Ask};
use flotilla_control::settings::BrokerSettings;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use flotilla_protocol::messages::fetch_response::PartitionData;
use flotilla_protocol::messages::{FetchRequest, FetchResponse};
use flotilla_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a fetch may go on after the partitions to fetch have changed. A leader that has something to say does so by
/// then; one that holds the fetch back would hold the new partitions back too.
const GRACE: Duration = Duration::from_millis(20);
/// The first rest after a leader could not be reached; it doubles up to `replica.fetch.backoff.ms`.
const REST_FIRST: Duration = Duration::from_millis(20);

type Partitions = BTreeMap<PartitionKey, Arc<Hosted>>;

/// The loops of a broker: `num.replica.fetchers` for each leader that it follows.
#[derive(Default)]
pub(super) struct Fetchers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: HashMap<(BrokerId, u32), Arc<Lane>>,
    placed: HashMap<PartitionKey, (BrokerId, u32)>,
    start: Option<Start>,
}

/// Starts a loop once the broker runs.
type Start = Box<dyn Fn(BrokerId, Arc<Lane>) + Send>;

/// What one loop follows.
#[derive(Default)]
pub(super) struct Lane {
    partitions: Mutex<Partitions>,
    changed: Notify,
    /// Which partition comes first in the next fetch: where all of them have much, the first ones get most.
    turn: AtomicUsize,
}

impl Fetchers {
    /// Has `hosted` fetched from `leader` from now on, or has the loop look at it anew.
    pub(super) fn assign(&self, leader: BrokerId, hosted: &Arc<Hosted>, settings: &BrokerSettings) {
        let key = hosted.key();
        let lanes = u32::try_from(settings.num_replica_fetchers).unwrap_or(1).max(1);
        let place = (leader, lane_of(key, lanes));
        let mut state = self.state.lock();
        if let Some(before) = state.placed.insert(key, place)
            && before != place
            && let Some(lane) = state.lanes.get(&before)
        {
            lane.partitions.lock().remove(&key);
        }
        let lane = match state.lanes.get(&place) {
            Some(lane) => lane.clone(),
            None => {
                let lane = Arc::new(Lane::default());
                state.lanes.insert(place, lane.clone());
                if let Some(start) = &state.start {
                    start(leader, lane.clone());
                }
                lane
            }
        };
        lane.partitions.lock().insert(key, hosted.clone());
        lane.changed.notify_one();
    }

    /// Fetches the partition from nobody.
    pub(super) fn unassign(&self, key: PartitionKey) {
        let mut state = self.state.lock();
        if let Some(place) = state.placed.remove(&key)
            && let Some(lane) = state.lanes.get(&place)
        {
            lane.partitions.lock().remove(&key);
        }
    }

    /// Brokers registered anew or went: loops that follow them try at once.
    pub(super) fn brokers_moved(&self, moved: &[BrokerId]) {
        for ((leader, _), lane) in &self.state.lock().lanes {
            if moved.contains(leader) {
                lane.changed.notify_one();
            }
        }
    }

    /// From now on loops run; those that wait begin.
    pub(super) fn begin(&self, start: impl Fn(BrokerId, Arc<Lane>) + Send + 'static) {
        let mut state = self.state.lock();
        for ((leader, _), lane) in &state.lanes {
            start(*leader, lane.clone());
        }
        state.start = Some(Box::new(start));
    }

    /// What is followed, in order.
    pub(super) fn lanes(&self) -> Vec<((BrokerId, u32), Arc<Lane>)> {
        let state = self.state.lock();
        let mut lanes: Vec<_> = state
            .lanes
            .iter()
            .map(|(place, lane)| (*place, lane.clone()))
            .collect();
        lanes.sort_unstable_by_key(|(place, _)| *place);
        lanes
    }

    /// No new loops.
    pub(super) fn end(&self) {
        self.state.lock().start = None;
    }
}

/// Spreads partitions over the loops of a leader, always in the same way.
fn lane_of(key: PartitionKey, lanes: u32) -> u32 {
    let topic = key.topic_id.0.iter().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    topic.wrapping_add(key.partition.0.unsigned_abs()) % lanes
}

pub(super) struct Asked {
    hosted: Arc<Hosted>,
    ask: Ask,
    high_watermark: Offset,
    bytes_max: i32,
    is_throttled: bool,
}

/// Follows one leader until it is aborted.
pub(super) async fn run(
    replicas: Arc<Replicas>,
    metadata: Metadata,
    dial: Arc<dyn Dial>,
    leader: BrokerId,
    lane: Arc<Lane>,
) {
    let mut link = InSession::default();
    let mut rest = REST_FIRST;
    loop {
        let Collected {
            asked,
            wake_ms,
            unsynced,
        } = collect(&replicas, &lane, leader);
        if !unsynced.is_empty() {
            synced(unsynced).await;
            continue;
        }
        let Some(epoch) = replicas.epoch(&metadata).filter(|_| !asked.is_empty()) else {
            pause(&replicas, &lane, wake_ms).await;
            continue;
        };
        let request = request(&replicas, &asked, epoch.0);
        match fetch(&replicas, &metadata, &*dial, leader, &lane, &mut link, request).await {
            Ok(Some(response)) => {
                rest = REST_FIRST;
                take(&replicas, asked, response).await;
            }
            // The partitions to fetch have changed.
            Ok(None) => link.disconnect(),
            Err(error) => {
                link.disconnect();
                let rest_max = u64::try_from(replicas.settings().replica_fetch_backoff_ms).unwrap_or(1000);
                tracing::debug!(leader = leader.0, "cannot fetch: {error}");
                let _ = timeout(rest, lane.changed.notified()).await;
                rest = (rest * 2).min(Duration::from_millis(rest_max));
            }
        }
    }
}

/// What to do now.
#[derive(Default)]
pub(super) struct Collected {
    /// What to ask for, by topic and partition.
    pub asked: Vec<Asked>,
    /// Otherwise when to look again.
    pub wake_ms: Option<i64>,
    /// What to wait for before anything is asked.
    pub unsynced: Vec<oneshot::Receiver<()>>,
}

/// What to ask for now.
pub(super) fn collect(replicas: &Replicas, lane: &Lane, leader: BrokerId) -> Collected {
    let mut all: Vec<_> = lane.partitions.lock().values().cloned().collect();
    if !all.is_empty() {
        let first = lane.turn.fetch_add(1, Ordering::Relaxed) % all.len();
        all.rotate_left(first);
    }
    let settings = replicas.settings();
    let mut asked = Vec::with_capacity(all.len());
    let mut wake_ms: Option<i64> = None;
    let mut wake_at = |ms: i64| wake_ms = Some(wake_ms.map_or(ms, |wake_ms| wake_ms.min(ms)));
    let mut throttled_bytes = 0;
    let mut dirty: Vec<Arc<Volume>> = Vec::new();
    for hosted in all {
        let (ask, high_watermark) = match hosted.ask(leader) {
            Ok(ask) => ask,
            Err(Rests::Until(ms)) => {
                wake_at(ms);
                continue;
            }
            Err(Rests::Unsynced) => {
                note_dirty(&mut dirty, &hosted.volume());
                continue;
            }
            Err(Rests::Idle) => continue,
        };
        // Asking for nothing tells the leader that there is no room here, so that it need not wait for this replica.
        let has_room = hosted.volume().health() == Health::Online;
        let mut bytes_max = if has_room {
            settings.replica_fetch_max_bytes.max(1)
        } else {
            0
        };
        let room = replicas.room_to_fetch(&settings, &hosted);
        if let Some(room) = room {
            let left = room.bytes.saturating_sub(throttled_bytes);
            if left == 0 {
                wake_at(
                    replicas
                        .inner
                        .shared
                        .now_ms()
                        .saturating_add(room.again_in_ms.max(1)),
                );
                continue;
            }
            bytes_max = bytes_max.min(i32::try_from(left).unwrap_or(i32::MAX));
            throttled_bytes += usize::try_from(bytes_max).unwrap_or(0);
        }
        asked.push(Asked {
            hosted,
            ask,
            high_watermark,
            bytes_max,
            is_throttled: room.is_some(),
        });
    }
    Collected {
        asked,
        wake_ms,
        unsynced: dirty.iter().map(|volume| volume.synced()).collect(),
    }
}

fn note_dirty(dirty: &mut Vec<Arc<Volume>>, volume: &Arc<Volume>) {
    if !dirty.iter().any(|known| Arc::ptr_eq(known, volume)) {
        dirty.push(volume.clone());
    }
}

async fn pause(replicas: &Replicas, lane: &Lane, wake_ms: Option<i64>) {
    match wake_ms {
        Some(wake_ms) => {
            let rest_ms = u64::try_from(wake_ms - replicas.inner.shared.now_ms()).unwrap_or(0);
            let _ = timeout(Duration::from_millis(rest_ms), lane.changed.notified()).await;
        }
        None => lane.changed.notified().await,
    }
}

pub(super) fn request(replicas: &Replicas, asked: &[Asked], epoch: i64) -> FetchRequest {
    let settings = replicas.settings();
    let mut topics: Vec<FetchTopic> = Vec::new();
    for Asked {
        hosted,
        ask,
        high_watermark,
        bytes_max,
        ..
    } in asked
    {
        let key = hosted.key();
        let partition = FetchPartition {
            partition: key.partition.0,
            current_leader_epoch: ask.leader_epoch.0,
            fetch_offset: ask.fetch_offset.0,
            last_fetched_epoch: ask.last_fetched_epoch.0,
            log_start_offset: ask.log_start.0,
            partition_max_bytes: *bytes_max,
            high_watermark: high_watermark.0,
            ..FetchPartition::default()
        };
        match topics.last_mut().filter(|topic| topic.topic_id == key.topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic_id: key.topic_id,
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    FetchRequest {
        replica_state: ReplicaState {
            replica_id: replicas.broker().0,
            replica_epoch: epoch,
        },
        max_wait_ms: settings.replica_fetch_wait_max_ms,
        min_bytes: settings.replica_fetch_min_bytes,
        max_bytes: settings.replica_fetch_response_max_bytes,
        topics,
        ..FetchRequest::default()
    }
}

/// None: the partitions to fetch have changed, and the leader held the fetch back.
async fn fetch(
    replicas: &Replicas,
    metadata: &Metadata,
    dial: &dyn Dial,
    leader: BrokerId,
    lane: &Lane,
    link: &mut InSession,
    request: FetchRequest,
) -> Result<Option<FetchResponse>, LinkError> {
    if !link.is_connected() {
        let image = metadata.image();
        let broker = image.broker(leader).ok_or(LinkError::NoAddress(leader))?;
        link.connect(dial.dial(broker).await?);
    }
    let wait_ms = i64::from(request.max_wait_ms) + i64::from(replicas.settings().replica_socket_timeout_ms);
    let limit = Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
    let mut answer = link.fetch(request);
    tokio::select! {
        answer = &mut answer => return answer.map(Some),
        () = sleep_until(limit) => return Err(LinkError::Timeout),
        () = lane.changed.notified() => {}
    }
    match timeout(GRACE, &mut answer).await {
        Ok(answer) => answer.map(Some),
        Err(_) => Ok(None),
    }
}

/// Appends what came, and waits until it is on disk: the next fetch says that it is.
async fn take(replicas: &Replicas, asked: Vec<Asked>, response: FetchResponse) {
    synced(append(replicas, asked, response)).await;
}

/// Waits for syncs. All were asked for before the first is waited for: disks sync side by side.
async fn synced(syncs: Vec<oneshot::Receiver<()>>) {
    for synced in syncs {
        // A volume that failed is offline, and nothing is asked for on it any more.
        if synced.await.is_err() {
            sleep(REST_FIRST).await;
        }
    }
}

/// Appends what came. Gives what the next fetch has to wait for.
pub(super) fn append(
    replicas: &Replicas,
    asked: Vec<Asked>,
    response: FetchResponse,
) -> Vec<oneshot::Receiver<()>> {
    let refused = ErrorCode::from(response.error_code);
    let mut answers: HashMap<PartitionKey, PartitionData> = HashMap::new();
    for topic in response.responses {
        for data in topic.partitions {
            let key = PartitionKey {
                topic_id: topic.topic_id,
                partition: PartitionIndex(data.partition_index),
            };
            answers.insert(key, data);
        }
    }
    let mut dirty: Vec<Arc<Volume>> = Vec::new();
    let mut throttled_bytes = 0;
    for Asked {
        hosted,
        ask,
        bytes_max,
        is_throttled,
        ..
    } in asked
    {
        let mut fetched = match answers.remove(&hosted.key()) {
            Some(data) if refused == ErrorCode::None => fetched(data),
            // A request that was refused as a whole: under a broker epoch that is over, say.
            _ if refused != ErrorCode::None => not_now(),
            _ => continue,
        };
        if is_throttled {
            throttled_bytes += fetched.records.len();
        }
        if bytes_max == 0 && !fetched.records.is_empty() {
            // A leader of an older version sends a batch all the same.
            fetched.records = bytes::Bytes::new();
        }
        let appended = hosted.fetched(&ask, &fetched);
        if appended && hosted.waits_for_sync() {
            note_dirty(&mut dirty, &hosted.volume());
        }
    }
    if throttled_bytes > 0 {
        replicas.inner.shared.throttles.follower.moved(throttled_bytes);
        replicas.metrics().throttled_bytes_in.add(throttled_bytes as u64);
    }
    dirty.iter().map(|volume| volume.synced()).collect()
}

fn not_now() -> Fetched {
    Fetched {
        said: Said::Other(Answer::NotNow),
        records: bytes::Bytes::new(),
    }
}

fn fetched(data: PartitionData) -> Fetched {
    let marks = (Offset(data.high_watermark), Offset(data.log_start_offset));
    let said = match ErrorCode::from(data.error_code) {
        ErrorCode::None if data.diverging_epoch.epoch >= 0 => Said::Other(Answer::Diverging {
            epoch: LeaderEpoch(data.diverging_epoch.epoch),
            end: Offset(data.diverging_epoch.end_offset),
        }),
        ErrorCode::None => Said::Records {
            high_watermark: marks.0,
            log_start: marks.1,
        },
        ErrorCode::OffsetOutOfRange => Said::Other(Answer::OutOfRange {
            high_watermark: marks.0,
            log_start: marks.1,
        }),
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::UnknownTopicId
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::StaleBrokerEpoch => Said::Other(Answer::NotNow),
        _ => Said::Other(Answer::Refused),
    };
    Fetched {
        said,
        records: data
            .records
            .map(flotilla_protocol::Records::into_bytes)
            .unwrap_or_default(),
    }
}
