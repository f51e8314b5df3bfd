use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use flotilla_control::BrokerId;
use flotilla_control::proto::fleet::fleet_client::FleetClient;
use flotilla_control::proto::fleet::{WatchRequest, WatchResponse};
use tokio::sync::{broadcast, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Streaming;
use tonic::transport::Channel;

use super::access::said;
use super::fleets::Counts;
use super::{Access, Change, Error, View, What};
use crate::Key;

/// A broker that has not answered by then is no longer waited for alone: the next one is asked too.
const STAGGER: Duration = Duration::from_millis(250);

/// How long a broker may take to show the whole state, and to be as far as was seen already.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Between rounds over all brokers when none answers: doubled each time, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// More differences than this are told as one: everything.
const DIFFERENCES_MAX: usize = 1_000;

/// A fleet that is followed from its first handle to its last. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub(super) shared: Arc<Shared>,
    _task: Arc<Task>,
    pub(super) dry_run: bool,
}

/// What is known of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// The fleet, while it answers.
    pub view: Option<Arc<View>>,
    /// Why it does not, once that is known.
    pub trouble: Option<String>,
    /// Since when it does not, once that is known.
    pub lost_since: Option<Instant>,
}

/// Ends the following with the last handle.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the handles and the following task share.
#[derive(Debug)]
pub(super) struct Shared {
    access: watch::Sender<Arc<Access>>,
    channels: Mutex<Channels>,
    sight: watch::Sender<Sight>,
    /// The broker whose stream is followed: it is known to answer.
    streaming: Mutex<Option<BrokerId>>,
    news: Option<(Key, broadcast::Sender<Change>)>,
    pub(super) counts: Arc<Counts>,
}

/// The ways to brokers, and the credentials that they were made with.
#[derive(Debug, Default)]
struct Channels {
    made_for: Option<Arc<Access>>,
    by_broker: BTreeMap<(BrokerId, String), FleetClient<Channel>>,
}

impl Fleet {
    /// Follows a fleet from now on, also through the times when it does not answer.
    #[must_use]
    pub fn follow(access: Access) -> Self {
        Self::new(access, None, Arc::default())
    }

    pub(super) fn new(
        access: Access,
        news: Option<(Key, broadcast::Sender<Change>)>,
        counts: Arc<Counts>,
    ) -> Self {
        let shared = Arc::new(Shared {
            access: watch::Sender::new(Arc::new(access)),
            channels: Mutex::default(),
            sight: watch::Sender::default(),
            streaming: Mutex::default(),
            news,
            counts,
        });
        let task = tokio::spawn(run(shared.clone()));
        Self {
            shared,
            _task: Arc::new(Task(task.abort_handle())),
            dry_run: false,
        }
    }

    /// The same fleet, whose writes only say what they would change.
    #[must_use]
    pub fn dry_run(&self) -> Self {
        Self {
            dry_run: true,
            ..self.clone()
        }
    }

    /// The fleet as it is now; `None` while it does not answer.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.shared.sight.borrow().view.clone()
    }

    /// Why there is no view, as far as is known.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.sight.borrow().trouble.clone()
    }

    /// Since when it does not answer; `None` while it does, and before it is known that it does not.
    #[must_use]
    pub fn lost_since(&self) -> Option<Instant> {
        self.shared.sight.borrow().lost_since
    }

    /// Sees every change of what is known; those that come faster than they are looked at are skipped over.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Sight> {
        self.shared.sight.subscribe()
    }

    /// The fleet as soon as it answers.
    ///
    /// # Errors
    /// [`Error::Unreachable`] once all brokers have been tried in vain.
    pub async fn seen(&self) -> Result<Arc<View>, Error> {
        let mut sight = self.subscribe();
        let known = |sight: &Sight| sight.view.is_some() || sight.trouble.is_some();
        let ended = || Error::Unreachable("the fleet is no longer followed".to_owned());
        let sight = sight.wait_for(known).await.map_err(|_| ended())?.clone();
        sight
            .view
            .ok_or_else(|| Error::Unreachable(sight.trouble.unwrap_or_default()))
    }

    /// From now on it is reached so.
    pub fn reach(&self, access: Access) {
        self.shared.access.send_if_modified(|known| {
            let differs = **known != access;
            if differs {
                *known = Arc::new(access);
            }
            differs
        });
    }

    pub(super) fn access(&self) -> Arc<Access> {
        self.shared.access.borrow().clone()
    }
}

