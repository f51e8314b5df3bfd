//! The way to one broker: exchanges one after the other, each with all that has come meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flotilla_protocol::BrokerId;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::{DialPeer, Parcel, Peer};
use crate::coordination::Metadata;
use crate::replica::LinkError;

/// Most that wait for one broker. At the limit, who comes next waits.
const WAITING_MAX: usize = 4_096;
/// Most that one exchange carries.
const PARCELS_AT_ONCE_MAX: usize = 512;
/// How long an exchange may take: as long as the leaders' followers may.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

struct Job<P: Parcel> {
    parcel: P,
    answer: oneshot::Sender<P::Answer>,
}

/// The lanes of one kind, by broker.
pub(super) struct Lanes<P: Parcel> {
    metadata: Metadata,
    dial: Arc<dyn DialPeer>,
    by_broker: Mutex<BTreeMap<BrokerId, mpsc::Sender<Job<P>>>>,
}

impl<P: Parcel> Lanes<P> {
    pub(super) fn new(metadata: &Metadata, dial: &Arc<dyn DialPeer>) -> Self {
        Self {
            metadata: metadata.clone(),
            dial: dial.clone(),
            by_broker: Mutex::default(),
        }
    }

    /// None: it was not answered.
    pub(super) async fn ask(&self, broker: BrokerId, parcel: P) -> Option<P::Answer> {
        let lane = {
            let mut lanes = self.by_broker.lock();
            let lane = lanes.entry(broker).or_insert_with(|| {
                let (jobs, waiting) = mpsc::channel(WAITING_MAX);
                tokio::spawn(run(self.metadata.clone(), self.dial.clone(), broker, waiting));
                jobs
            });
            lane.clone()
        };
        let (answer, answered) = oneshot::channel();
        lane.send(Job { parcel, answer }).await.ok()?;
        answered.await.ok()
    }
}

/// Serves one lane until nobody can ask any more.
async fn run<P: Parcel>(
    metadata: Metadata,
    dial: Arc<dyn DialPeer>,
    broker: BrokerId,
    mut jobs: mpsc::Receiver<Job<P>>,
) {
    let mut link: Option<Box<dyn Peer>> = None;
    let mut waiting: Vec<Job<P>> = Vec::new();
    loop {
        if waiting.is_empty() && jobs.recv_many(&mut waiting, PARCELS_AT_ONCE_MAX).await == 0 {
            return;
        }
        let mut keys = BTreeSet::new();
        let (now, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|job| keys.insert(job.parcel.key()));
        waiting = later;
        let (parcels, answers): (Vec<P>, Vec<_>) =
            now.into_iter().map(|job| (job.parcel, job.answer)).unzip();
        let exchanged = timeout(EXCHANGE_LIMIT, async {
            tokio::select! {
                exchanged = exchange(&metadata, &*dial, broker, &mut link, &parcels) => exchanged,
                () = dead(&metadata, broker) => Err(LinkError::Dead(broker)),
            }
        });
        match exchanged.await.unwrap_or(Err(LinkError::Timeout)) {
            Ok(outcomes) => {
                for (answer, outcomes) in answers.into_iter().zip(outcomes) {
                    // Who asked may have gone meanwhile.
                    let _ = answer.send(outcomes);
                }
            }
            Err(error) => {
                debug!(%broker, %error, "no answer from another broker's coordinators");
                link = None;
            }
        }
    }
}

/// Ends when the fleet gives the broker up, or knows it as another process: one that is frozen closes no connection.
async fn dead(metadata: &Metadata, broker: BrokerId) {
    let mut changes = metadata.subscribe();
    let mut image = changes.latest().image;
    let incarnation = image.broker(broker).map(|known| known.incarnation);
    loop {
        let is_same = image.broker(broker).map(|known| known.incarnation) == incarnation;
        if !is_same || !image.is_alive(broker) {
            return;
        }
        match changes.changed().await {
            Some(latest) => image = latest.image,
            None => return std::future::pending().await,
        }
    }
}

