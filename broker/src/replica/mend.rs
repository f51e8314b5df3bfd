//! Puts right what is broken on this broker's disks, from the copies that other brokers have.
//!
//! Whoever runs into a broken batch names the segment; here it is looked through to find out what exactly is broken, and the other
//! replicas are asked for that. A leader hands over to an in-sync replica that has shown the batch to be good there, and mends
//! as a follower. Where nobody has it, it stays as it is: what lies before and behind it is served, the rest is refused.

use super::PartitionKey;
use super::hosted::Hosted;
use super::link::{Dial, LinkError};
use super::replicas::Replicas;
use crate::coordination::{Controller, Metadata};
use crate::log::{Damage, Mended, Unfit};
use crate::metadata::Partition;
use bytes::Bytes;
use flotilla_control::proto::metadata::{HandOver, Refusal, Request, request};
use flotilla_protocol::messages::FetchRequest;
use flotilla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use flotilla_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset};
use std::sync::Arc;
use std::time::Duration;

/// What could not be mended is tried again so often: another replica may have come back.
const RETRY: Duration = Duration::from_secs(10);
/// At first it is tried more often, and for so long, in milliseconds, a replica that cannot be reached is waited for: brokers that were
/// stopped together come back one after another.
const GRACE_MS: i64 = 15_000;
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The rest after leadership was handed over, for the metadata to say so here.
const SOON: Duration = Duration::from_millis(100);
/// How long another broker may take to answer.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// How long the controller may take to hand a leadership over.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);
/// What is asked for at a time, a single larger batch aside.
const PIECE_BYTES: i32 = 1 << 20;

/// Why a source does not help.
#[derive(Debug, thiserror::Error)]
enum NoHelp {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("it answers {0:?}")]
    Refused(ErrorCode),
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// How a partition is left.
enum Left {
    /// Nothing is broken any more.
    Whole,
    /// The leadership was handed over: look again soon.
    HandedOver,
    /// Nobody could help with something.
    Broken {
        /// All other replicas were asked, and none of them has it.
        is_final: bool,
    },
}

impl NoHelp {
    /// Whether asking again would not help: the other replica was reached, and has it no better.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Unfit(Unfit::Content(_))
                | Self::Refused(ErrorCode::CorruptMessage | ErrorCode::OffsetOutOfRange)
        )
    }
}

/// Mends until the broker stops.
pub(super) async fn run(
    replicas: Arc<Replicas>,
    metadata: Metadata,
    controller: Controller,
    dial: Arc<dyn Dial>,
) {
    let mender = Mender {
        replicas,
        metadata,
        controller,
        dial,
    };
    let mut rest = None;
    loop {
        let troubled = &mender.replicas.inner.shared.troubled;
        match rest {
            None => troubled.changed.notified().await,
            Some(rest) => {
                let _ = tokio::time::timeout(rest, troubled.changed.notified()).await;
            }
        }
        let keys: Vec<PartitionKey> = troubled.keys.lock().iter().copied().collect();
        rest = None;
        for key in keys {
            let hosted = mender.replicas.hosted(key);
            let again = match &hosted {
                Some(hosted) => mender.partition(hosted).await,
                None => None,
            };
            let again = again.or_else(|| {
                troubled.keys.lock().remove(&key);
                // Somebody may have run into something since.
                let is_troubled = hosted.is_some_and(|hosted| hosted.is_troubled());
                is_troubled.then_some(RETRY_FIRST)
            });
            if let Some(again) = again {
                troubled.keys.lock().insert(key);
                rest = Some(rest.map_or(again, |rest: Duration| rest.min(again)));
            }
        }
    }
}

struct Mender {
    replicas: Arc<Replicas>,
    metadata: Metadata,
    controller: Controller,
    dial: Arc<dyn Dial>,
}