impl Shared {
    /// The brokers in the order in which a command should try them: the one that is known to answer, the controller, those
    /// that serve, and then all others.
    pub(super) fn candidates(&self) -> Vec<(BrokerId, String)> {
        let mut brokers = self.access.borrow().brokers.clone();
        let view = self.sight.borrow().view.clone();
        let streaming = *locked(&self.streaming);
        let rank = |id: BrokerId| match &view {
            _ if Some(id) == streaming => 0,
            Some(view) if view.controller == Some(id.0) => 1,
            Some(view) if view.online(id) => 2,
            _ => 3,
        };
        brokers.sort_by_key(|(id, _)| rank(*id));
        brokers
    }

    /// The way to a broker; it is made once.
    pub(super) fn client(&self, id: BrokerId, address: &str) -> Result<FleetClient<Channel>, String> {
        let access = self.access.borrow().clone();
        let mut channels = locked(&self.channels);
        if channels.made_for.as_ref() != Some(&access) {
            let same_proof = channels.made_for.as_ref().is_some_and(|before| {
                (&before.credentials, before.cluster_id) == (&access.credentials, access.cluster_id)
            });
            if same_proof {
                channels.by_broker.retain(|(id, address), _| {
                    access.brokers.iter().any(|one| (one.0, &one.1) == (*id, address))
                });
            } else {
                channels.by_broker.clear();
            }
            channels.made_for = Some(access.clone());
        }
        let key = (id, address.to_owned());
        if let Some(client) = channels.by_broker.get(&key) {
            return Ok(client.clone());
        }
        let client = access.channel(id, address)?;
        channels.by_broker.insert(key, client.clone());
        Ok(client)
    }

    fn tell(&self, changes: BTreeSet<What>) {
        let Some((cluster, sender)) = &self.news else {
            return;
        };
        for what in changes {
            // Nobody listens: nobody misses it.
            let _ = sender.send(Change {
                cluster: cluster.clone(),
                what,
            });
        }
    }

    fn show(&self, view: &View) {
        self.sight.send_replace(Sight {
            view: Some(Arc::new(view.clone())),
            ..Sight::default()
        });
    }

    fn lost(&self, trouble: String) {
        *locked(&self.streaming) = None;
        let since = self.sight.borrow().lost_since;
        let before = self.sight.send_replace(Sight {
            view: None,
            trouble: Some(trouble),
            lost_since: Some(since.unwrap_or_else(Instant::now)),
        });
        if before.view.is_some() {
            self.tell(BTreeSet::from([What::Lost]));
        }
    }
}

/// Follows until it is aborted. A stream that breaks is taken up again with another broker, and only when none answers the
/// fleet counts as lost.
async fn run(shared: Arc<Shared>) {
    let mut access = shared.access.subscribe();
    let mut pause = BACK_OFF.0;
    loop {
        let reach = access.borrow_and_update().clone();
        match first(&shared, &reach).await {
            Ok(stream) => {
                let since = Instant::now();
                stream.run(&shared, &mut access).await;
                // A broker that ends its streams at once must not be asked without end.
                if since.elapsed() > BACK_OFF.1 {
                    pause = BACK_OFF.0;
                    continue;
                }
            }
            Err(trouble) => shared.lost(trouble),
        }
        let jittered = jittered(pause);
        pause = (pause * 2).min(BACK_OFF.1);
        tokio::select! {
            () = sleep(jittered) => {}
            _ = access.changed() => pause = BACK_OFF.0,
        }
    }
}

/// Between half of it and the whole.
fn jittered(pause: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let draw = now.map_or(0, |since| since.subsec_nanos() % 1_000);
    pause / 2 + pause / 2 * draw / 1_000
}

/// A stream that has begun.
struct Stream {
    broker: (BrokerId, String),
    messages: Streaming<WatchResponse>,
    view: View,
}

/// The stream of the broker that is first to answer. One that does not answer at once holds nobody up.
async fn first(shared: &Arc<Shared>, access: &Access) -> Result<Stream, String> {
    let known = shared.sight.borrow().view.as_ref().map_or(0, |view| view.index);
    let broken = locked(&shared.streaming).take();
    let mut brokers = access.brokers.clone();
    // The broker whose stream broke has most likely gone.
    brokers.sort_by_key(|(id, _)| Some(*id) == broken);
    let mut waiting = brokers.into_iter();
    let mut attempts: JoinSet<Result<Stream, String>> = JoinSet::new();
    let mut troubles = Vec::new();
    loop {
        let more = waiting.len() > 0;
        if attempts.is_empty() && !more {
            let none = "no broker is known".to_owned();
            return Err(Some(troubles.join("; "))
                .filter(|all| !all.is_empty())
                .unwrap_or(none));
        }
        let begin_next = tokio::select! {
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(trouble)) => {
                    troubles.push(trouble);
                    true
                }
                Err(_) => true,
            },
            () = sleep(STAGGER), if more && !attempts.is_empty() => true,
            () = std::future::ready(()), if attempts.is_empty() => true,
        };
        if begin_next && let Some((id, address)) = waiting.next() {
            let shared = shared.clone();
            attempts.spawn(async move {
                let begun = begin(&shared, id, &address, known).await;
                begun.map_err(|why| format!("broker {id} at {address}: {why}"))
            });
        }
    }
}