async fn exchange<P: Parcel>(
    metadata: &Metadata,
    dial: &dyn DialPeer,
    broker: BrokerId,
    link: &mut Option<Box<dyn Peer>>,
    parcels: &[P],
) -> Result<Vec<P::Answer>, LinkError> {
    let image = metadata.image();
    let to = image.broker(broker).ok_or(LinkError::NoAddress(broker))?;
    // The other side closes connections that are idle, and a broker that was started again has closed them all.
    let is_old = link.is_some();
    let peer = match link {
        Some(peer) => peer,
        None => link.insert(dial.dial_peer(to).await?),
    };
    match P::exchange(&mut **peer, parcels).await {
        Err(LinkError::Io(_)) if is_old => {
            let peer = link.insert(dial.dial_peer(to).await?);
            P::exchange(&mut **peer, parcels).await
        }
        exchanged => exchanged,
    }
}

#[cfg(test)]
mod tests {
    use flotilla_protocol::messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, WriteTxnMarkersRequest,
        WriteTxnMarkersResponse,
    };
    use flotilla_protocol::{ProducerEpoch, ProducerId};
    use futures::future::BoxFuture;

    use super::*;
    use crate::coordination::{Indexed, Publisher};
    use crate::courier::{Joining, Outcomes, StateAnswer, StateQuestion};
    use crate::metadata::{Broker, Fact, Image};
    use crate::replica::testing;

    /// A broker that takes questions and never answers.
    struct Frozen;

    impl Peer for Frozen {
        fn write_markers(
            &mut self,
            _: WriteTxnMarkersRequest,
        ) -> BoxFuture<'_, Result<WriteTxnMarkersResponse, LinkError>> {
            Box::pin(std::future::pending())
        }

        fn add_partitions(
            &mut self,
            _: AddPartitionsToTxnRequest,
        ) -> BoxFuture<'_, Result<AddPartitionsToTxnResponse, LinkError>> {
            Box::pin(std::future::pending())
        }

        fn share_state(&mut self, _: StateQuestion) -> BoxFuture<'_, Result<StateAnswer, LinkError>> {
            Box::pin(std::future::pending())
        }
    }

    impl DialPeer for Frozen {
        fn dial_peer<'a>(&'a self, _: &'a Broker) -> BoxFuture<'a, Result<Box<dyn Peer>, LinkError>> {
            Box::pin(async { Ok(Box::new(Frozen) as Box<dyn Peer>) })
        }
    }

    fn image(start: u8, fenced: bool) -> Arc<Image> {
        let mut fact = testing::broker(1, start);
        if let Fact::Broker(broker) = &mut fact {
            broker.fenced = fenced;
        }
        Arc::new(testing::image([fact]))
    }

    async fn asked_while(after: Arc<Image>) -> Option<Outcomes> {
        let (publisher, metadata) = Publisher::new(Indexed {
            index: 1,
            image: image(1, false),
        });
        let dial: Arc<dyn DialPeer> = Arc::new(Frozen);
        let lanes = Arc::new(Lanes::<Joining>::new(&metadata, &dial));
        let joining = Joining {
            id: "payments".into(),
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            verify_only: true,
            partitions: [("orders".into(), 0)].into(),
        };
        let asking = lanes.clone();
        let asked = tokio::spawn(async move { asking.ask(BrokerId(1), joining).await });
        tokio::task::yield_now().await;
        publisher.publish(Indexed {
            index: 2,
            image: after,
        });
        timeout(EXCHANGE_LIMIT / 6, asked)
            .await
            .expect("in time")
            .unwrap()
    }

    #[tokio::test]
    async fn broker_that_is_given_up_is_not_waited_for() {
        assert_eq!(asked_while(image(1, true)).await, None);
        assert_eq!(asked_while(image(2, false)).await, None);
        assert_eq!(asked_while(Arc::new(Image::default())).await, None);
    }
}
