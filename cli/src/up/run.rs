//! The life of a fleet: open, start, ready, follow, stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use flotilla_control::BrokerId;
use flotilla_control::config::BrokerConfig;
use flotilla_crds::Cluster;
use flotilla_operator::cluster;
use flotilla_operator::fleet::{self, Sight, View};
use tokio::sync::{mpsc, watch};

use super::manifests::{self, Manifest, Manifests, Reported};
use super::missing::Missing;
use super::plan::{self, Authorities};
use super::ports::Base;
use super::process::{Event, Processes};
use super::reconcile::{Outcome, Reconcile, is_dynamic};
use super::watch::{INTERVAL, Watch};
use super::{Arguments, credentials};
use crate::home::{DEFAULT_PARENT, Home, Lock, Memory};
use crate::progress::{Progress, print};

/// How long brokers of an earlier run may take to go away.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a fleet that answers may wait for the last of its brokers before it is called ready without it.
const STRAGGLER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a broker may take to come back in sync after a restart that a changed manifest asks for.
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait before something is tried again that the fleet could not do.
const AGAIN: Duration = Duration::from_millis(500);

/// How long to wait before preferred leaders are asked for again.
const EVEN_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait after a change of the quorum until it is seen, and before one that failed is tried again.
const VOTERS_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// A broker that dies this often in a row before the fleet has ever answered will not get better.
const HOPELESS: u32 = 4;

/// A fleet, and all that is known of it.
pub struct Fleet {
    directory: PathBuf,
    base: Base,
    home: Home,
    _lock: Lock,
    memory: Memory,
    authorities: Authorities,
    watch: Watch,
    manifests: Manifests,
    cluster: Manifest<Cluster>,
    configs: Vec<BrokerConfig>,
    processes: Processes,
    events: mpsc::UnboundedReceiver<Event>,
    fleet: fleet::Fleet,
    sight: watch::Receiver<Sight>,
    progress: Progress,
    /// Problems that have been printed and still hold.
    reported: BTreeSet<Reported>,
    /// Problems of the Cluster that keep the last edit of it from being followed.
    held_back: Vec<Reported>,
    /// How often each broker died in a row.
    failures: BTreeMap<BrokerId, u32>,
    /// Whether the fleet was ready once.
    ready: bool,
    /// When something is tried again.
    again: Option<Instant>,
    /// Before then, the quorum is left alone.
    voters_again: Option<Instant>,
    /// Whether leadership is still to be evened out: after a start, a restart, and when partitions have moved.
    uneven: bool,
    /// Before then, it is not asked for again.
    even_again: Option<Instant>,
    /// Brokers that died, each with the epoch that it had: until it has another, what is seen of it is of the past.
    fallen: BTreeMap<BrokerId, Option<i64>>,
    /// Topics and Users that were followed and have no manifest now.
    missing: Missing,
}

