//! The simulated network: what one broker says to another is lost, late, doubled, or cut off in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flotilla_broker::coordination::simulation::{Call, Carrier, Observed, Seated};
use flotilla_broker::coordination::{Remote, VoterId, VoterNode};
use flotilla_control::proto::coordination::{
    DescribeQuorumResponse, ObserveRequest, RaftMessage, SubmitRequest, SubmitResponse,
};
use flotilla_protocol::BrokerId;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::world::World;
use crate::dice::Dice;

/// A connection over which nothing comes is given up after this, as gRPC's keep-alive does.
const SILENCE: Duration = Duration::from_secs(2);
/// How often a stream that is cut looks whether it still is.
const CUT_CHECK: Duration = Duration::from_millis(50);
/// Messages of a stream that are on their way.
const STREAM_MAX: usize = 16;

/// What the network does to messages.
#[derive(Debug)]
pub struct Weather {
    dice: Dice,
    /// Ways in one direction that are closed.
    pub cut: BTreeSet<(BrokerId, BrokerId)>,
    /// Of a thousand messages, how many are lost.
    pub lost: u64,
    /// Of a thousand of Raft's messages, how many arrive twice.
    pub doubled: u64,
    /// How long a message takes, milliseconds.
    pub delay_ms: (u64, u64),
    /// What each broker is slower by, milliseconds.
    pub slower_ms: BTreeMap<BrokerId, u64>,
}

impl Weather {
    /// Fair weather; what will happen is drawn from `dice`.
    pub fn fair(dice: Dice) -> Self {
        Self {
            dice,
            cut: BTreeSet::new(),
            lost: 0,
            doubled: 0,
            delay_ms: (0, 2),
            slower_ms: BTreeMap::new(),
        }
    }

    /// Opens all ways and loses nothing more.
    pub fn clear(&mut self) {
        self.cut.clear();
        (self.lost, self.doubled, self.delay_ms) = (0, 0, (0, 2));
        self.slower_ms.clear();
    }

    /// How long one message takes on its way; `None`: it is lost.
    fn passage(&mut self, from: BrokerId, to: BrokerId) -> Option<Duration> {
        let (least, most) = self.delay_ms;
        let delay = self
            .dice
            .between(least.cast_signed(), most.cast_signed())
            .unsigned_abs();
        let slower = [from, to].map(|broker| self.slower_ms.get(&broker).copied().unwrap_or(0));
        let is_lost = self.dice.chance(self.lost, 1_000);
        let passes = !is_lost && !self.cut.contains(&(from, to));
        passes.then(|| Duration::from_millis(delay + slower[0] + slower[1]))
    }

    fn doubles(&mut self) -> bool {
        self.dice.chance(self.doubled, 1_000)
    }

    fn is_cut(&self, from: BrokerId, to: BrokerId) -> bool {
        self.cut.contains(&(from, to))
    }
}

/// One broker's way to the others.
pub struct Line {
    /// All of it.
    pub world: Arc<World>,
    /// Whose way it is.
    pub from: BrokerId,
}

impl Line {
    /// Carries a message there, has it answered, and carries the answer back. The caller may stop waiting; what is on
    /// its way arrives all the same.
    async fn carry<T: Send + 'static>(
        &self,
        to: BrokerId,
        deliver: impl FnOnce(Arc<Seated>) -> BoxFuture<'static, Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        let (world, from) = (self.world.clone(), self.from);
        let passage = world.weather().passage(from, to);
        tokio::spawn(async move {
            let Some(delay) = passage else {
                sleep(SILENCE).await;
                return;
            };
            sleep(delay).await;
            if world.weather().is_cut(from, to) {
                sleep(SILENCE).await;
                return;
            }
            let Some(seated) = world.seated(to) else {
                let _ = answer.send(Err(format!("broker {to} refuses connections")));
                return;
            };
            let result = deliver(seated).await;
            let back = world.weather().passage(to, from);
            match back {
                Some(delay) => sleep(delay).await,
                None => return sleep(SILENCE).await,
            }
            // The caller may have stopped waiting.
            let _ = answer.send(result);
        });
        answered
            .await
            .unwrap_or_else(|_| Err(format!("broker {to} does not answer")))
    }
}

impl Remote for Line {
    fn brokers(&self) -> Vec<BrokerId> {
        let mut brokers = self.world.broker_ids();
        brokers.retain(|broker| *broker != self.from);
        brokers
    }

    fn submit(&self, to: BrokerId, request: SubmitRequest) -> BoxFuture<'_, Result<SubmitResponse, String>> {
        let from = self.from;
        Box::pin(self.carry(to, move |seated| {
            Box::pin(async move { seated.submitted(from, request).await })
        }))
    }

    fn describe_quorum(&self, to: BrokerId) -> BoxFuture<'_, Result<DescribeQuorumResponse, String>> {
        Box::pin(self.carry(to, |seated| Box::pin(async move { Ok(seated.describe()) })))
    }
}

impl Carrier for Line {
    fn raft<'a>(
        &'a self,
        call: Call,
        to: VoterId,
        _: &'a VoterNode,
        message: RaftMessage,
    ) -> BoxFuture<'a, Result<RaftMessage, String>> {
        Box::pin(async move {
            let (from, target) = (self.from, to.broker);
            self.world.note_sent(call, from, to, &message);
            if self.world.weather().doubles() {
                let (twin, again) = (message.clone(), self.world.weather().passage(from, target));
                let world = self.world.clone();
                tokio::spawn(async move {
                    let Some(delay) = again else { return };
                    sleep(delay * 3).await;
                    let is_cut = world.weather().is_cut(from, target);
                    if let Some(seated) = world.seated(target).filter(|_| !is_cut) {
                        world.count("messages doubled");
                        let answer = seated.raft(call, twin.clone()).await;
                        world.note_answered(call, to, &twin, &answer);
                    }
                });
            }
            let world = self.world.clone();
            self.carry(target, move |seated| {
                Box::pin(async move {
                    let answer = seated.raft(call, message.clone()).await;
                    world.note_answered(call, to, &message, &answer);
                    answer
                })
            })
            .await
        })
    }

    fn observe(&self, voter: BrokerId, request: ObserveRequest) -> BoxFuture<'_, Result<Observed, String>> {
        let (world, from) = (self.world.clone(), self.from);
        Box::pin(async move {
            let stream = self
                .carry(voter, move |seated| {
                    Box::pin(async move { seated.observed(request) })
                })
                .await?;
            let (sender, receiver) = mpsc::channel(STREAM_MAX);
            tokio::spawn(relay(world, (voter, from), stream, sender));
            let observed: Observed = Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver));
            Ok(observed)
        })
    }
}

/// Carries a stream in order. What is cut for long breaks, as its connection would.
async fn relay(
    world: Arc<World>,
    (from, to): (BrokerId, BrokerId),
    mut stream: Observed,
    sender: mpsc::Sender<Result<flotilla_control::proto::coordination::ObserveResponse, String>>,
) {
    while let Some(item) = stream.next().await {
        let mut waited = Duration::ZERO;
        while world.weather().is_cut(from, to) {
            if waited >= SILENCE {
                return;
            }
            sleep(CUT_CHECK).await;
            waited += CUT_CHECK;
        }
        // TCP brings what was lost a little later.
        let delay = world
            .weather()
            .passage(from, to)
            .unwrap_or(Duration::from_millis(200));
        sleep(delay).await;
        if sender.send(item).await.is_err() {
            return;
        }
    }
}