impl Mender {
    /// Mends what can be mended now. When to look again; none where nothing is broken any more.
    async fn partition(&self, hosted: &Arc<Hosted>) -> Option<Duration> {
        let looking = hosted.clone();
        let _ = tokio::task::spawn_blocking(move || looking.inspect_suspects()).await;
        let left = self.mend_all(hosted).await;
        let (is_hopeless, again) = match left {
            Left::Whole => (false, None),
            Left::HandedOver => (false, Some(SOON)),
            Left::Broken { is_final } => {
                let now_ms = hosted.shared.now_ms();
                let since_ms = *hosted.suspects.lock().since_ms.get_or_insert(now_ms);
                match is_final || now_ms - since_ms >= GRACE_MS {
                    true => (true, Some(RETRY)),
                    false => (false, Some(RETRY_FIRST)),
                }
            }
        };
        if again.is_none() {
            self.replicas.inner.cleaner.release(hosted.key());
            hosted.suspects.lock().since_ms = None;
        }
        let was_hopeless = std::mem::replace(&mut hosted.suspects.lock().is_hopeless, is_hopeless);
        if is_hopeless && !was_hopeless {
            tracing::error!(topic = %hosted.topic(), partition = hosted.key().partition.0,
                "no replica that could be asked has what is broken here: reads of it are refused (CORRUPT_MESSAGE); bring back a broker that has it, or skip it");
        }
        again.or_else(|| (!hosted.suspects.lock().segments.is_empty()).then_some(RETRY))
    }

    async fn mend_all(&self, hosted: &Arc<Hosted>) -> Left {
        let (damages, role) = hosted.broken();
        if damages.is_empty() {
            return Left::Whole;
        }
        let Some((epoch, leads)) = role else {
            return Left::Broken { is_final: false };
        };
        let image = self.metadata.image();
        let key = hosted.key();
        let partition = image
            .topic_by_id(key.topic_id)
            .and_then(|topic| topic.partition(key.partition));
        let Some(partition) = partition else {
            return Left::Whole;
        };
        let sources = sources(partition, self.replicas.broker());
        let (mut is_whole, mut is_final) = (true, false);
        for damage in damages {
            let (mut is_mended, mut all_final) = (false, true);
            for source in &sources {
                if leads
                    && partition.isr.contains(source)
                    && self.may_lead(hosted, *source, epoch, &damage).await
                    && self.hand_over(hosted, *source, epoch).await
                {
                    return Left::HandedOver;
                }
                match self.mend_from(hosted, *source, epoch, &damage).await {
                    Ok(()) => {
                        is_mended = true;
                        tracing::info!(topic = %hosted.topic(), partition = key.partition.0, from = damage.from.0,
                            next = damage.next.0, source = source.0, "mended broken records from another replica");
                        break;
                    }
                    Err(error) => {
                        all_final &= error.is_final();
                        tracing::debug!(topic = %hosted.topic(), partition = key.partition.0, from = damage.from.0,
                            source = source.0, "another replica does not help to mend broken records: {error}");
                    }
                }
            }
            is_whole &= is_mended;
            is_final |= !is_mended && all_final;
        }
        match is_whole {
            true => Left::Whole,
            false => Left::Broken { is_final },
        }
    }

    /// Whether `source`, which is in sync, can lead in this one's place: it has the first of what is broken, as it should be. What is
    /// not committed need not be anywhere: whoever is in sync has all that counts, and followers could not go on behind it here.
    async fn may_lead(
        &self,
        hosted: &Arc<Hosted>,
        source: BrokerId,
        epoch: LeaderEpoch,
        damage: &Damage,
    ) -> bool {
        let committed = hosted.here().map(|state| state.high_watermark);
        let Some(committed) = committed else { return false };
        let from = damage.from.min(committed);
        let Ok(batches) = self.fetch(hosted, source, epoch, from).await else {
            return false;
        };
        let has_it = || hosted.here().map(|state| state.log.would_mend(damage, &batches));
        damage.from >= committed || has_it() == Some(true)
    }