impl Fleet {
    /// Reads the manifests, takes the data directory and plans the brokers. Nothing runs yet.
    pub async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let directory = arguments.dir.clone();
        if !directory.exists() {
            bail!(
                "{} does not exist: name a directory with manifests, such as examples/quickstart",
                directory.display()
            );
        }
        let watch = Watch::new(&directory);
        let mut manifests = manifests::read(&directory);
        let mut reported = BTreeSet::new();
        let cluster = the_cluster(&mut manifests);
        report(&mut reported, &manifests.problems, |line| eprintln!("{line}"));
        let cluster = cluster.with_context(|| {
            format!(
                "there is no Cluster that can be followed in {}",
                directory.display()
            )
        })?;
        let name = cluster.resource.metadata.name.clone().unwrap_or_default();
        let data = arguments
            .data
            .clone()
            .unwrap_or_else(|| Path::new(DEFAULT_PARENT).join(&name));
        let home = Home::at(data);
        let lock = home.lock()?;
        let base = Base::of(arguments.port_base, std::process::id());
        let mut memory = match home.recall()? {
            Some(memory) if memory.cluster != name => bail!(
                "{} holds the fleet of the Cluster `{}`, and the manifests are of `{name}`: choose another directory with --data DIR",
                home.path().display(),
                memory.cluster
            ),
            Some(memory) => memory,
            None => plan::begin(&cluster.resource).map_err(|error| explained(&cluster, &error))?,
        };
        if arguments.port_base.is_some() && arguments.port_base != memory.port_base {
            memory.ports.clear();
            memory.port_base = arguments.port_base;
        }
        let mut progress = Progress::new();
        wait_for_leftovers(&home, &memory, &mut progress).await?;
        let authorities = Authorities::open(&home)?;
        let (processes, events) = Processes::new(home.clone());
        let known: BTreeSet<i32> = memory.ports.keys().copied().collect();
        let configs = plan::brokers(
            &home,
            &cluster.resource,
            &mut memory,
            &authorities,
            base,
            &BTreeSet::new(),
        )
        .map_err(|error| explained(&cluster, &error))?;
        if memory.identity.bootstrapped {
            let new = configs
                .iter()
                .map(|config| config.broker_id.0)
                .filter(|id| !known.contains(id));
            memory.joining.extend(new);
        }
        home.remember(&memory)?;
        let fleet = fleet::Fleet::follow(home.access(&configs)?);
        Ok(Self {
            directory,
            base,
            home,
            _lock: lock,
            memory,
            authorities,
            watch,
            manifests,
            cluster,
            configs,
            processes,
            events,
            sight: fleet.subscribe(),
            fleet,
            progress,
            reported,
            held_back: Vec::new(),
            failures: BTreeMap::new(),
            ready: false,
            again: None,
            voters_again: None,
            uneven: true,
            even_again: None,
            fallen: BTreeMap::new(),
            missing: Missing::default(),
        })
    }

    /// Starts the brokers, says when they are ready, and follows the manifests until it is dropped.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        for config in &self.configs {
            self.processes.start(config.broker_id);
        }
        self.become_ready().await?;
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if self.watch.changed() {
                        self.follow_edit().await?;
                    } else if self.again.is_some_and(|at| at <= Instant::now()) || self.note_missing() {
                        self.reconcile().await?;
                    }
                    self.share_with_new_brokers().await?;
                    self.even_out_leaders().await?;
                    self.mend_quorum().await;
                }
                Some(event) = self.events.recv() => self.tell(&event),
            }
        }
    }

    /// Stops all brokers.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        self.progress
            .set(format!("stopping {}", brokers(self.processes.ids().len())));
        self.processes.stop(hurry).await;
        self.progress.done();
        eprintln!("stopped; all data is kept in {}", self.home.path().display());
    }

    fn ids(&self) -> BTreeSet<BrokerId> {
        self.configs.iter().map(|config| config.broker_id).collect()
    }

    fn seen(&self) -> Option<std::sync::Arc<View>> {
        self.fleet.view()
    }

    async fn become_ready(&mut self) -> anyhow::Result<()> {
        let mut answered: Option<Instant> = None;
        loop {
            let ids = self.ids();
            let view = self.seen();
            let online = view
                .as_ref()
                .map_or(0, |view| ids.iter().filter(|id| view.online(**id)).count());
            self.progress.set(format!(
                "starting {}: {online} ready; data in {}",
                brokers(ids.len()),
                self.home.path().display()
            ));
            let since = match online {
                0 => None,
                _ => Some(*answered.get_or_insert_with(Instant::now)),
            };
            let enough = since.is_some_and(|since| since.elapsed() >= STRAGGLER_TIMEOUT);
            if online == ids.len() || enough {
                self.reconcile().await?;
                if self.again.is_none() || enough {
                    break;
                }
            }
            tokio::select! {
                _ = self.sight.changed() => {}
                Some(event) = self.events.recv() => {
                    self.tell(&event);
                    let hopeless = ids.iter().all(|id| self.failures.get(id).is_some_and(|f| *f >= HOPELESS));
                    if online == 0 && hopeless {
                        bail!("no broker stays up: see the logs in {}", self.home.path().join("brokers").display());
                    }
                }
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
        self.memory.identity.bootstrapped = true;
        self.home.remember(&self.memory)?;
        // A broker whose directory is emptied from now on must not take itself for the voter that it was.
        for config in self
            .configs
            .iter_mut()
            .filter(|config| !config.quorum.bootstrapped)
        {
            config.quorum.bootstrapped = true;
            plan::write(&self.home, config)?;
        }
        self.progress.done();
        self.ready = true;
        self.greet();
        Ok(())
    }

    /// The line that says that clients can connect, and what to try next.
    fn greet(&self) {
        let listeners = cluster::listeners(&self.cluster.resource);
        let Some(first) = listeners.first() else { return };
        let bootstrap = credentials::bootstrap(&self.configs, &first.name);
        print(&format!("ready: bootstrap={bootstrap}"));
        let data = self.home.path().display();
        let mut lines = vec![format!("  look:   flotilla status --data {data}")];
        let topic = self
            .manifests
            .topics
            .first()
            .map(|m| flotilla_operator::topic::kafka_name(&m.resource));
        if first.authentication.is_empty() && !first.tls {
            let one = bootstrap.split(',').next().unwrap_or_default();
            let topic = topic.unwrap_or("hello");
            lines.push(format!("  write:  echo hello | kcat -b {one} -P -t {topic}"));
            lines.push(format!("  read:   kcat -b {one} -C -t {topic} -e"));
        }
        for user in self
            .manifests
            .users
            .iter()
            .filter_map(|m| m.resource.metadata.name.as_deref())
        {
            let properties = self.home.user(user).join("client.properties");
            if properties.exists() {
                lines.push(format!("  user:   {user}: {}", properties.display()));
            }
        }
        lines.push(format!(
            "  change: save a manifest in {}, and it is followed",
            self.directory.display()
        ));
        lines.push(format!("  stop:   Ctrl-C; all data is kept in {data}"));
        print(&lines.join("\n"));
    }

    fn tell(&mut self, event: &Event) {
        match event {
            Event::Started { id, pid } => {
                if self.ready || self.failures.contains_key(id) {
                    self.progress
                        .say(&format!("broker {id} is started (process {pid})"));
                }
            }
            Event::Died {
                id,
                how,
                failures,
                again_in,
            } => {
                self.uneven = true;
                let epoch = self.seen().and_then(|view| epoch_of(&view, *id));
                self.fallen.insert(*id, epoch);
                self.failures.insert(*id, *failures);
                let when = match again_in.as_secs() {
                    0 => "at once".to_owned(),
                    seconds => format!("in {seconds} s"),
                };
                self.progress.say(&format!(
                    "broker {id} stopped ({how}); it is started again {when}; its log: {}",
                    self.home.broker_log(*id).display()
                ));
            }
        }
    }

    async fn follow_edit(&mut self) -> anyhow::Result<()> {
        let mut manifests = manifests::read(&self.directory);
        let cluster = the_cluster(&mut manifests);
        self.manifests = manifests;
        self.held_back.clear();
        match cluster {
            None => self.held_back.push(Reported {
                file: self.directory.clone(),
                line: 0,
                message: "there is no Cluster that can be followed any more: the fleet stays as it is"
                    .to_owned(),
            }),
            Some(cluster) => {
                if let Err(problem) = self.follow_cluster(cluster).await? {
                    self.held_back.push(problem);
                }
            }
        }
        self.reconcile().await
    }

    /// Follows an edited Cluster, or says why not; then everything stays as it is.
    async fn follow_cluster(&mut self, cluster: Manifest<Cluster>) -> anyhow::Result<Result<(), Reported>> {
        let running = self.processes.ids();
        if cluster.resource.metadata.name != self.cluster.resource.metadata.name {
            let message = format!(
                "the fleet that runs is `{}`: stop it, and start one for this Cluster",
                self.memory.cluster
            );
            return Ok(Err(cluster.problem("metadata.name", message)));
        }
        let mut memory = self.memory.clone();
        memory.identity.allot_blocks(&cluster.resource);
        let members = match cluster::members(&cluster.resource, &memory.identity) {
            Ok(members) => members,
            Err(problem) => return Ok(Err(cluster.refused(&problem))),
        };
        if let Some(gone) = running
            .iter()
            .find(|id| members.iter().all(|member| member.id != **id))
        {
            let message = format!(
                "there are {} brokers, and `flotilla up` takes none away: broker {gone} would have to hand over its data first. \
                 Ask for {} or more",
                running.len(),
                running.len()
            );
            return Ok(Err(cluster.problem("spec.replicas", message)));
        }
        let planned = plan::brokers(
            &self.home,
            &cluster.resource,
            &mut memory,
            &self.authorities,
            self.base,
            &running,
        );
        let configs = match planned {
            Ok(configs) => configs,
            Err(plan::Error::Spec(problem)) => return Ok(Err(cluster.refused(&problem))),
            Err(plan::Error::Ports(error)) => {
                return Ok(Err(cluster.problem("spec.replicas", error.to_string())));
            }
            Err(plan::Error::Machine(error)) => return Err(error),
        };
        let new: Vec<BrokerId> = configs
            .iter()
            .map(|config| config.broker_id)
            .filter(|id| !running.contains(id))
            .collect();
        memory.joining.extend(new.iter().map(|id| id.0));
        self.home.remember(&memory)?;
        self.memory = memory;
        self.cluster = cluster;
        let before = std::mem::replace(&mut self.configs, configs);
        self.fleet.reach(self.home.access(&self.configs)?);
        for id in new {
            self.progress.say(&format!("broker {id} is added"));
            self.processes.start(id);
        }
        self.restart_changed(&before).await;
        Ok(Ok(()))
    }

    /// Restarts, one after another, the brokers whose configuration changed in what they read only at their start.
    async fn restart_changed(&mut self, before: &[BrokerConfig]) {
        let changed: Vec<BrokerId> = self
            .configs
            .iter()
            .filter(|now| {
                before
                    .iter()
                    .find(|then| then.broker_id == now.broker_id)
                    .is_some_and(|then| start_of(then) != start_of(now))
            })
            .map(|config| config.broker_id)
            .collect();
        for id in changed {
            self.progress
                .say(&format!("broker {id} is restarted for its new configuration"));
            let before = self.seen().and_then(|view| epoch_of(&view, id));
            self.processes.restart(id).await;
            self.uneven = true;
            let deadline = Instant::now() + RESTART_TIMEOUT;
            while Instant::now() < deadline {
                while let Ok(event) = self.events.try_recv() {
                    self.tell(&event);
                }
                // What is seen may still be from before: the new process has an epoch of its own.
                let back = |view: &View| epoch_of(view, id) != before && view.online(id) && view.in_sync(id);
                if self.seen().is_some_and(|view| back(&view)) {
                    break;
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }

    /// Notes which manifests are gone that were followed, and says whether what they made is to be deleted now.
    fn note_missing(&mut self) -> bool {
        let readable = self.manifests.problems.is_empty() && self.held_back.is_empty();
        let here: BTreeSet<String> = self
            .manifests
            .topics
            .iter()
            .map(|topic| format!("Topic {}", manifests::key_of(&topic.resource)))
            .chain(
                self.manifests
                    .users
                    .iter()
                    .map(|user| format!("User {}", manifests::key_of(&user.resource))),
            )
            .collect();
        let followed = self.memory.topics.keys().map(|key| format!("Topic {key}"));
        let followed: BTreeSet<String> = followed
            .chain(self.memory.users.keys().map(|key| format!("User {key}")))
            .collect();
        self.missing.note(&followed, &here, readable, Instant::now())
    }

    /// Applies settings, Topics and Users, and reports what cannot be followed.
    async fn reconcile(&mut self) -> anyhow::Result<()> {
        self.again = None;
        let outcome = match self.seen() {
            Some(view) => self.apply(&view).await?,
            None => Outcome {
                again: true,
                ..Outcome::default()
            },
        };
        if outcome.again {
            self.again = Some(Instant::now() + AGAIN);
        }
        if self.ready {
            for what in &outcome.changed {
                self.progress.say(&format!("followed: {what}"));
            }
        }
        let mut problems = self.manifests.problems.clone();
        problems.extend(self.held_back.iter().cloned());
        problems.extend(outcome.problems);
        // While it is tried again, what could not be said yet may hold as before: nothing is taken back.
        if outcome.again {
            problems.extend(self.reported.iter().cloned());
        }
        let progress = &self.progress;
        report(&mut self.reported, &problems, |line| progress.say(line));
        Ok(())
    }

    async fn apply(&mut self, view: &View) -> anyhow::Result<Outcome> {
        let gone = self.missing.gone(Instant::now());
        let mut reconcile = Reconcile {
            home: &self.home,
            cluster: &self.cluster,
            brokers: &self.configs,
            authorities: &self.authorities,
            view,
            memory: &mut self.memory,
            fleet: &self.fleet,
            outcome: Outcome::default(),
        };
        reconcile.run(&self.manifests).await;
        reconcile.delete(&gone).await;
        let outcome = reconcile.outcome;
        self.home.remember(&self.memory)?;
        Ok(outcome)
    }

    /// Lets preferred leaders lead once all replicas are in sync: brokers that start one after another leave leadership with the
    /// first of them, and the fleet itself looks only every few minutes.
    async fn even_out_leaders(&mut self) -> anyhow::Result<()> {
        let Some(view) = self
            .seen()
            .filter(|_| self.uneven && self.memory.joining.is_empty())
        else {
            return Ok(());
        };
        let ids = self.ids();
        self.fallen.retain(|id, epoch| epoch_of(&view, *id) == *epoch);
        let whole = self.fallen.is_empty() && ids.iter().all(|id| view.online(*id) && view.in_sync(*id));
        if view.moving() > 0 || !whole {
            return Ok(());
        }
        if !view.askew() {
            self.uneven = false;
        } else if self.even_again.is_none_or(|at| at <= Instant::now()) {
            // What was asked for can get lost where the controller goes: it is over once it is seen.
            self.with(&view).elect_preferred().await;
            self.even_again = Some(Instant::now() + EVEN_AGAIN);
        }
        Ok(())
    }

    /// Takes a voter whose directory was emptied out of the quorum, and lets it in again as the stranger that it is now; lets
    /// brokers vote that were added to a fleet with too few voters.
    async fn mend_quorum(&mut self) {
        if self.voters_again.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let Some(view) = self.seen() else { return };
        let Ok(members) = cluster::members(&self.cluster.resource, &self.memory.identity) else {
            return;
        };
        let (progress, fleet) = (&self.progress, &self.fleet);
        let changed = if let Some((id, directory)) = cluster::stale_voter(&view.voters, &view.directories()) {
            progress.say(&format!(
                "broker {id} lost its data directory: its vote is taken away, and given to it anew"
            ));
            fleet.remove_voter(id, Some(directory)).await
        } else {
            let voters = view.voters.keys().copied().collect();
            let brokers = view.placement(false).brokers;
            match cluster::next_voter(&self.cluster.resource, &members, &brokers, &voters) {
                Some(cluster::Voter::Add(id)) => {
                    progress.say(&format!("broker {id} is given a vote in the quorum"));
                    fleet.add_voter(id, view.directory(id)).await
                }
                Some(cluster::Voter::Remove(id)) => {
                    progress.say(&format!("broker {id} votes in the quorum no longer"));
                    fleet.remove_voter(id, view.voters.get(&id).copied()).await
                }
                None => return,
            }
        };
        let pause = match changed {
            Ok(_) => VOTERS_AGAIN.0,
            Err(error) => {
                progress.say(&format!("the quorum stays as it is for now: {error}"));
                VOTERS_AGAIN.1
            }
        };
        self.voters_again = Some(Instant::now() + pause);
    }

    fn with<'a>(&'a mut self, view: &'a View) -> Reconcile<'a> {
        Reconcile {
            home: &self.home,
            cluster: &self.cluster,
            brokers: &self.configs,
            authorities: &self.authorities,
            view,
            memory: &mut self.memory,
            fleet: &self.fleet,
            outcome: Outcome::default(),
        }
    }

    /// Gives brokers that were added their share of the partitions, once they serve and nothing else moves.
    async fn share_with_new_brokers(&mut self) -> anyhow::Result<()> {
        let Some(view) = self.seen().filter(|_| !self.memory.joining.is_empty()) else {
            return Ok(());
        };
        let ids = self.ids();
        if view.moving() > 0 || !ids.iter().all(|id| view.online(*id)) {
            return Ok(());
        }
        let moves = match view.rebalance(&ids) {
            Ok(moves) => moves,
            Err(error) => {
                self.progress
                    .say(&format!("new brokers get no partitions: {error}"));
                Vec::new()
            }
        };
        if !moves.is_empty() {
            self.progress.say(&format!(
                "{} partitions move to share them with new brokers",
                moves.len()
            ));
            let mut reconcile = self.with(&view);
            let moving = reconcile.assign(moves).await;
            let outcome = reconcile.outcome;
            for problem in outcome.problems {
                self.progress.say(&format!("error: {problem}"));
            }
            if moving || outcome.again {
                // The stream will show the moves; whether more are needed is seen when they are done.
                tokio::time::sleep(AGAIN).await;
                return Ok(());
            }
        }
        self.uneven = true;
        for id in std::mem::take(&mut self.memory.joining) {
            self.progress.say(&format!("broker {id} has its share"));
        }
        self.home.remember(&self.memory)
    }
}

/// The epoch under which a broker is registered: each process has another.
fn epoch_of(view: &View, id: BrokerId) -> Option<i64> {
    view.brokers.get(&id.0).map(|broker| broker.broker_epoch)
}

/// The one Cluster among the manifests; more than one is a problem of the others.
fn the_cluster(manifests: &mut Manifests) -> Option<Manifest<Cluster>> {
    let mut clusters = manifests.clusters.clone().into_iter();
    let first = clusters.next();
    for other in clusters {
        let message =
            "`flotilla up` runs one Cluster, the first one: give this one a directory and a run of its own";
        manifests.problems.push(other.problem("kind", message));
    }
    first
}

/// What a broker reads only when it starts: its configuration without what it is told while it runs.
fn start_of(config: &BrokerConfig) -> BrokerConfig {
    let mut config = config.clone();
    config.quorum.bootstrapped = true;
    config.quorum.peers.clear();
    config.settings.retain(|name, _| !is_dynamic(name));
    config
}

fn explained(cluster: &Manifest<Cluster>, error: &plan::Error) -> anyhow::Error {
    match error {
        plan::Error::Spec(problem) => anyhow::anyhow!("{}", cluster.refused(problem)),
        other => anyhow::anyhow!("{other}"),
    }
}

/// Prints the problems that are new, and remembers which there are.
fn report(reported: &mut BTreeSet<Reported>, problems: &[Reported], mut print: impl FnMut(&str)) {
    let now: BTreeSet<Reported> = problems.iter().cloned().collect();
    for problem in now.difference(reported) {
        print(&format!("error: {problem}"));
    }
    if now.is_empty() && !reported.is_empty() {
        print("all manifests are followed");
    }
    *reported = now;
}

/// Brokers of an earlier run, whose `up` was killed, stop by themselves; until then they hold ports and data.
async fn wait_for_leftovers(home: &Home, memory: &Memory, progress: &mut Progress) -> anyhow::Result<()> {
    let deadline = Instant::now() + LEFTOVER_TIMEOUT;
    for id in memory.ports.keys().copied().map(BrokerId) {
        while let Some(pid) = home.broker_process(id) {
            if Instant::now() > deadline {
                bail!(
                    "broker {id} of an earlier run (process {pid}) does not stop: end it with `kill {pid}`"
                );
            }
            progress.set(format!(
                "waiting for broker {id} of an earlier run to stop (process {pid})"
            ));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

fn brokers(count: usize) -> String {
    match count {
        1 => "1 broker".to_owned(),
        count => format!("{count} brokers"),
    }
}