/// Asks a broker for its stream, and waits until it shows a state no older than the one that was seen already: a broker that
/// has just started may not have caught up, and must not make anybody believe that topics are gone.
async fn begin(shared: &Shared, id: BrokerId, address: &str, known: u64) -> Result<Stream, String> {
    let mut client = shared.client(id, address)?;
    let deadline = Instant::now() + SNAPSHOT_TIMEOUT;
    let late = || "it does not show the fleet's state in time".to_owned();
    let mut messages = timeout_at(deadline, client.watch(WatchRequest {}))
        .await
        .map_err(|_| late())?
        .map_err(|status| told(&status))?
        .into_inner();
    let mut view = View::default();
    let mut whole = false;
    while !whole || view.index < known {
        let message = timeout_at(deadline, next(&mut messages))
            .await
            .map_err(|_| late())??;
        whole |= message.snapshot;
        view.apply(message);
    }
    Ok(Stream {
        broker: (id, address.to_owned()),
        messages,
        view,
    })
}

async fn next(messages: &mut Streaming<WatchResponse>) -> Result<WatchResponse, String> {
    match messages.message().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err("it ended the stream".to_owned()),
        Err(status) => Err(told(&status)),
    }
}

/// What a failed call says, or what broke the connection.
pub(super) fn told(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => said(cause),
        None => status.message().to_owned(),
    }
}

impl Stream {
    /// Until it breaks, or the fleet is to be reached in another way.
    async fn run(mut self, shared: &Shared, access: &mut watch::Receiver<Arc<Access>>) {
        *locked(&shared.streaming) = Some(self.broker.0);
        let before = shared.sight.borrow().view.clone();
        let changed = match &before {
            Some(before) => self.view.differences(before),
            None => BTreeSet::from([What::Connected]),
        };
        drop(before);
        shared.show(&self.view);
        shared.tell(changed);
        let reached = access.borrow_and_update().clone();
        loop {
            tokio::select! {
                message = next(&mut self.messages) => {
                    let Ok(message) = message else { return };
                    let changed = self.view.apply(message);
                    shared.show(&self.view);
                    shared.tell(changed);
                }
                more = access.changed() => {
                    let now = access.borrow_and_update().clone();
                    let same = now.brokers.contains(&self.broker)
                        && (&now.credentials, now.cluster_id) == (&reached.credentials, reached.cluster_id);
                    if more.is_err() || !same {
                        return;
                    }
                }
            }
        }
    }
}

impl View {
    /// What is different from an older view of the same fleet.
    fn differences(&self, before: &Self) -> BTreeSet<What> {
        let mut changed = BTreeSet::new();
        let brokers = |view: &Self| {
            (
                view.placements.clone(),
                view.draining.clone(),
                view.grants.clone(),
                view.settings.clone(),
                view.broker_settings.clone(),
                view.features.clone(),
            )
        };
        if self.brokers != before.brokers || brokers(self) != brokers(before) {
            changed.insert(What::Brokers);
        }
        if (self.controller, &self.voters) != (before.controller, &before.voters) {
            changed.insert(What::Quorum);
        }
        changed.extend(differing(&self.topics, &before.topics).map(What::Topic));
        changed.extend(differing(&self.users, &before.users).map(What::User));
        if changed.len() > DIFFERENCES_MAX {
            return BTreeSet::from([What::Connected]);
        }
        changed
    }
}

fn differing<'a, V: PartialEq>(
    now: &'a imbl::OrdMap<String, V>,
    before: &'a imbl::OrdMap<String, V>,
) -> impl Iterator<Item = String> + 'a {
    use imbl::ordmap::DiffItem;
    before.diff(now).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name.clone(),
        DiffItem::Update { new: (name, _), .. } => name.clone(),
    })
}

/// Nothing that holds these locks can panic half way through a change.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, Error> {
    timeout(limit, answer)
        .await
        .map_err(|_| Error::Timeout { call, limit })
}