    async fn mend_from(
        &self,
        hosted: &Arc<Hosted>,
        source: BrokerId,
        epoch: LeaderEpoch,
        damage: &Damage,
    ) -> Result<(), NoHelp> {
        let mut damage = damage.clone();
        loop {
            let batches = self.fetch(hosted, source, epoch, damage.from).await?;
            let (mending, part) = (hosted.clone(), damage.clone());
            let mended = tokio::task::spawn_blocking(move || mending.mend(&part, &batches)).await;
            match mended.map_err(|stopped| LinkError::Answer(stopped.to_string()))?? {
                Mended::Whole | Mended::Gone => return Ok(()),
                Mended::UpTo(next) => {
                    let (damages, _) = hosted.broken();
                    match damages.into_iter().find(|left| left.from == next) {
                        Some(left) => damage = left,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// What `source` has from `from` on. Not as a replica: what is asked for says nothing of how far this one is.
    async fn fetch(
        &self,
        hosted: &Hosted,
        source: BrokerId,
        epoch: LeaderEpoch,
        from: Offset,
    ) -> Result<Bytes, NoHelp> {
        let image = self.metadata.image();
        let broker = image.broker(source).ok_or(LinkError::NoAddress(source))?;
        let key = hosted.key();
        let request = FetchRequest {
            max_bytes: PIECE_BYTES,
            topics: vec![FetchTopic {
                topic_id: key.topic_id,
                partitions: vec![FetchPartition {
                    partition: key.partition.0,
                    current_leader_epoch: epoch.0,
                    fetch_offset: from.0,
                    partition_max_bytes: PIECE_BYTES,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let asking = async {
            let mut link = self.dial.dial(broker).await?;
            link.fetch(request).await
        };
        let response = tokio::time::timeout(FETCH_LIMIT, asking)
            .await
            .map_err(|_| LinkError::Timeout)??;
        let refused = ErrorCode::from(response.error_code);
        if refused != ErrorCode::None {
            return Err(NoHelp::Refused(refused));
        }
        let topic = response.responses.into_iter().next();
        let data = topic.and_then(|topic| topic.partitions.into_iter().next());
        let data = data.ok_or_else(|| LinkError::Answer("the partition is not in it".to_owned()))?;
        match ErrorCode::from(data.error_code) {
            ErrorCode::None => Ok(data
                .records
                .map(flotilla_protocol::Records::into_bytes)
                .unwrap_or_default()),
            refused => Err(NoHelp::Refused(refused)),
        }
    }

    /// Asks the controller to have `to` lead.
    async fn hand_over(&self, hosted: &Hosted, to: BrokerId, epoch: LeaderEpoch) -> bool {
        let Some(own_epoch) = self.replicas.epoch(&self.metadata) else {
            return false;
        };
        let key = hosted.key();
        let ask = HandOver {
            broker_id: self.replicas.broker().0,
            broker_epoch: own_epoch.0,
            topic_id: key.topic_id.0.to_vec(),
            partition: key.partition.0,
            leader_epoch: epoch.0,
            to: to.0,
        };
        let request = Request {
            validate_only: false,
            request: Some(request::Request::HandOver(ask)),
        };
        match self.controller.submit_within(request, HAND_OVER_LIMIT).await {
            Ok(response) if response.refusal() == Refusal::None => {
                tracing::warn!(topic = %hosted.topic(), partition = key.partition.0, to = to.0,
                    "handed the leadership over, to mend broken records");
                self.replicas.metrics().leaderships_handed_over.add(1);
                true
            }
            Ok(response) => {
                tracing::warn!(topic = %hosted.topic(), partition = key.partition.0, to = to.0,
                    "the leadership cannot be handed over: {}", response.message);
                false
            }
            Err(error) => {
                tracing::warn!(topic = %hosted.topic(), partition = key.partition.0, to = to.0,
                    "the leadership cannot be handed over: {error}");
                false
            }
        }
    }
}

/// Whom to ask, in this order: the leader, who has all that is committed, those in sync, and the rest.
fn sources(partition: &Partition, me: BrokerId) -> Vec<BrokerId> {
    let mut all: Vec<BrokerId> = Vec::new();
    let named = partition
        .leader
        .iter()
        .chain(&partition.isr)
        .chain(&partition.replicas);
    for broker in named.copied().filter(|broker| *broker != me) {
        if !all.contains(&broker) {
            all.push(broker);
        }
    }
    all
}
